// With a token set: the login, what follows, and that the token stays nowhere.
import { browse, check, drop, live, open, readFileSync, shot, until, url, visit } from "./lib.mjs";

const token = process.argv[6];

await browse(async (browser) => {
  const page = await open(browser);
  check(page.url() === `${url}/console/login`, `the way to the console leads to ${page.url()}`);
  const asked = [];
  page.on("request", (r) => asked.push(r.url()));
  await page.reload();
  check(asked.every((a) => /\/console\/(login|style\.css)$/.test(a) || a.endsWith("/favicon.ico")), `the login asks for ${asked}`);
  await shot(page, "login.png");
  await page.fill("#token", "not it");
  await page.keyboard.press("Enter");
  await page.getByText("Wrong token").waitFor();
  await page.fill("#token", token);
  await page.keyboard.press("Enter");
  await live(page);
  await page.waitForSelector(".chips a");
  await visit(page, "/files");
  // Requests, an upload and a picture are authorized by the session.
  await drop(page, "speech.wav", readFileSync(process.argv[7]));
  await page.locator("#uploads button.link").click();
  await page.waitForSelector('#task-state[data-state="success"]');
  await until("the waveform is shown", () => page.evaluate(() => document.querySelector("#task img")?.naturalWidth));
  const kept = await page.evaluate(() => JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie, location.href]));
  const [cookie] = await page.context().cookies();
  check(!`${kept}${JSON.stringify(cookie)}`.includes(token), `the token is kept: ${kept}`);
  check(cookie.httpOnly && cookie.sameSite === "Strict" && !kept.includes(cookie.value), JSON.stringify(cookie));
  check(!asked.some((a) => a.includes(token)), "the token was in an address");
  // Without a session the page redirects to the login.
  await page.context().clearCookies();
  await page.evaluate(() => (location.hash = "/tasks"));
  await page.waitForURL(`${url}/console/login`);
  // Log out.
  await page.fill("#token", token);
  await page.keyboard.press("Enter");
  await live(page);
  await page.click("#logout button");
  await page.waitForURL(`${url}/console/login`);
  check((await page.context().cookies()).length === 0, "the cookie is gone");
  check(page.faults.length === 0, page.faults.join("\n"));
  console.log("nothing but login and its style without the token; upload, task and picture by the session");
});
