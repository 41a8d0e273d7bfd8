// Two browsers chat on different processes. One process is killed; its browser connects
// again, misses nothing, and a new browser gets the history.
import { admin, browse, check, slot, until, url } from "../../console/testdata/lib.mjs";

// websockets returns the number of WebSockets of each slot.
async function websockets() {
  const text = await (await fetch(`http://${admin}/metrics`)).text();
  const found = {};
  for (const [, labels, value] of text.matchAll(/^gale_realtime_connections\{(.*)\} (.*)$/gm)) {
    if (labels.includes('kind="websocket"')) found[labels.match(/slot="([^"]*)"/)[1]] = Number(value);
  }
  return found;
}

const total = (counts) => Object.values(counts).reduce((sum, n) => sum + n, 0);

// chat opens the page in a browser context of its own, and returns the slot of its
// WebSocket as well.
async function chat(browser) {
  const before = await websockets();
  const context = await browser.newContext();
  const page = await context.newPage();
  page.faults = [];
  page.on("pageerror", (err) => page.faults.push(err.message));
  await page.goto(url);
  let now;
  await until("the WebSocket is open", async () => total((now = await websockets())) === total(before) + 1);
  return { page, context, slot: Object.keys(now).find((name) => now[name] > (before[name] ?? 0)) };
}

const messages = (page) => page.$$eval("#inbox li", (all) => all.map((item) => item.textContent));
const shows = (page, want) => until(`the page shows ${want}`, async () => (await messages(page)).join() === want.join());

async function say(page, text) {
  await page.fill("#body", text);
  await page.click("button");
}

await browse(async (browser) => {
  const ada = await chat(browser);
  let bob = await chat(browser);
  for (let tries = 0; bob.slot === ada.slot; tries++) {
    check(tries < 50, `all WebSockets are on ${ada.slot}`);
    const count = total(await websockets());
    await bob.context.close();
    await until("the WebSocket is closed", async () => total(await websockets()) === count - 1);
    bob = await chat(browser);
  }
  console.log(`ada is on ${ada.slot}, bob on ${bob.slot}`);
  await say(ada.page, "hello from ada");
  await shows(bob.page, ["hello from ada"]);
  await say(bob.page, "<b>hello from bob</b>");
  const both = ["hello from ada", "<b>hello from bob</b>"];
  await shows(ada.page, both);

  const { pid } = await slot(ada.slot);
  process.kill(pid, "SIGKILL");
  await until("the killed process is replaced", async () => {
    const now = await slot(ada.slot);
    return now.state === "live" && now.pid !== 0 && now.pid !== pid;
  });
  await say(bob.page, "after the kill");
  const all = [...both, "after the kill"];
  await shows(ada.page, all); // it has connected again, and shows nothing twice
  // The figures of a process arrive later than its responses; chat counts from them.
  await until("both WebSockets are counted", async () => total(await websockets()) === 2);
  const eve = await chat(browser);
  await shows(eve.page, all); // the history
  await say(ada.page, "still here");
  for (const { page } of [ada, bob, eve]) await shows(page, [...all, "still here"]);
  for (const { page } of [ada, bob, eve]) check(page.faults.length === 0, page.faults.join("\n"));
  console.log(`all browsers have ${all.length + 1} messages after kill -9 of ${ada.slot}`);
});
