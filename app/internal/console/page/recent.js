// The metrics of the last minutes, from the frames of processes and queues. Counters are
// converted to rates. Counters of a slot never decrease, even if its process is replaced,
// so any two frames give a correct rate.

import { bytes, latency, number } from "./format.js";

// historyLength is the longest and minSpan the shortest time span, in milliseconds.
const historyLength = 5 * 60 * 1000;
const minSpan = 60 * 1000;

const rate = (read) => (now, before) => {
  const seconds = (now.at - before.at) / 1000;
  return seconds > 0 ? Math.max(0, read(now) - read(before)) / seconds : null;
};
const sumOf = (now, what) => Object.values(now.pools).reduce((sum, p) => sum + p[what], 0);

// recentCharts are the charts of these metrics. The read functions with two parameters need
// the point before. A chart with whole is for all slots together.
export const recentCharts = [
  { title: "Requests per second", names: ["requests", "errors"], read: [rate((p) => p.requests), rate((p) => p.errors)], format: number },
  { title: "Latency", names: ["p50", "p95", "p99"], read: [percentile(0.5), percentile(0.95), percentile(0.99)], format: latency, empty: "No requests in this time." },
  { title: "Connections", names: ["open", "in accept queue"], read: [(p) => p.connections, (p) => p.accept], format: number },
  { title: "Pools", names: ["running", "waiting"], read: [(p) => sumOf(p, "running"), (p) => sumOf(p, "waiting")], format: number },
  { title: "Memory", names: ["resident"], read: [(p) => p.memory], format: (n) => (n === null ? "–" : bytes(n)) },
  { title: "Queues", whole: true, names: ["waiting", "running"], read: [(p) => p.waiting, (p) => p.runningTasks], format: number },
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

export class Recent {
  #history = []; // entries { at, slots }: a Map of points by slot, with "" for the sum
  #depth = { waiting: 0, running: 0 };

  // live is the Frames of the page.
  constructor(live) {
    live.on("queues", (frame) => {
      this.#depth = frame.queues.reduce((sum, q) => ({ waiting: sum.waiting + q.waiting, running: sum.running + q.running }), { waiting: 0, running: 0 });
    });
    live.on("processes", (frame) => frame.status && this.#add(frame));
  }

  // slots returns the names of the slots; "" stands for all.
  slots() {
    return [...(this.#history.at(-1)?.slots.keys() ?? [""])];
  }

  // lines returns the points [time, value] of each line of a chart, and the time span.
  lines(chart, slot) {
    const to = this.#history.at(-1)?.at ?? Date.now();
    return {
      lines: chart.read.map((read) => this.#values(chart.whole ? "" : slot, read)),
      from: Math.min(to - minSpan, this.#history[0]?.at ?? to), to,
    };
  }

  // now returns the latest value of each line of a chart for all slots.
  now(chart) {
    return this.lines(chart, "").lines.map((values) => values.at(-1)?.[1] ?? null);
  }

  #add(frame) {
    const whole = point(frame, { connections: 0, accept_queue: 0, rss: 0 }, null);
    const slots = new Map([["", whole]]);
    for (const s of frame.status.slots) {
      const p = point(frame, s, frame.figures[s.slot]);
      slots.set(s.slot, p);
      add(whole, p);
    }
    // Counters of a removed slot remain part of the sum.
    for (const [slot, f] of Object.entries(frame.figures)) {
      if (!slots.has(slot) && slot !== "master") add(whole, point(frame, { connections: 0, accept_queue: 0, rss: 0 }, f));
    }
    whole.waiting = this.#depth.waiting;
    whole.runningTasks = this.#depth.running;
    this.#history.push({ at: frame.at, slots });
    while (this.#history[0].at < frame.at - historyLength) this.#history.shift();
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
    connections: status.connections, accept: status.accept_queue, memory: status.rss,
  };
}

function add(sum, p) {
  for (const key of ["requests", "errors", "connections", "accept", "memory"]) sum[key] += p[key];
  p.durations.forEach((n, i) => (sum.durations[i] = (sum.durations[i] ?? 0) + n));
  for (const [name, level] of Object.entries(p.pools)) {
    const had = sum.pools[name] ?? { running: 0, waiting: 0, workers: 0 };
    sum.pools[name] = { running: had.running + level.running, waiting: had.waiting + level.waiting, workers: had.workers + level.workers };
  }
}
