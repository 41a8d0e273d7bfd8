// Drop a WAV of 30 MB: the bar moves, the task appears, its progress moves, the
// waveform shows.
import { browse, check, drop, live, open, shot, until, visit, wav } from "./lib.mjs";

await browse(async (browser) => {
  const page = await open(browser);
  await live(page);
  await page.waitForSelector(".chips a");
  await visit(page, "/files");
  const seen = new Set();
  await page.exposeFunction("sawBar", (value) => seen.add(value));
  await page.evaluate(() => {
    const look = () => {
      const bar = document.querySelector("#uploads progress");
      if (bar) window.sawBar(bar.value / bar.max);
      requestAnimationFrame(look);
    };
    look();
  });
  // A connection of 12 MB a second, so that progress can be seen.
  const session = await page.context().newCDPSession(page);
  await session.send("Network.enable");
  await session.send("Network.emulateNetworkConditions", { offline: false, latency: 5, downloadThroughput: -1, uploadThroughput: 12e6 });
  await drop(page, "swell.wav", wav(30e6));
  await until("the bar is half way", () => [...seen].some((v) => v > 0.4 && v < 0.9));
  await shot(page, "upload.png");
  const link = page.locator("#uploads button.link");
  await link.waitFor({ timeout: 60000 });
  const between = [...seen].filter((v) => v > 0 && v < 1).length;
  check(between >= 5, `the bar was seen at ${between} places between its ends`);
  await link.click();
  await page.waitForSelector('#task-state[data-state="success"]', { timeout: 60000 });
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
  await session.send("Network.emulateNetworkConditions", { offline: false, latency: 0, downloadThroughput: -1, uploadThroughput: -1 });
  await drop(page, "swell.wav", wav(1000));
  await page.locator("#uploads .problem").getByText("not stored").waitFor({ timeout: 60000 });
  // A paused upload stops, and continues at its offset.
  await session.send("Network.emulateNetworkConditions", { offline: false, latency: 5, downloadThroughput: -1, uploadThroughput: 6e6 });
  await drop(page, "paused.wav", wav(20e6));
  await until("a piece is there", () => page.evaluate(() => document.querySelector("#uploads progress").value > 9e6));
  await page.getByRole("button", { name: "Pause" }).click();
  await page.getByText("paused at").waitFor();
  const offsets = [];
  page.on("request", (r) => r.method() === "PATCH" && offsets.push(Number(r.headers()["upload-offset"])));
  await page.getByRole("button", { name: "Resume" }).click();
  await until("it is stored", async () => (await page.locator("#uploads button.link").count()) === 2);
  check(offsets[0] >= 8 << 20, `it went on at ${offsets}`);
  // Another upload is cancelled, and the server keeps nothing of it.
  await drop(page, "cancelled.wav", wav(20e6 + 2));
  await until("it is under way", () => page.evaluate(() => document.querySelector("#uploads progress").value > 1e6));
  const gone = page.waitForResponse((r) => r.request().method() === "DELETE");
  await page.getByRole("button", { name: "Cancel", exact: true }).click();
  check((await gone).status() === 204, "the upload is removed");
  // long_running_task, started by the form, shows progress in steps.
  await visit(page, "/tasks");
  await page.click("#new-task");
  await page.selectOption("#starter-task", "long_running_task");
  await page.fill("#starter-arg-0", "from the console");
  await page.click("#starter button:not([type])");
  const steps = new Set();
  await until("the task is done", async () => {
    steps.add(await page.evaluate(() => document.querySelector("#task progress").value));
    return page.locator('#task-state[data-state="success"]').count();
  });
  check(steps.size >= 4, `progress was seen at ${[...steps]}`);
  check((await page.locator("#task pre[aria-label=Result]").textContent()).includes("Processed from the console"), "its result is shown");
  check(page.faults.length === 0, page.faults.join("\n"));
  console.log(`bar seen at ${between} places; waveform ${size.join("x")}; progress at ${[...steps].join(", ")}`);
});
