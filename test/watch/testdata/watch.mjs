// Opens the page in Chromium, saves files and waits until the page shows them.
import { createRequire } from "node:module";
import { writeFileSync } from "node:fs";
import path from "node:path";

const require = createRequire(path.join(process.cwd(), "package.json"));
const { chromium } = require("playwright-core");
const [url, dir, admin] = process.argv.slice(2);

const save = (name, text) => writeFileSync(path.join(dir, name), text);
const content = (heading) => `{{define "content"}}<h1>${heading}</h1>{{end}}{{template "_layout.html" .}}`;
const limit = 60000;

// until waits until the heading of the page has a text and a colour. A page that is being
// reloaded has neither.
async function until(page, heading, colour) {
  for (const began = Date.now(); ; ) {
    const got = await page
      .evaluate(() => {
        const h1 = document.querySelector("h1");
        return h1 && [h1.textContent, getComputedStyle(h1).color];
      })
      .catch(() => null);
    if (got && got[0] === heading && got[1] === colour) return Date.now() - began;
    if (Date.now() - began > limit) throw new Error(`timed out: ${heading} in ${colour}; the page has ${got}`);
    await new Promise((done) => setTimeout(done, 20));
  }
}

const browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args: ["--no-sandbox", "--disable-dev-shm-usage"] });
try {
  const page = await (await browser.newContext()).newPage();
  const faults = [];
  page.on("pageerror", (err) => faults.push(err.message));
  page.on("console", (m) => /Content Security Policy/.test(m.text()) && faults.push(m.text()));
  const streams = () => page.waitForRequest((r) => r.url().endsWith("/-/reload"), { timeout: limit });

  const connected = streams();
  await page.goto(url);
  await until(page, "first", "rgb(1, 2, 3)");
  await connected;
  await page.evaluate(() => (window.kept = true));

  save("templates/index.html", content("second"));
  console.log(`template: ${await until(page, "second", "rgb(1, 2, 3)")} ms`);
  if (await page.evaluate(() => window.kept)) throw new Error("the page was not reloaded");

  save("static/site.css", "h1 { color: rgb(4, 5, 6); }");
  console.log(`static file: ${await until(page, "second", "rgb(4, 5, 6)")} ms`);

  // A template with a fault changes nothing, and its repair is shown.
  save("templates/index.html", content("{{if}}"));
  for (const began = Date.now(); !(await (await fetch(`http://${admin}/status`)).json()).reload_failed; ) {
    if (Date.now() - began > limit) throw new Error("timed out: the template is refused");
    await new Promise((done) => setTimeout(done, 20));
  }
  save("static/site.css", "h1 { color: rgb(7, 8, 9); }");
  await until(page, "second", "rgb(7, 8, 9)");
  save("templates/index.html", content("third"));
  console.log(`repaired template: ${await until(page, "third", "rgb(7, 8, 9)")} ms`);
  if (faults.length > 0) throw new Error(faults.join("\n"));
} finally {
  await browser.close();
}
