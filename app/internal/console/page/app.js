// The console: one WebSocket brings all that changes, a frame for each part.

import { $, show, write } from "./dom.js";
import { request } from "./api.js";
import { Line } from "./live.js";
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

new Line("/console/live", {
  heard: (text) => {
    const frame = JSON.parse(text);
    parts[frame.type]?.(frame);
  },
  changed: (state, seconds) => {
    const live = $("live");
    if (state === "connecting" && lostAt) return; // still lost, until something comes
    live.dataset.state = state;
    write(live, { live: "live", lost: "server lost", connecting: "connecting" }[state]);
    if (state === "live") lostAt = 0;
    if (state === "lost") {
      lostAt ||= Date.now();
      // Whether it is the server or the session that is gone a socket cannot tell.
      request("/console/app.js", { method: "HEAD" }).catch(() => {});
    }
    show($("lost"), state === "lost" && Date.now() - lostAt > 1500 ? `The server is lost since ${new Date(lostAt).toLocaleTimeString("en-GB")}. What you see is old. Trying again in ${seconds} s.` : state === "live" ? "" : $("lost").textContent);
  },
});
