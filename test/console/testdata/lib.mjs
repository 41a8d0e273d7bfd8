// What the scripts of this folder share. They run in the folder where npm has put
// playwright-core and axe-core, drive Debian's Chromium, print what they have
// measured, and fail by throwing.
import { createRequire } from "node:module";
import { readFileSync, writeFileSync } from "node:fs";
import path from "node:path";

const require = createRequire(path.join(process.cwd(), "package.json"));
const { chromium } = require("playwright-core");

export const [url, admin, master, out] = process.argv.slice(2);

// patience is how long a story waits for what must happen, in milliseconds: it is not a limit
// on the speed of the server.
const patience = 120000;

export function check(ok, what) {
  if (!ok) throw new Error(what);
}

// until polls until probe returns something, and returns that.
export async function until(what, probe) {
  for (const end = Date.now() + patience; ; ) {
    const got = await probe();
    if (got) return got;
    check(Date.now() < end, `timed out: ${what}`);
    await new Promise((done) => setTimeout(done, 50));
  }
}

export const getJSON = async (address) => (await fetch(address)).json();
export const slots = async () => (await getJSON(`http://${admin}/status`)).slots;
export const slot = async (name) => (await slots()).find((s) => s.slot === name);

export async function browse(story) {
  const browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args: ["--no-sandbox", "--disable-dev-shm-usage"] });
  try {
    await story(browser);
  } finally {
    await browser.close();
  }
}

// open opens the console; what the page complains about fails the test at the end.
export async function open(browser, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
  context.setDefaultTimeout(patience);
  const page = await context.newPage();
  page.faults = [];
  page.on("pageerror", (err) => page.faults.push(`error: ${err.message}`));
  page.on("console", (m) => {
    if (m.type() === "error" && !/Failed to load resource|WebSocket connection|net::ERR/.test(m.text())) page.faults.push(m.text());
  });
  page.on("dialog", (d) => (d.type() === "beforeunload" ? d.accept() : page.faults.push(`dialog: ${d.message()}`) && d.dismiss()));
  await page.goto(`${url}/console`);
  return page;
}

export const live = (page) => page.waitForSelector('#live[data-state="live"]');

// visit opens a page of the console by its navigation, or by its address.
export async function visit(page, path) {
  const link = page.locator(`#nav a[href="#${path}"]`);
  if (await link.count()) await link.click();
  else await page.evaluate((to) => (location.hash = to), path);
  await page.waitForFunction((to) => location.hash === `#${to}` && document.querySelector("#page > .page")?.childElementCount, path);
}

// looks are the looks in which every page is checked, by name: options of open.
export const looks = { light: {}, dark: { colorScheme: "dark" }, phone: { viewport: { width: 360, height: 740 } } };

// audit fails if axe-core finds anything on the page, which was opened with bypassCSP, or if
// the page is wider than its window. It returns the number of checks that passed.
export async function audit(page, where) {
  if (!(await page.evaluate(() => window.axe))) await page.evaluate(readFileSync(require.resolve("axe-core/axe.min.js"), "utf8"));
  const { violations, passes } = await page.evaluate(() => window.axe.run());
  check(passes.length > 10, `${where}: axe has looked at ${passes.length} things`);
  check(violations.length === 0, `${where}: ${violations.map((v) => `${v.impact} ${v.id}: ${v.nodes.map((n) => n.target).join(" ")}`).join("\n")}`);
  const [wide, window] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
  check(wide <= window, `${where}: the page is ${wide} wide in a window of ${window}`);
  return passes.length;
}

// drop drops a file on the page as a hand would: by the events of a drag.
export async function drop(page, name, bytes) {
  const data = await page.evaluateHandle(async ({ name, encoded }) => {
    const raw = Uint8Array.from(atob(encoded), (c) => c.charCodeAt(0));
    const transfer = new DataTransfer();
    transfer.items.add(new File([raw], name, { lastModified: 1700000000000 }));
    return transfer;
  }, { name, encoded: bytes.toString("base64") });
  await page.dispatchEvent("#drop", "dragover", { dataTransfer: data });
  await page.dispatchEvent("#drop", "drop", { dataTransfer: data });
}

// slowUploads limits the rate of uploads of a page to rate bytes a second, as soon as the server
// has the first from bytes of a file. What the story does then has time, on a slow machine too.
// It returns a function that changes the rate, and removes the limit without an argument.
export async function slowUploads(page, from, rate) {
  const session = await page.context().newCDPSession(page);
  await session.send("Network.enable");
  const limit = (to = -1) => session.send("Network.emulateNetworkConditions", { offline: false, latency: 0, downloadThroughput: -1, uploadThroughput: to });
  const isUpload = (address) => address.pathname.includes("/tus/"); // below the prefix of a proxy too
  await page.route(isUpload, async (route) => {
    const request = route.request();
    if (request.method() === "PATCH" && Number(request.headers()["upload-offset"]) >= from) await limit(rate);
    await route.continue();
  });
  return async (to) => {
    await page.unroute(isUpload);
    await limit(to);
  };
}

// sent returns the number of bytes of the newest upload that the page shows.
export const sent = (page) => page.evaluate(() => document.querySelector("#uploads progress").value);

export const shot = (page, name, options = {}) => page.screenshot({ path: path.join(out, name), ...options });

// wav is a sound of about so many bytes: a tone that swells, so that its picture
// has a shape.
export function wav(size) {
  const frames = Math.floor((size - 44) / 2);
  const b = Buffer.alloc(44 + frames * 2);
  b.write("RIFF", 0);
  b.writeUInt32LE(36 + frames * 2, 4);
  b.write("WAVEfmt ", 8);
  b.writeUInt32LE(16, 16);
  b.writeUInt16LE(1, 20);
  b.writeUInt16LE(1, 22);
  b.writeUInt32LE(44100, 24);
  b.writeUInt32LE(88200, 28);
  b.writeUInt16LE(2, 32);
  b.writeUInt16LE(16, 34);
  b.write("data", 36);
  b.writeUInt32LE(frames * 2, 40);
  for (let i = 0; i < frames; i++) {
    const swell = Math.abs(Math.sin((i / frames) * 9)) * 28000;
    b.writeInt16LE(Math.round(Math.sin(i / 17) * swell), 44 + i * 2);
  }
  return b;
}

export { readFileSync, writeFileSync, require };
