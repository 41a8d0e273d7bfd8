// The console. One WebSocket delivers all changes, in a frame for each part of the page.

import { $, show, write } from "./dom.js";
import { request } from "./api.js";
import { LiveSocket } from "./live.js";
import { Plots } from "./plots.js";
import { Processes } from "./processes.js";
import { Queues } from "./queues.js";
import { Realtime } from "./realtime.js";
import { Tasks } from "./tasks.js";
import { Uploads } from "./uploads.js";

const tasks = new Tasks();
const queues = new Queues((dead) => tasks.deadLetters(dead));
const processes = new Processes();
const plots = new Plots();
const realtime = new Realtime();
new Uploads((id) => tasks.open(id));

const parts = {
  tasks: (frame) => tasks.update(frame),
  queues: (frame) => {
    queues.update(frame);
    plots.queues(frame);
  },
  processes: (frame) => {
    $("logout").hidden = !frame.login;
    $("description").hidden = !frame.description;
    processes.update(frame);
    plots.processes(frame);
    realtime.clients(frame.clients);
  },
};

let lostAt = 0;

new LiveSocket("/console/live", {
  onMessage: (text) => {
    const frame = JSON.parse(text);
    parts[frame.type]?.(frame);
  },
  onState: (state, seconds) => {
    const live = $("live");
    if (state === "connecting" && lostAt) return; // disconnected until a message arrives
    live.dataset.state = state;
    write(live, { live: "live", lost: "disconnected", connecting: "connecting" }[state]);
    if (state === "live") lostAt = 0;
    if (state === "lost") {
      lostAt ||= Date.now();
      // The session may have expired, which a WebSocket does not show: a 401 response opens
      // the login page.
      request("/console/app.js", { method: "HEAD" }).catch(() => {});
    }
    show($("lost"), state === "lost" && Date.now() - lostAt > 1500 ? `Connection to the server lost since ${new Date(lostAt).toLocaleTimeString("en-GB")}. The data on this page is old. Reconnecting in ${seconds} s.` : state === "live" ? "" : $("lost").textContent);
  },
});
