// Names of files, arguments and results that are markup are shown as text; nothing
// but the server's own files can run; axe finds no serious fault.
import { browse, check, drop, live, open, readFileSync, require, shot, until, url, visit } from "./lib.mjs";

const markup = `<img src=x onerror="window.hit=1"><script>window.hit=1</script>`;
// No slash: a name with one is none, and is refused.
const name = `"><img src=x onerror=window.hit=1>&quot;'‮.wav`;

await browse(async (browser) => {
  const page = await open(browser);
  await live(page);
  const answer = await fetch(`${url}/console`);
  const policy = answer.headers.get("content-security-policy");
  check(policy.startsWith("default-src 'none'") && !policy.includes("unsafe"), policy);

  await visit(page, "/files");
  await drop(page, name, Buffer.from("no sound at all"));
  await page.locator("#uploads button.link, #uploads .problem").first().waitFor();
  check((await page.locator("#uploads").textContent()).includes(name), "the name is shown as it is");
  await fetch(`${url}/tasks`, { method: "POST", body: JSON.stringify({ task: "long_running_task", args: [markup], id: "hostile" }) });
  await visit(page, "/tasks");
  await page.click('#task-rows tr[data-task="hostile"] a');
  await page.waitForSelector('#task-state[data-state="success"]');
  const result = page.locator("#task pre[aria-label=Result]");
  check(JSON.parse(await result.textContent()) === `Processed ${markup}`, "the result is shown as it is");
  check((await page.locator("#task img, #uploads img, main script").count()) === 0, "no markup came of it");
  // The broadcast shows messages from any client.
  await visit(page, "/channels");
  await page.fill("#words", markup);
  await page.press("#words", "Enter");
  await until("it is received", async () => (await page.locator("#received").textContent()).includes(markup));
  // A script in the page would not run (Content-Security-Policy).
  const blocked = await page.evaluate(() => {
    const attempts = [];
    document.addEventListener("securitypolicyviolation", (e) => attempts.push(e.effectiveDirective));
    try {
      document.body.innerHTML += "<img src=x onerror=window.hit=1>";
    } catch (err) {
      attempts.push(err.name);
    }
    return attempts;
  });
  check(blocked.includes("TypeError"), `innerHTML: ${blocked}`);
  check((await page.evaluate(() => window.hit)) === undefined, "script has run");

  const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
  const faults = [];
  for (const look of [{ colorScheme: "light" }, { colorScheme: "dark" }, { colorScheme: "light", viewport: { width: 360, height: 740 } }]) {
    const other = await open(browser, { ...look, bypassCSP: true });
    await live(other);
    await visit(other, "/tasks");
    await other.waitForSelector("#task-rows tr");
    await other.evaluate(axe);
    const audit = async (where) => {
      const { violations, passes } = await other.evaluate(() => window.axe.run());
      check(passes.length > 10, "axe has looked");
      for (const v of violations) faults.push(`${JSON.stringify(look)} ${where}: ${v.impact} ${v.id}: ${v.nodes.map((n) => n.target).join(" ")}`);
      return violations.some((v) => ["serious", "critical"].includes(v.impact));
    };
    let serious = await audit("page");
    await other.click("#new-task");
    await other.waitForSelector("#starter-arg-0");
    serious = (await audit("form")) || serious;
    await other.click('#task-rows tr[data-task="hostile"] a');
    await other.waitForSelector("#task:not([hidden])");
    serious = (await audit("detail")) || serious;
    if (look.viewport) {
      const [wide, window] = await other.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
      check(wide <= window, `the page is ${wide} wide in a window of ${window}`);
      await shot(other, "phone.png", { fullPage: true });
    } else if (look.colorScheme === "dark") {
      await shot(other, "dark.png", { fullPage: true });
    }
    check(!serious, faults.join("\n"));
    await other.context().close();
  }
  check(page.faults.filter((f) => !/TrustedHTML|Trusted Type/.test(f)).length === 0, page.faults.join("\n"));

  // By keyboard only: from the top of the page to a running task.
  await page.reload();
  await live(page);
  await visit(page, "/tasks");
  await page.waitForSelector("#task-rows tr");
  for (let i = 0; i < 40 && !(await page.evaluate(() => document.activeElement.id === "new-task")); i++) await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  await page.waitForSelector("#starter-task:focus");
  await page.keyboard.press("ArrowDown");
  for (let i = 0; i < 5 && !(await page.evaluate(() => document.activeElement.tagName === "BUTTON")); i++) await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  await page.waitForSelector("#task:not([hidden])");
  console.log(`policy: ${policy}\naxe-core ${require("axe-core/package.json").version}: ${faults.length} faults, none serious${faults.length ? `\n${faults.join("\n")}` : ""}`);
});
