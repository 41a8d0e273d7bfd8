// The overview: what happens now, charts of the last minutes, hour or day, and the newest
// tasks.

import { Rows, cells, el, setState, show, table, write } from "./dom.js";
import { Chart } from "./chart.js";
import { bytes, duration, latency, number, time } from "./format.js";
import { History, historyCharts } from "./history.js";
import { recentCharts } from "./recent.js";

export const title = "Overview";

const ranges = { "": "5 minutes", hour: "Hour", day: "Day" };
const newest = 8; // tasks in the list

export function mount(root, params, app) {
  const range = params.range in ranges ? params.range ?? "" : "";
  const problem = el("p", { id: "processes-problem", className: "problem", hidden: true });
  const tiles = new Tiles(app);
  const slots = el("p", { className: "chips", "aria-label": "Slots", role: "group" });
  const tasks = table("Newest tasks", ["Task", "State", "Queue", "Accepted"]);
  const noTasks = el("p", { className: "empty", hidden: true }, "No tasks yet. The newest tasks will be here; ", el("a", { href: app.link("/tasks") }, "start one"), ".");
  const charts = range ? past(range, app) : recent(app, params.slot ?? "");
  const links = el("p", { className: "row tabs", role: "group", "aria-label": "Time span of the charts" }, ...Object.entries(ranges).map(([value, name]) => {
    const a = el("a", { href: app.link("/", { range: value }) }, name);
    if (value === range) a.setAttribute("aria-current", "true");
    return a;
  }));
  root.append(problem, tiles.node, el("section", { className: "line" }, el("h2", {}, "Slots"), slots),
    el("section", { id: "plots", "aria-labelledby": "plots-title" }, el("div", { className: "head" }, el("h2", { id: "plots-title" }, "Charts"), links), charts.node),
    el("section", {}, el("h2", {}, "Newest tasks"), tasks.node, noTasks));

  const chips = new Rows(slots, (s) => s.slot, (s) => chip(s.slot, app));
  const rows = new Rows(tasks.body, (t) => t.id, (t) => row(t, app));
  const ends = [
    app.live.on("processes", (frame) => {
      show(problem, frame.problem || (frame.status?.reload_failed ? `The last reload failed: ${frame.status.reload_failed}` : ""));
      if (frame.status) chips.update(frame.status.slots);
      tiles.processes(frame);
      charts.update();
    }),
    app.live.on("queues", (frame) => tiles.queues(frame)),
    app.live.on("tasks", (frame) => {
      if (frame.problem) return;
      rows.update(frame.tasks.slice(0, newest));
      tasks.node.hidden = !frame.tasks.length;
      noTasks.hidden = frame.tasks.length > 0;
    }),
    charts.end,
  ];
  return () => ends.forEach((end) => end());
}

// Tiles are the numbers at the top.
class Tiles {
  constructor(app) {
    this.app = app;
    this.node = el("div", { className: "tiles" });
    this.tiles = Object.fromEntries([
      ["requests", "Requests/s", "/"], ["latency", "Latency p95", "/"], ["connections", "Connections", "/workers"], ["slots", "Slots live", "/workers"],
      ["waiting", "Tasks waiting", "/queues"], ["running", "Tasks running", "/tasks?state=running"], ["dead", "Dead letters", "/tasks?state=dead"], ["clients", "Broadcast clients", "/channels"],
    ].map(([key, name, to]) => {
      const [value, note] = [el("b", {}, "–"), el("span", { className: "quiet" })];
      this.node.append(el(to === "/" ? "div" : "a", to === "/" ? { className: "tile" } : { className: "tile", href: `#${to}` }, el("span", {}, name), value, note));
      return [key, { value, note }];
    }));
  }

  #set(key, value, note = "") {
    write(this.tiles[key].value, value);
    write(this.tiles[key].note, note);
  }

  processes(frame) {
    const [requests, errors] = this.app.recent.now(recentCharts[0]);
    this.#set("requests", number(requests), `${number(errors)} errors/s`);
    this.#set("latency", latency(this.app.recent.now(recentCharts[1])[1]));
    this.#set("clients", number(frame.clients));
    const slots = frame.status?.slots;
    if (!slots) return;
    this.#set("connections", number(slots.reduce((sum, s) => sum + s.connections, 0)), `${number(slots.reduce((sum, s) => sum + s.accept_queue, 0))} in accept queue`);
    this.#set("slots", `${slots.filter((s) => s.state === "live").length} of ${slots.length}`, bytes(slots.reduce((sum, s) => sum + s.rss, 0)));
  }

  queues(frame) {
    if (frame.problem) return;
    const sum = (key) => frame.queues.reduce((n, q) => n + q[key], 0);
    const paused = frame.queues.filter((q) => q.paused).length;
    const oldest = Math.max(0, ...frame.queues.map((q) => q.oldest_seconds));
    this.#set("waiting", number(sum("waiting")), [sum("waiting") ? `oldest ${duration(oldest)}` : "", paused ? `${paused} paused` : ""].filter(Boolean).join(", "));
    this.#set("running", number(sum("running")), `${number(sum("scheduled"))} scheduled`);
    this.#set("dead", number(sum("dead")));
  }
}

function chip(name, app) {
  const state = el("span");
  const node = el("a", { className: "chip", href: app.link("/workers") }, `${name} `, state);
  return { node, update: (s) => setState(state, s.state) };
}

function row(task, app) {
  const { node, tds } = cells(3, el("a", { href: app.link(`/tasks/${encodeURIComponent(task.id)}`) }, `${task.task} ${task.id.slice(0, 8)}`));
  const state = el("span");
  tds[0].append(state);
  write(tds[1], task.queue);
  write(tds[2], time(task.created));
  return { node, update: (t) => setState(state, t.state) };
}

// recent returns the charts of the last minutes, of all slots or of one.
function recent(app, chosen) {
  const choice = el("select", { id: "plot-slot" });
  const charts = recentCharts.map((c) => [c, new Chart(c)]);
  const update = () => {
    const slots = app.recent.slots();
    if (chosen && !slots.includes(chosen)) slots.push(chosen);
    const known = [...choice.options].map((o) => o.value);
    for (const s of slots) if (!known.includes(s)) choice.append(el("option", { value: s, textContent: s || "all", selected: s === chosen }));
    for (const o of [...choice.options]) if (!slots.includes(o.value) && !o.selected) o.remove();
    if (!document.hidden) for (const [c, chart] of charts) chart.draw(app.recent.lines(c, choice.value));
  };
  choice.onchange = () => {
    chosen = choice.value;
    app.replace({ slot: chosen });
    update();
  };
  const node = el("div", {}, el("p", { className: "row" }, el("label", { htmlFor: "plot-slot" }, "Slot"), choice,
    el("span", { className: "quiet" }, "Since the console was opened, at most 5 minutes.")),
  el("div", { className: "charts" }, ...charts.map(([, chart]) => chart.node)));
  update();
  return { node, update, end: () => {} };
}

// past returns the charts of the last hour or day.
function past(range, app) {
  const note = el("p", { className: "quiet", role: "status" }, "Loading the history…");
  const charts = historyCharts.map((c) => [c, new Chart(c)]);
  const box = el("div", { className: "charts", hidden: true }, ...charts.map(([, chart]) => chart.node));
  const history = new History(app.api, range, (lines, text) => {
    box.hidden = !lines;
    write(note, text);
    if (lines) for (const [c, chart] of charts) chart.draw(lines(c));
  });
  return { node: el("div", {}, note, box), update: () => {}, end: () => history.close() };
}
