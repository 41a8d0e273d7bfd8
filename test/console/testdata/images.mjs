// The pictures of the documentation, of a server with traffic: requests, some of them with
// errors, tasks in several states, and a paused queue.
import { browse, check, drop, live, looks, open, shot, until, url, visit, wav } from "./lib.mjs";

async function post(path, body) {
  const response = await fetch(url + path, { method: "POST", body: typeof body === "string" ? body : JSON.stringify(body) });
  check(response.ok, `POST ${path}: ${response.status}`);
  return response.json();
}

let stop = false;
async function traffic() {
  for (let i = 0; !stop; i++) {
    const many = 6 + Math.round(5 * Math.sin(i / 7));
    await Promise.all(Array.from({ length: many }, () => fetch(`${url}/delay?s=0.0${1 + (i % 5)}`).then((r) => r.text())));
    if (i % 40 === 20) await post("/tasks", { task: "long_running_task", args: [`order ${i}`] });
    await new Promise((done) => setTimeout(done, 60));
  }
}

const under = traffic();
await post("/queues/reports/pause", "");
for (const name of ["monthly", "weekly", "daily"]) await post("/tasks", { task: "long_running_task", args: [name], queue: "reports" });
await post("/tasks", { task: "inspect", args: ["music", "missing.wav"] });
await post("/tasks", { task: "long_running_task", args: ["later"], countdown: 3600 });
const album = await post("/tasks", { group: [{ task: "long_running_task", args: ["front"] }, { task: "inspect", args: ["album", "missing.wav"] }, { task: "long_running_task", args: ["back"] }], callback: { task: "long_running_task", args: ["print"], immutable: true } });

await browse(async (browser) => {
  const page = await open(browser, { viewport: { width: 1200, height: 880 } });
  await live(page);
  // The charts begin with the page and are at least a minute wide.
  await until("the charts are full", () => page.evaluate(() => {
    const points = document.querySelector(".charts path.series-0")?.getAttribute("d").match(/[ML]/g)?.length ?? 0;
    return points > 55;
  }));
  await shot(page, "console.png");
  await visit(page, "/files");
  await drop(page, "swell.wav", wav(6e6));
  await page.locator("#uploads .link, #uploads a").click();
  await page.waitForSelector('#task-state[data-state="success"]');
  await until("the waveform is shown", () => page.evaluate(() => document.querySelector("#artifacts img")?.naturalWidth));
  await page.setViewportSize({ width: 1000, height: 1050 });
  await shot(page, "task.png");
  await visit(page, "/files?dir=console");
  await page.waitForSelector("#file-rows tr");
  await page.setViewportSize({ width: 1000, height: 700 });
  await shot(page, "files.png");
  await visit(page, "/queues");
  await page.waitForSelector('tr[data-queue="reports"] .state[data-state="paused"]');
  await page.setViewportSize({ width: 1000, height: 420 });
  await shot(page, "queues.png");
  await visit(page, "/schedules");
  await page.waitForSelector("#schedule-rows tr");
  await shot(page, "schedules.png");
  await visit(page, `/workflows/${album.id}`);
  await page.waitForSelector('svg.workflow [data-state="failed"]');
  await page.setViewportSize({ width: 1000, height: 640 });
  await shot(page, "workflow.png");
  await visit(page, "/tasks?q=order");
  await page.waitForSelector("#task-rows mark");
  for (const n of [0, 1]) await page.locator("#task-rows input").nth(n).check();
  await shot(page, "tasks.png");
  const dark = await open(browser, { ...looks.dark, viewport: { width: 1100, height: 720 } });
  await live(dark);
  await visit(dark, "/workers");
  await dark.waitForSelector("#slot-rows tr");
  await shot(dark, "workers.png");
  const phone = await open(browser, looks.phone);
  await live(phone);
  await visit(phone, "/channels?channel=orders");
  await phone.locator("#channel-state").getByText("Subscribed").waitFor();
  for (const text of ["order 17 paid", "order 18 sent"]) await post("/publish/orders", text);
  await phone.locator("#channel-messages").getByText("order 18 sent").waitFor();
  await shot(phone, "channels.png", { fullPage: true });
});
stop = true;
await under;
