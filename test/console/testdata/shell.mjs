// The pages Overview, Queues, Schedules, Workers and Channels, and what all pages have:
// addresses, the back button, search, shortcuts, the choice of colours, axe in light, dark and
// on a small screen.
import { audit, browse, check, getJSON, live, looks, open, shot, until, url, visit } from "./lib.mjs";

const post = async (path, body) => {
  const response = await fetch(url + path, { method: "POST", body });
  check(response.ok, `POST ${path}: ${response.status}`);
  return response.json();
};
const enqueue = (task) => post("/tasks", JSON.stringify(task));

// series is a series of the history whose values are all alike.
function series(step, count, value) {
  const names = ["requests", "errors", "latency_p50", "latency_p95", "tasks_succeeded", "tasks_failed", "tasks_retried", "tasks_waiting", "task_p95"];
  const values = Object.fromEntries(names.map((name) => [name, Array.from({ length: count }, (_, i) => value(i))]));
  return { step, from: Math.floor(Date.now() / 1000) - step * count, values };
}

await browse(async (browser) => {
  const page = await open(browser);
  await live(page);

  // A paused queue holds its tasks until it is resumed.
  await visit(page, "/queues");
  await page.click('tr[data-queue="default"] button');
  await page.waitForSelector('tr[data-queue="default"] .state[data-state="paused"]');
  check((await getJSON(`${url}/queues`)).find((q) => q.queue === "default").paused, "the server has paused the queue");
  await page.locator("#notice-text", { hasText: "queue default paused" }).waitFor();
  await enqueue({ task: "long_running_task", args: ["held"], id: "held" });
  await until("the task waits", async () => (await page.textContent('tr[data-queue="default"] td:nth-of-type(3)')) === "1");
  // After three more rounds of the worker and of the page, the task still waits.
  for (let i = 0; i < 3; i++) await page.waitForFunction((was) => document.querySelector('tr[data-queue="default"] td:nth-of-type(4)').textContent !== was, await page.textContent('tr[data-queue="default"] td:nth-of-type(4)'));
  check((await getJSON(`${url}/tasks/held`)).state === "queued", "the task is held");
  await page.click('tr[data-queue="default"] button');
  await page.waitForSelector('tr[data-queue="default"] .state[data-state="active"]');
  await until("the task has run", async () => (await getJSON(`${url}/tasks/held`)).state === "success");

  // A queue without tasks is paused by its name. A wrong name is refused with a reason.
  await page.fill("#queue-name", "reports");
  await page.press("#queue-name", "Enter");
  await page.waitForSelector('tr[data-queue="reports"] .state[data-state="paused"]');
  await page.click('tr[data-queue="reports"] button');
  await page.waitForSelector('tr[data-queue="reports"] .state[data-state="active"]');
  await page.evaluate(() => document.querySelector("#queue-name").removeAttribute("pattern"));
  await page.fill("#queue-name", "no such name");
  await page.press("#queue-name", "Enter");
  await page.locator("#notice.problem").getByText("a queue has a name of").waitFor();

  // Schedules: next start times, and a start now.
  await visit(page, "/schedules");
  check(/in \d+ /.test(await page.locator("#schedule-rows tr td:nth-of-type(1)").first().textContent()), "the next start time is shown");
  await page.click('button[data-schedule="nightly"]');
  await page.locator('#schedule-rows a[href^="#/tasks/"]').click();
  await page.waitForFunction(() => location.hash.startsWith("#/tasks/"));
  const id = await page.evaluate(() => location.hash.slice("#/tasks/".length));
  check((await getJSON(`${url}/tasks/${id}`)).task === "nightly", "the link leads to the task");
  await until("the schedule's task has run", async () => (await getJSON(`${url}/tasks/${id}`)).state === "success");

  // The back button and a reload.
  if (await page.locator("dialog[open]").count()) await page.keyboard.press("Escape");
  await page.goBack();
  await page.getByRole("heading", { level: 1, name: "Schedules" }).waitFor();
  await page.reload();
  await page.getByRole("heading", { level: 1, name: "Schedules" }).waitFor();
  check((await page.locator("#nav [aria-current=page]").textContent()) === "Schedules", "the navigation shows where the user is");
  await page.evaluate(() => (location.hash = "/no/such/page"));
  await page.getByText("no page at this address").waitFor();

  // Channels: a message of another client, and one of the page.
  await visit(page, "/channels");
  await page.fill("#channel", "news.today");
  await page.press("#channel", "Enter");
  await page.locator("#channel-state").getByText("Subscribed").waitFor();
  check((await page.evaluate(() => location.hash)) === "#/channels?channel=news.today", "the channel is in the URL");
  await post("/publish/news.today", "<b>from elsewhere</b>");
  await page.locator("#channel-messages").getByText("<b>from elsewhere</b>").waitFor();
  await page.fill("#channel-words", "from the console");
  await page.click("#publish button");
  await page.locator("#channel-messages").getByText("from the console").waitFor();
  const numbers = (await page.textContent("#channel-messages")).match(/#\d+(?= )/g).map((n) => Number(n.slice(1)));
  check(numbers.length === 2 && numbers[1] === numbers[0] + 1, `messages have their numbers: ${numbers}`);

  // Shortcuts.
  await page.locator("#title").click();
  await page.keyboard.press("?");
  await page.waitForSelector("#keys[open]");
  await page.keyboard.press("Escape");
  await until("g w opens the page of workers", async () => { // the second key must follow within 1.5 s
    await page.keyboard.press("g");
    await page.keyboard.press("w");
    return (await page.getByRole("heading", { level: 1, name: "Workers and processes" }).count()) === 1;
  });
  await until("the slots are shown", async () => (await page.locator("#slot-rows tr").count()) >= 4);
  await page.keyboard.press("g");
  await page.keyboard.press("o");
  await page.keyboard.press("/");
  await page.waitForSelector("#find:focus");
  await page.keyboard.type("held? g w");
  await page.keyboard.press("Enter");
  await page.waitForFunction(() => location.hash === "#/tasks?q=held%3F+g+w");

  // The skip link does not leave the page.
  await visit(page, "/workers");
  await page.evaluate(() => document.querySelector("#skip").click());
  check((await page.evaluate(() => `${location.hash} ${document.activeElement.id}`)) === "#/workers main", "the skip link leads to the content");

  // The choice of colours is remembered.
  const ground = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const light = await ground();
  await page.selectOption("#theme", "dark");
  const dark = await ground();
  check(dark !== light, `dark is ${dark}, light is ${light}`);
  await page.reload();
  check((await ground()) === dark, "the choice is remembered");
  await page.selectOption("#theme", "");
  check((await ground()) === light, "the choice is taken back");

  // The charts of the last hour and day: with values and a gap, without any, and not available.
  let history = { series: { hour: series(10, 360, (i) => (i > 100 && i < 120 ? null : 5)), day: series(300, 288, () => null) } };
  await page.route("**/console/history", (route) => (history ? route.fulfill({ json: history }) : route.fulfill({ status: 503, json: { reason: "the master is away" } })));
  await visit(page, "/");
  await page.getByRole("link", { name: "Hour" }).click();
  await page.getByText("a value every 10 seconds").waitFor();
  const drawn = await page.locator(".charts path.series-0").first().getAttribute("d");
  check(drawn.match(/M/g).length === 2 && drawn.match(/L/g).length === 339, `the line has one gap: ${drawn.slice(0, 200)}`);
  check((await page.locator(".charts .none:visible").count()) === 0, "every chart has values");
  await page.getByRole("link", { name: "Day" }).click();
  await page.getByText("Nothing has been recorded yet").waitFor();
  history = null;
  await page.reload();
  await page.getByText("The last day cannot be shown: the master is away").waitFor();
  check(page.faults.length === 0, page.faults.join("\n"));
});

// All of these pages, in all looks.
await browse(async (browser) => {
  for (const task of ["one", "two", "three"]) await enqueue({ task: "long_running_task", args: [task] });
  await enqueue({ task: "long_running_task", queue: "reports", countdown: 86400 });
  let passes = 0;
  for (const [look, options] of Object.entries(looks)) {
    const page = await open(browser, { ...options, bypassCSP: true });
    await live(page);
    for (const [name, path, ready] of [
      ["overview", "/", ".charts path[d^=M]"], ["queues", "/queues", '[data-queue="reports"]'], ["schedules", "/schedules", "#schedule-rows tr"],
      ["workers", "/workers", "#slot-rows tr"], ["channels", "/channels?channel=news.today", "#channel-messages"],
    ]) {
      await visit(page, path);
      await page.waitForSelector(ready, { state: "attached" });
      passes += await audit(page, `${look} ${name}`);
      await shot(page, `${name}-${look}.png`, { fullPage: look === "phone" });
    }
    await page.keyboard.press("?");
    passes += await audit(page, `${look} shortcuts`);
    check(page.faults.length === 0, page.faults.join("\n"));
    await page.context().close();
  }
  console.log(`axe-core: ${passes} checks passed, none failed`);
});
