// The whole server is killed during an upload and started again: the page says
// that it is lost, and then it and the upload go on by themselves.
import { spawn } from "node:child_process";
import { readFileSync, readlinkSync } from "node:fs";
import { browse, check, drop, live, master, open, sent, shot, slowUploads, until, url, visit, wav } from "./lib.mjs";

const [program, ...flags] = readFileSync(`/proc/${master}/cmdline`, "utf8").split("\0").slice(0, -1);
const cwd = readlinkSync(`/proc/${master}/cwd`);
const executable = readlinkSync(`/proc/${master}/exe`);
let again = null;

try {
  await browse(async (browser) => {
    const page = await open(browser);
    await live(page);
    const piece = 8 << 20;
    const limit = await slowUploads(page, piece, 5e5);
    const sound = wav(30e6);
    await visit(page, "/files");
    await drop(page, "restart.wav", sound);
    await until("the second piece is under way", async () => (await sent(page)) > piece);
    process.kill(Number(master), "SIGKILL");
    await page.waitForSelector("#lost:not([hidden])");
    check(/lost since .* old/.test(await page.locator("#lost").textContent()), "the page says that it has lost the server");
    check((await page.locator("#live").textContent()) === "disconnected", "so does its head");
    await page.locator("#uploads").getByText("trying again").waitFor();
    await shot(page, "lost.png");
    await limit();
    const offsets = [];
    page.on("request", (r) => r.method() === "PATCH" && offsets.push(Number(r.headers()["upload-offset"])));
    again = spawn(executable, [...flags, "-port", new URL(url).port], { argv0: program, cwd, stdio: "ignore" });
    const began = Date.now();
    await live(page);
    const back = Date.now() - began;
    await page.waitForSelector("#lost", { state: "hidden" });
    await page.locator("#uploads button.link").waitFor();
    const stored = Buffer.from(await (await fetch(`${url}/upload/console/restart.wav`)).arrayBuffer());
    check(stored.equals(sound), `the file has ${stored.length} bytes, of ${sound.length}, or others`);
    check(offsets.every((o) => o >= piece), `it went on at ${offsets}`);
    check(page.faults.length === 0, page.faults.join("\n"));
    console.log(`the page was back ${back} ms after the server was started; the upload went on at byte ${offsets[0]} of ${sound.length}`);
  });
} finally {
  again?.kill("SIGKILL"); // and its children end too
}
