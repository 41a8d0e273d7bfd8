// The history that the master keeps: series of the last hour and the last day.

import { latency, number } from "./format.js";

// historyCharts are its charts, with the names of the series.
export const historyCharts = [
  { title: "Requests per second", names: ["requests"], series: ["requests"], format: number },
  { title: "Latency", names: ["p50", "p95"], series: ["latency_p50", "latency_p95"], format: latency, empty: "No requests in this time." },
  { title: "Failures per second", names: ["responses", "tasks"], series: ["errors", "tasks_failed"], format: number },
  { title: "Tasks per second", names: ["succeeded", "failed", "retried"], series: ["tasks_succeeded", "tasks_failed", "tasks_retried"], format: number },
  { title: "Tasks waiting", names: ["waiting"], series: ["tasks_waiting"], format: number },
  { title: "Duration of attempts", names: ["p95"], series: ["task_p95"], format: latency, empty: "No attempts ended in this time." },
];

export class History {
  #timer = 0;
  #closed = false;

  // range is hour or day. show is called with a function that returns the lines of a chart,
  // or null, and with a text.
  constructor(api, range, show) {
    Object.assign(this, { api, range, show });
    this.#load();
  }

  close() {
    this.#closed = true;
    clearTimeout(this.#timer);
  }

  async #load() {
    let pause = 30;
    try {
      const body = await this.api.get("/console/history");
      const one = body.series?.[this.range];
      if (!one) throw new Error(body.problem || "the server keeps no such series");
      pause = Math.min(one.step, 60);
      if (!this.#closed) this.#draw(one);
    } catch (err) {
      if (!this.#closed) this.show(null, `The last ${this.range} cannot be shown: ${err.message}.`);
    }
    if (!this.#closed) this.#timer = setTimeout(() => this.#load(), pause * 1000);
  }

  #draw(one) {
    const seconds = { hour: 3600, day: 86400 }[this.range];
    const points = Math.max(0, ...Object.values(one.values).map((v) => v.length));
    const to = (one.from + points * one.step) * 1000;
    const known = Object.values(one.values).some((v) => v.some((n) => n !== null));
    const lines = (chart) => ({
      lines: chart.series.map((name) => (one.values[name] ?? []).map((v, i) => [(one.from + (i + 1) * one.step) * 1000, v])),
      from: to - seconds * 1000, to,
    });
    if (known) this.show(lines, `The last ${this.range}, a value every ${one.step < 60 ? `${one.step} seconds` : `${one.step / 60} minutes`}. In a gap nothing was measured.`);
    else this.show(null, `Nothing has been recorded yet. The server adds a value every ${one.step < 60 ? `${one.step} seconds` : `${one.step / 60} minutes`}.`);
  }
}
