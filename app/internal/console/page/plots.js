// Plots of the last minutes. Counters are converted to rates. Counters of a slot never
// decrease, even if its process is replaced, so any two frames give a correct rate.

import { $, el, write } from "./dom.js";
import { duration, number } from "./format.js";

// historyLength is the longest and minSpan the shortest time span of the plots, in ms.
const historyLength = 5 * 60 * 1000;
const minSpan = 60 * 1000;
const svg = "http://www.w3.org/2000/svg";

const rate = (read) => (now, before) => {
  const seconds = (now.at - before.at) / 1000;
  return seconds > 0 ? Math.max(0, read(now) - read(before)) / seconds : null;
};
const sumOf = (now, what) => Object.values(now.pools).reduce((sum, p) => sum + p[what], 0);

const charts = [
  { title: "Requests per second", series: [["requests", rate((p) => p.requests)], ["errors", rate((p) => p.errors)]], format: number },
  { title: "Latency", series: [["p50", percentile(0.5)], ["p95", percentile(0.95)], ["p99", percentile(0.99)]], format: (v) => (v === null ? "–" : v < 1 ? `${number(v * 1000)} ms` : duration(v)) },
  { title: "Connections", series: [["open", (p) => p.connections], ["in accept queue", (p) => p.accept]], format: number },
  { title: "Pools", series: [["running", (p) => sumOf(p, "running")], ["waiting", (p) => sumOf(p, "waiting")]], format: number },
  { title: "Queues", whole: true, series: [["waiting", (p) => p.waiting], ["running", (p) => p.runningTasks]], format: number },
];

// percentile estimates a percentile of the durations between two frames from the histogram,
// by linear interpolation within a bucket.
function percentile(share) {
  return (now, before) => {
    const count = now.durations.map((n, i) => n - (before.durations[i] ?? 0));
    const all = count.at(-1);
    if (!(all > 0)) return null;
    const wanted = all * share;
    const i = count.findIndex((n) => n >= wanted);
    if (i < 0 || i >= now.bounds.length) return now.bounds.at(-1) ?? null;
    const [below, from] = i ? [count[i - 1], now.bounds[i - 1]] : [0, 0];
    return from + ((now.bounds[i] - from) * (wanted - below)) / (count[i] - below || 1);
  };
}

export class Plots {
  #history = []; // entries { at, slots }: a Map of points by slot, with "" for the sum
  #depth = { waiting: 0, running: 0 };

  constructor() {
    this.choice = $("plot-slot");
    this.choice.onchange = () => this.#draw();
    for (const chart of charts) $("plot-list").append(this.#figure(chart));
  }

  queues(frame) {
    this.#depth = frame.queues.reduce((sum, q) => ({ waiting: sum.waiting + q.waiting, running: sum.running + q.running }), { waiting: 0, running: 0 });
  }

  processes(frame) {
    if (!frame.status) return;
    const whole = point(frame, { connections: 0, accept_queue: 0 }, null);
    const slots = new Map([["", whole]]);
    for (const s of frame.status.slots) {
      const p = point(frame, s, frame.figures[s.slot]);
      slots.set(s.slot, p);
      add(whole, p);
    }
    // Counters of a removed slot remain part of the sum.
    for (const [slot, f] of Object.entries(frame.figures)) {
      if (!slots.has(slot) && slot !== "master") add(whole, point(frame, { connections: 0, accept_queue: 0 }, f));
    }
    whole.waiting = this.#depth.waiting;
    whole.runningTasks = this.#depth.running;
    this.#history.push({ at: frame.at, slots });
    while (this.#history[0].at < frame.at - historyLength) this.#history.shift();
    this.#offer([...slots.keys()]);
    if (!document.hidden) this.#draw();
  }

  #offer(slots) {
    const known = [...this.choice.options].map((o) => o.value);
    for (const s of slots) if (!known.includes(s)) this.choice.append(el("option", { value: s, textContent: s }));
    for (const o of [...this.choice.options]) if (!slots.includes(o.value) && !o.selected) o.remove();
  }

  #figure(chart) {
    const plot = document.createElementNS(svg, "svg");
    plot.setAttribute("class", "plot");
    plot.setAttribute("viewBox", "0 0 300 100");
    plot.setAttribute("preserveAspectRatio", "none");
    plot.setAttribute("role", "img");
    chart.plot = plot;
    chart.now = el("span");
    chart.lines = chart.series.map((_, i) => {
      const path = document.createElementNS(svg, "path");
      path.setAttribute("class", `series-${i}`);
      plot.append(path);
      return path;
    });
    chart.values = chart.series.map(([name], i) => {
      const value = el("b", { className: `series-${i}` });
      chart.now.append(i ? ", " : "", `${name} `, value);
      return value;
    });
    chart.most = el("span", { className: "quiet" });
    return el("figure", {}, el("figcaption", {}, el("strong", {}, chart.title), chart.most), plot, chart.now);
  }

  #draw() {
    const end = this.#history.at(-1)?.at ?? 0;
    const span = Math.max(minSpan, end - (this.#history[0]?.at ?? end));
    for (const chart of charts) {
      const slot = chart.whole ? "" : this.choice.value;
      const all = chart.series.map(([, read]) => this.#values(slot, read));
      const most = Math.max(0, ...all.flat().map(([, v]) => v ?? 0));
      all.forEach((values, i) => {
        const last = values.at(-1)?.[1] ?? null;
        write(chart.values[i], chart.format(last));
        chart.lines[i].setAttribute("d", line(values, end, span, most));
      });
      write(chart.most, most ? `up to ${chart.format(most)}` : "");
      chart.plot.setAttribute("aria-label", `${chart.title}: ${chart.now.textContent}; up to ${chart.format(most)} in the last ${Math.ceil(span / 60000)} min`);
    }
  }

  #values(slot, read) {
    const values = [];
    let before = null;
    for (const { at, slots } of this.#history) {
      const now = slots.get(slot);
      if (!now) continue;
      const rated = read.length > 1;
      values.push([at, rated ? (before ? read(now, before) : null) : read(now)]);
      before = now;
    }
    return values;
  }
}

function point(frame, status, f) {
  return {
    at: frame.at, bounds: frame.bounds, requests: f?.requests ?? 0, errors: f?.errors ?? 0,
    durations: [...(f?.durations ?? [])], pools: { ...f?.pools },
    connections: status.connections, accept: status.accept_queue,
  };
}

function add(sum, p) {
  for (const key of ["requests", "errors", "connections", "accept"]) sum[key] += p[key];
  p.durations.forEach((n, i) => (sum.durations[i] = (sum.durations[i] ?? 0) + n));
  for (const [name, level] of Object.entries(p.pools)) {
    const had = sum.pools[name] ?? { running: 0, waiting: 0, workers: 0 };
    sum.pools[name] = { running: had.running + level.running, waiting: had.waiting + level.waiting, workers: had.workers + level.workers };
  }
}

// line returns the SVG path of a plot that is 300 wide and 100 high. Unknown values are gaps.
function line(values, end, span, most) {
  let path = "";
  let pen = false;
  for (const [at, v] of values) {
    if (v === null) {
      pen = false;
      continue;
    }
    const x = 300 - ((end - at) / span) * 300;
    const y = 96 - (most ? v / most : 0) * 90;
    path += `${pen ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`;
    pen = true;
  }
  return path;
}
