// Fifty open pages, while tasks run: what they cost each child, in CPU time of the
// kernel's own count (proc_pid_stat(5)).
// Their sockets are all that the server has of pages, so there are only these:
// fifty browsers would take the CPUs that are to be measured.
import { check, readFileSync, require, slots, url } from "./lib.mjs";

const WebSocket = require("ws");
const pages = 50;
const seconds = 15;

const cpu = (pid) => {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  const [user, system] = stat.slice(stat.lastIndexOf(")") + 2).split(" ").slice(11, 13).map(Number);
  return (user + system) / 100; // USER_HZ
};

const measure = async () => {
  const children = (await slots()).filter((s) => s.role === "serve" || s.role === "store");
  const before = children.map((s) => cpu(s.pid));
  const began = performance.now();
  await new Promise((done) => setTimeout(done, seconds * 1000));
  const took = (performance.now() - began) / 1000;
  return Object.fromEntries(children.map((s, i) => [s.slot, (100 * (cpu(s.pid) - before[i])) / took]));
};

const show = (of) => Object.entries(of).map(([name, v]) => `${name} ${v.toFixed(2)} %`).join(", ");

// So many tasks that the list is full; they wait until tomorrow.
const eta = new Date(Date.now() + 24 * 3600e3).toISOString();
for (let i = 0; i < 49; i++) {
  const response = await fetch(`${url}/tasks`, { method: "POST", body: JSON.stringify({ task: "long_running_task", args: ["x".repeat(2000)], eta }) });
  check(response.ok, `task ${i} is accepted`);
}
const idle = await measure();

const sockets = [];
let frames = 0;
let bytes = 0;
for (let i = 0; i < pages; i++) {
  for (const path of ["/console/live", "/broadcast"]) {
    const socket = new WebSocket(url.replace("http", "ws") + path);
    await new Promise((done, failed) => {
      socket.onopen = done;
      socket.onerror = failed;
    });
    if (path === "/console/live") {
      socket.onmessage = (m) => {
        frames++;
        bytes += m.data.length;
      };
    }
    sockets.push(socket);
  }
}
await fetch(`${url}/start-task`);
const [framesBefore, bytesBefore] = [frames, bytes];
const busy = await measure();
const [perPage, size] = [(frames - framesBefore) / pages / seconds, (bytes - bytesBefore) / Math.max(1, frames - framesBefore)];
console.log(`${pages} pages: ${show(busy)}; without: ${show(idle)}; ${perPage.toFixed(1)} frames a second to each, of ${size.toFixed(0)} bytes`);
check(perPage * seconds >= 1, "the pages get frames");
for (const [name, percent] of Object.entries(busy)) check(percent < 2, `${name} takes ${percent.toFixed(2)} % of a core`);
for (const s of sockets) s.terminate();
