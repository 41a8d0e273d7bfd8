// The server is rolled and children are killed -9 during an upload and a running
// task: the page goes on by itself, and the file is whole.
import { createHash } from "node:crypto";
import { browse, check, drop, getJSON, live, master, open, sent, shot, slot, slots, slowUploads, until, url, visit, wav, writeFileSync } from "./lib.mjs";

const release = process.argv[6]; // the task wait ends when this file exists

await browse(async (browser) => {
  const page = await open(browser);
  await live(page);
  const generation = Object.fromEntries((await slots()).map((s) => [s.slot, s.generation]));
  let limit = await slowUploads(page, 0, 1.2e6);
  const sound = wav(30e6);
  await visit(page, "/files");
  await drop(page, "rolled.wav", sound);
  await page.evaluate(() => (window.bar = document.querySelector("#uploads progress"))); // it goes on while other pages are shown
  await visit(page, "/tasks");
  await page.click("#new-task");
  await page.selectOption("#starter-task", "long_running_task");
  await page.click("#starter button:not([type])");
  await page.waitForSelector("#task-state[data-state]");
  const uploaded = () => page.evaluate(() => window.bar.value);
  await visit(page, "/workers");
  await until("the upload is under way", async () => (await uploaded()) > 2e6);

  process.kill(Number(master), "SIGHUP");
  const passing = new Set();
  await until("all slots have new processes", async () => {
    if ((await uploaded()) > 20e6) await limit(5e4); // the upload must not end before the restart
    for (const s of await page.locator("#slot-rows tr.fresh th").allTextContents()) passing.add(s);
    if (!passing.has("serve.0") || !passing.has("serve.1")) return false; // the page must show the restart
    return (await slots()).every((s) => s.state === "live" && (s.generation > generation[s.slot] || s.role === "store"));
  });
  check((await uploaded()) < 30e6 * 0.9, "the upload is not over yet");
  await fetch(`${url}/tasks`, { method: "POST", body: JSON.stringify({ task: "wait", id: "killed" }) });
  await visit(page, "/tasks");
  await page.waitForSelector('tr[data-task="killed"] .state[data-state="running"]');
  await visit(page, "/workers");
  for (const name of ["worker.0", "serve.0", "serve.1"]) {
    if ((await uploaded()) > 20e6) await limit(5e4);
    const victim = await slot(name);
    process.kill(victim.pid, "SIGKILL");
    await until(`${name} is back`, async () => {
      const s = await slot(name);
      return s.state === "live" && s.pid !== victim.pid;
    });
  }
  check((await uploaded()) < 30e6 * 0.9, "the upload is not over yet");
  writeFileSync(release, ""); // the task ends
  await limit();
  await live(page);
  await until("the page shows the restarts", async () => {
    const shown = await page.locator("#slot-rows tr").evaluateAll((rows) => rows.map((r) => r.children[4].textContent));
    return shown.filter((n) => Number(n) >= 1).length >= 3;
  });
  await shot(page, "rolled.png", { fullPage: true });
  await visit(page, "/files");
  await page.locator("#uploads button.link").waitFor();
  await visit(page, "/tasks");
  await until("all tasks are done", async () => (await page.locator('#task-rows .state[data-state="success"]').count()) === 3);
  const stored = Buffer.from(await (await fetch(`${url}/upload/console/rolled.wav`)).arrayBuffer());
  const sum = (b) => createHash("sha256").update(b).digest("hex");
  check(sum(stored) === sum(sound), `the file has ${stored.length} bytes, of ${sound.length}, or others`);
  const { tasks } = await getJSON(`${url}/tasks`);
  check(tasks.every((t) => t.state === "success") && tasks.find((t) => t.id === "killed").attempts === 2, JSON.stringify(tasks));
  check(page.faults.length === 0, page.faults.join("\n"));
  console.log(`new processes seen on the page: ${[...passing].join(", ")}; SHA-256 of the file agrees; attempts: ${tasks.map((t) => t.attempts).join(", ")}`);
});

// An upload goes on when the page is loaded again and the file is given once more.
await browse(async (browser) => {
  const page = await open(browser);
  await live(page);
  const limit = await slowUploads(page, 16 << 20, 2e5);
  const sound = wav(25e6);
  await visit(page, "/files");
  await drop(page, "again.wav", sound);
  await until("the third piece is under way", async () => (await sent(page)) > 16 << 20);
  const kept = await page.evaluate(() => JSON.stringify({ ...localStorage }));
  check(kept.includes("/tus/") && kept.includes("again.wav"), `kept: ${kept}`);
  await page.reload();
  await limit();
  await page.getByText("is not finished").waitFor();
  const offsets = [];
  page.on("request", (r) => r.method() === "PATCH" && offsets.push(Number(r.headers()["upload-offset"])));
  await drop(page, "again.wav", sound);
  await page.locator("#uploads button.link").waitFor();
  check(offsets[0] >= 16 << 20, `it went on at ${offsets}`);
  const stored = Buffer.from(await (await fetch(`${url}/upload/console/again.wav`)).arrayBuffer());
  check(stored.equals(sound), "the file is whole");
  console.log(`after a reload of the page it went on at byte ${offsets[0]} of ${sound.length}`);
});
