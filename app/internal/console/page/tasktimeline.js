// The timeline of a task: when it was accepted, its attempts, and its end.

import { el } from "./dom.js";
import { duration, slot, time } from "./format.js";

// timeline fills a list with the events of a task.
export function timeline(list, t) {
  const events = eventsOf(t);
  const now = JSON.stringify(events);
  if (list.dataset.now === now) return; // the text may be selected
  list.dataset.now = now;
  const began = new Date(t.created);
  list.replaceChildren(...events.map(({ at, state, what, detail }) => {
    const line = el("li", {}, el("span", { className: "when quiet" }, at ? `${time(at)} (+${duration(Math.max(0, (new Date(at) - began) / 1000))})` : "now"), el("span", { className: "state" }, what));
    line.dataset.state = line.lastChild.dataset.state = state;
    if (detail) line.append(el("pre", { tabIndex: 0, role: "region", "aria-label": what }, detail));
    return line;
  }));
}

function eventsOf(t) {
  const events = [{ at: t.created, state: "queued", what: `accepted in queue ${t.queue}` }];
  for (const f of t.failures ?? []) events.push({ at: f.time, state: "failed", what: f.attempt ? `attempt ${f.attempt} failed` : "failed without an attempt", detail: f.error });
  if (t.started) {
    const ended = (t.failures ?? []).some((f) => f.attempt === t.attempts);
    const state = t.state === "running" && !ended ? "running" : "queued";
    // It comes before its own failure.
    const at = events.findIndex((e, i) => i > 0 && new Date(e.at) >= new Date(t.started));
    events.splice(at < 0 ? events.length : at, 0, { at: t.started, state, what: `attempt ${t.attempts} started by ${slot(t.worker)}` });
  }
  if (t.finished) events.push({ at: t.finished, state: t.state, what: `ended: ${t.state}`, detail: (t.failures ?? []).some((f) => f.error === t.error) ? "" : t.error });
  else if (t.state === "running") events.push({ state: "running", what: `running, ${t.progress} %` });
  else events.push({ state: t.state, what: { scheduled: "waits for its time", queued: "waits for a worker", retrying: "waits for the next attempt" }[t.state] ?? t.state });
  return events;
}
