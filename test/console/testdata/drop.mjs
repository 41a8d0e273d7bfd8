// Drop a WAV of 30 MB: the bar moves, the task appears, the waveform shows. Pause, resume and
// cancel an upload. Start a task.
import { browse, check, drop, live, open, sent, shot, slowUploads, until, visit, wav } from "./lib.mjs";

await browse(async (browser) => {
  const page = await open(browser);
  await live(page);
  await page.waitForSelector(".chips a");
  await visit(page, "/files");
  const seen = new Set();
  await page.exposeFunction("sawBar", (value) => seen.add(value));
  await page.evaluate(() => new MutationObserver(([{ target }]) => window.sawBar(target.value / target.max))
    .observe(document.querySelector("#uploads"), { subtree: true, attributeFilter: ["value"] }));
  // The bar moves while a piece is sent. The first one is sent at full speed.
  const piece = 8 << 20;
  let limit = await slowUploads(page, piece, 1e6);
  await drop(page, "swell.wav", wav(30e6));
  const between = await until("the bar is at five places of a piece", () => {
    const places = [...seen].filter((v) => v * 30e6 > piece && v < 1).length;
    return places >= 5 && places;
  });
  await shot(page, "upload.png");
  await limit();
  const link = page.locator("#uploads button.link");
  await link.waitFor();
  await link.click();
  await page.waitForSelector('#task-state[data-state="success"]');
  const size = await until("the waveform is shown", () => page.evaluate(() => {
    const img = document.querySelector("#task img");
    return img?.complete && img.naturalWidth ? [img.naturalWidth, img.naturalHeight] : null;
  }));
  const result = await page.locator("#task pre[aria-label=Result]").textContent();
  check(JSON.parse(result).duration > 300, `the result is shown: ${result}`);
  await shot(page, "task.png");
  await visit(page, "/tasks");
  await page.waitForSelector("#task-rows tr[data-task]");
  await visit(page, "/files");
  // A second file with the same name is refused with a message.
  await drop(page, "swell.wav", wav(1000));
  await page.locator("#uploads .problem").getByText("not stored").waitFor();
  // A paused upload stops, and continues at its offset.
  limit = await slowUploads(page, piece, 2e5);
  await drop(page, "paused.wav", wav(20e6));
  await until("the second piece is under way", async () => (await sent(page)) > piece);
  await page.getByRole("button", { name: "Pause" }).click();
  await page.getByText("paused at").waitFor();
  const offsets = [];
  page.on("request", (r) => r.method() === "PATCH" && offsets.push(Number(r.headers()["upload-offset"])));
  await limit();
  await page.getByRole("button", { name: "Resume" }).click();
  await until("it is stored", async () => (await page.locator("#uploads button.link").count()) === 2);
  check(offsets[0] >= piece, `it went on at ${offsets}`);
  // Another upload is cancelled, and the server keeps nothing of it.
  limit = await slowUploads(page, 0, 2e5);
  await drop(page, "cancelled.wav", wav(20e6 + 2));
  await until("it is under way", async () => (await sent(page)) > 0);
  const gone = page.waitForResponse((r) => r.request().method() === "DELETE");
  await page.getByRole("button", { name: "Cancel", exact: true }).click();
  check((await gone).status() === 204, "the upload is removed");
  await limit();
  // long_running_task, started by the form.
  await visit(page, "/tasks");
  await page.click("#new-task");
  await page.selectOption("#starter-task", "long_running_task");
  await page.fill("#starter-arg-0", "from the console");
  await page.click("#starter button:not([type])");
  await page.waitForSelector('#task-state[data-state="success"]');
  check((await page.locator("#task pre[aria-label=Result]").textContent()).includes("Processed from the console"), "its result is shown");
  check(page.faults.length === 0, page.faults.join("\n"));
  console.log(`bar seen at ${between} places; waveform ${size.join("x")}`);
});
