// The pages of tasks, workflows and files: find one of many tasks, change many at once,
// follow a log, see what has failed in a workflow. A worker program, which is this script,
// decides how the tasks end.
import { audit, browse, check, getJSON, live, looks, open, shot, until, url, visit, wav } from "./lib.mjs";

const markup = `<img src=x onerror="window.hit=1"><script>window.hit=1</script>`;
const many = Number(process.argv[6]); // number of tasks that the server has at the start
const headers = { "Content-Type": "application/json" };

async function call(method, path, body) {
  const response = await fetch(url + path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
  const text = await response.text();
  check(response.ok, `${method} ${path}: ${response.status} ${text.slice(0, 300)}`);
  return JSON.parse(text);
}

const { session } = await call("POST", "/workers/announce", { worker: "script", version: "1", tasks: ["mail", "resize", "total"].map((name) => ({ name })) });

// lease leases n tasks of a queue. Each lease is held until finish.
const held = new Set();
async function lease(queue, n) {
  const all = [];
  while (all.length < n) {
    const { leases } = await call("POST", "/workers/lease", { session, queues: [queue], max: n - all.length, wait: 5, holds: [...held] });
    for (const l of leases) held.add(l.lease);
    all.push(...leases);
  }
  return all;
}

// The leases last for 30 seconds.
const extend = setInterval(() => call("POST", "/workers/extend", { session, holds: [...held], wait: 0 }), 5000);

async function finish(leases, outcome) {
  const results = await call("POST", "/workers/finish", leases.map((l) => ({ lease: l.lease, ...outcome(l.task) })));
  for (const [i, l] of leases.entries()) {
    check(results[i].code === 200, JSON.stringify(results[i]));
    held.delete(l.lease);
  }
}

const failed = (error) => () => ({ state: "failed", error });
const rows = (page) => page.locator("#task-rows tr");

async function story(browser) {
  const page = await open(browser, { permissions: ["clipboard-read", "clipboard-write"] });
  await live(page);

  // Find one of many by a word of its arguments, from the search field of the shell.
  await page.keyboard.press("/");
  const began = performance.now();
  await page.keyboard.type("Zanzibar");
  await page.keyboard.press("Enter");
  await page.locator("#task-rows mark").getByText("Zanzibar").waitFor();
  const took = performance.now() - began;
  check((await rows(page).count()) === 1 && page.url().endsWith("#/tasks?q=Zanzibar"), page.url());
  check((await rows(page).textContent()).includes("letter 3007 to Zanzibar"), await rows(page).textContent());
  // The filter is in the URL: a reload and the back button keep it.
  await page.selectOption("#filter-state", "queued");
  await page.waitForURL(/q=Zanzibar&state=queued$/);
  await page.reload();
  await page.locator("#task-rows mark").waitFor();
  check((await page.inputValue("#filter-state")) === "queued" && (await page.inputValue("#filter-text")) === "Zanzibar", "the filter is read from the URL");
  await page.click("#task-rows a");
  await page.waitForSelector("#task-state[data-state=queued]");
  await page.goBack();
  await page.locator("#task-rows mark").waitFor();
  await page.selectOption("#filter-state", "dead");
  await page.getByText("No task matches.").waitFor();

  // Select 500 failed tasks and run them again.
  for (let i = 0; i < 500; i += 50) {
    await Promise.all(Array.from({ length: 50 }, (_, j) => call("POST", "/tasks", { id: `bad-${i + j}`, task: "mail", args: [markup], queue: "bad" })));
  }
  await finish(await lease("bad", 500), failed(`smtp: ${markup}`));
  await page.click("#filter-reset");
  await page.waitForURL(/tasks$/);
  await page.fill("#filter-queue", "bad");
  await page.selectOption("#filter-state", "failed");
  await page.waitForURL(/state=failed&queue=bad$/);
  await until("50 are shown", async () => (await rows(page).count()) === 50);
  await page.check("#select-all");
  await page.getByText("50 selected").waitFor();
  await page.click("#select-matching");
  await page.getByText("All tasks that match the filter are selected").waitFor();
  await page.click("#bulk-retry");
  await page.click("#confirm-go");
  await page.locator("#notice-text", { hasText: "500 tasks run again." }).waitFor();
  const [queue] = (await getJSON(`${url}/queues`)).filter((q) => q.queue === "bad");
  check(queue.waiting === 500, JSON.stringify(queue));
  // Some of them are selected one by one, and purged.
  await page.selectOption("#filter-state", "queued");
  await page.waitForURL(/state=queued&queue=bad$/);
  await until("50 are shown", async () => (await rows(page).count()) === 50);
  for (const n of [1, 3]) await rows(page).nth(n).locator("input").check();
  await page.getByText("2 selected").waitFor();
  await page.click("#bulk-purge");
  await page.click("#confirm-go");
  await page.locator("#notice-text", { hasText: "2 tasks purged." }).waitFor();
  check((await getJSON(`${url}/tasks?queue=bad&state=cancelled`)).tasks.length === 2, "two are cancelled");

  // The list is live, and keeps the selection and the place.
  await page.click("#filter-reset");
  await page.waitForURL(/tasks$/);
  await until("all are shown", async () => (await rows(page).count()) >= 50);
  await page.click("#older");
  await until("older ones are shown", async () => (await rows(page).count()) >= 100);
  const chosen = rows(page).nth(60);
  const id = await chosen.getAttribute("data-task");
  await chosen.locator("input").check();
  await chosen.scrollIntoViewIfNeeded();
  const row = page.locator(`#task-rows tr[data-task="${id}"]`);
  const before = (await row.boundingBox()).y;
  // The page fetches all shown tasks again every few seconds, and the WebSocket delivers the
  // newest ones: new tasks arrive before and after the next two responses.
  for (let i = 0; i < 12; i++) {
    if (i % 4 === 2) await page.waitForResponse((r) => /\/tasks\?limit=1\d\d$/.test(r.url()));
    await call("POST", "/tasks", { id: `new-${i}`, task: "mail", args: ["new"], queue: "bad" });
    await page.waitForSelector(`#task-rows tr[data-task="new-${i}"]`, { state: "attached" });
    const { y } = await row.boundingBox();
    check(Math.abs(y - before) < 4, `the row was at ${before} and is at ${y} after ${i + 1} new tasks`);
    const shown = await rows(page).count();
    check(shown >= 100, `${shown} tasks are shown after ${i + 1} new tasks`);
  }
  check(await row.locator("input").isChecked(), "it is still selected");

  // Follow the log of a running task.
  await call("POST", "/tasks", { id: "followed", task: "mail", args: [markup], kwargs: { to: markup }, queue: "one", max_retries: 1, headers: { traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01" } });
  await finish(await lease("one", 1), () => ({ state: "retry", error: `421 ${markup}`, delay: 0 }));
  const leases = await lease("one", 1);
  const log = (lines) => call("POST", "/workers/log", [{ lease: leases[0].lease, lines }]);
  await visit(page, "/tasks/followed");
  await page.waitForSelector("#task-state[data-state=running]");
  for (const progress of [20, 60, 90]) {
    const [result] = await call("POST", "/workers/progress", [{ lease: leases[0].lease, progress, note: `${progress} of 100` }]);
    check(result.code === 200, JSON.stringify(result));
    await page.locator("#task .note", { hasText: `${progress} of 100` }).waitFor();
    check((await page.evaluate(() => document.querySelector("#task progress").value)) === progress, "the bar is at the progress");
  }
  await log(Array.from({ length: 80 }, (_, i) => `line ${i}`));
  const text = page.locator("#log");
  await text.getByText("line 79").waitFor();
  const atEnd = () => text.evaluate((e) => e.scrollTop + e.clientHeight >= e.scrollHeight - 8);
  check(await atEnd(), "the end of the log is shown");
  await log([`line 80 ${markup}`]);
  await text.getByText("line 80").waitFor();
  check(await atEnd(), "the end of the longer log is shown");
  await text.evaluate((e) => (e.scrollTop = 0));
  await until("the log does not follow a reader", async () => !(await page.isChecked("#log-follow")));
  await log(["line 81"]);
  await text.getByText("line 81").waitFor();
  check((await text.evaluate((e) => e.scrollTop)) === 0, "the reader stays at the top");
  // Its artifacts: a sound, text, and a page that is not shown as one.
  const put = (name, body, type) => fetch(`${url}/workers/artifacts/${leases[0].lease}/${name}`, { method: "PUT", headers: { "Content-Type": type }, body });
  const picture = await page.screenshot({ clip: { x: 0, y: 0, width: 200, height: 60 } });
  const files = { "sound.wav": [wav(20000), "audio/wav"], "notes.txt": [`text ${markup}`, "text/plain"], "page.html": [markup, "text/html"], "picture.png": [picture, "image/png"] };
  for (const [name, [body, type]] of Object.entries(files)) check((await put(name, body, type)).ok, `artifact ${name}`);
  await finish(leases, () => ({ state: "success", result: { note: markup }, artifacts: Object.keys(files) }));
  await page.waitForSelector("#task-state[data-state=success]");
  await until("the picture is shown", () => page.evaluate(() => document.querySelector("#artifacts img")?.naturalWidth === 200));
  await page.evaluate(() => (document.querySelector("#artifacts audio").preload = "metadata"));
  await until("the sound is read", () => page.evaluate(() => document.querySelector("#artifacts audio").duration > 0.1));
  check((await page.locator("#artifacts pre").textContent()) === `text ${markup}`, "the text is shown as it is");
  check((await page.locator("#artifacts li", { hasText: "page.html" }).locator(":scope > *").count()) === 1, "a page is only a link");
  check((await page.locator(".timeline li").allTextContents()).some((t) => t.includes("attempt 1 failed") && t.includes(`421 ${markup}`)), "the timeline has the failure");
  check(JSON.parse(await page.locator("#task pre[aria-label=Arguments]").textContent())[0] === markup, "the arguments are shown as they are");
  check(JSON.parse(await page.locator("#task pre[aria-label=Result]").textContent()).note === markup, "the result is shown as it is");
  const trace = page.locator("#task a", { hasText: "4bf92f3577b34da6a3ce929d0e0e4736" });
  check((await trace.getAttribute("href")) === "https://viewer.example/trace/4bf92f3577b34da6a3ce929d0e0e4736", "the trace id is a link to the viewer");
  await page.getByRole("button", { name: "Copy the trace id" }).click();
  await until("the trace id is copied", async () => (await page.evaluate(() => navigator.clipboard.readText())) === "4bf92f3577b34da6a3ce929d0e0e4736");

  // A chord with a member that failed.
  await call("POST", "/tasks", { id: "chord", group: ["front", "back", markup].map((name, i) => ({ id: `part-${i}`, task: "resize", args: [name], queue: "parts" })), callback: { id: "sum", task: "total", queue: "parts" } });
  await finish(await lease("parts", 3), (t) => (t.id === "part-1" ? { state: "failed", error: `no end ${markup}` } : { state: "success", result: markup }));
  await visit(page, "/workflows");
  await page.locator("#workflow-rows a", { hasText: "chord" }).click();
  const bad = page.locator('svg a[data-task="part-1"]');
  await bad.locator("text", { hasText: "✕ failed" }).waitFor();
  check((await bad.locator("rect").evaluate((r) => getComputedStyle(r).strokeDasharray)) !== "none", "the failed member has a line of its own");
  check((await page.locator("svg.workflow > a").count()) === 4 && (await page.locator("svg.workflow > path").count()) === 3, "three members lead to the callback");
  check((await page.locator('svg a[data-task="sum"] .word').textContent()).includes("not started"), "the callback has not started");
  await bad.focus();
  await page.keyboard.press("Enter");
  await page.waitForSelector("#task-state[data-state=failed]");
  check((await page.locator("svg.workflow a.current").getAttribute("data-task")) === "part-1", "the task is pointed out in its workflow");

  // Files by name: download and remove.
  const name = `"><img src=x onerror=window.hit=1>&quot;'.txt`;
  check((await fetch(`${url}/upload/letters/${encodeURIComponent(name)}`, { method: "PUT", body: "Dear Ann" })).ok, "upload");
  await visit(page, "/files");
  await page.getByText("No directory was opened").waitFor();
  await page.fill("#open-directory", "letters");
  await page.press("#open-directory", "Enter");
  const stored = page.locator("#file-rows tr", { hasText: name });
  const [download] = await Promise.all([page.waitForEvent("download"), stored.locator("a").click()]);
  check((await (await download.createReadStream()).toArray()).join("") === "Dear Ann", "the file is downloaded");
  await stored.getByRole("button").click();
  await page.click("#confirm-remove-go");
  await page.getByText("This directory has no files.").waitFor();
  check((await fetch(`${url}/upload/letters/${encodeURIComponent(name)}`)).status === 404, "the file is removed");
  check((await page.evaluate(() => window.hit)) === undefined, "script has run");
  check(page.faults.length === 0, page.faults.join("\n"));

  // Every page in every look.
  await fetch(`${url}/upload/letters/second.txt`, { method: "PUT", body: "x" });
  const pages = {
    tasks: ["/tasks", "#task-rows tr"], task: ["/tasks/followed", "#artifacts pre"], workflows: ["/workflows", "#workflow-rows tr"],
    workflow: ["/workflows/chord", "svg.workflow"], files: ["/files?dir=letters", "#file-rows tr"],
  };
  const others = { search: ["/tasks?q=Zanzibar", "#task-rows mark"], nothing: ["/tasks?q=nowhere", "#tasks-note:not([hidden])"], missing: ["/tasks/none", "#page .problem:not([hidden])"] };
  let passed = 0;
  for (const [look, options] of Object.entries(looks)) {
    const other = await open(browser, { ...options, bypassCSP: true });
    await live(other);
    for (const [name, [path, ready]] of Object.entries({ ...pages, ...(look === "light" && others) })) {
      await visit(other, path);
      await other.waitForSelector(ready, { state: "attached" });
      passed += await audit(other, `${name}, ${look}`);
      await shot(other, `${name}-${look}.png`);
    }
    check(other.faults.length === 0, other.faults.join("\n"));
    await other.context().close();
  }
  console.log(`one of ${many} tasks was found in ${took.toFixed(0)} ms; axe-core: ${passed} checks passed, none failed`);
}

try {
  await browse(story);
} finally {
  clearInterval(extend);
}
