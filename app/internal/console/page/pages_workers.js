// The page of workers and processes: the slots of the master, and the pools of the serving
// processes.

import { Rows, cells, el, setState, show, table, write } from "./dom.js";
import { bytes, duration, number } from "./format.js";

export const title = "Workers and processes";

// fresh is how long a new process is highlighted, in seconds.
const fresh = 10;

// seen holds the process of each slot, and since when it is known, in seconds, so that a new
// process is recognized after another page was shown.
const seen = new Map();

export function mount(root, _, app) {
  const problem = el("p", { id: "processes-problem", className: "problem", hidden: true });
  const facts = el("dl", { className: "facts" });
  const slots = table("List of slots", ["Slot", "State", "#PID", "#Up", "#Restarts", "#Connections", "#Accept queue", "#Memory", "Last exit"]);
  slots.body.id = "slot-rows";
  const pools = table("List of pools", ["Pool", "Slot", "#Running", "#Waiting", "#Workers"]);
  const noSlots = el("p", { className: "empty" }, "The slots of the master will be here, one for each serving process, worker and worker program.");
  const noPools = el("p", { className: "empty" }, "No pools yet. A pool appears with the first call that a serving process runs in it.");
  const news = el("p", { id: "slot-news", className: "hidden", role: "status" });
  root.append(problem,
    el("section", { "aria-labelledby": "slots-title" }, el("h2", { id: "slots-title" }, "Slots"), facts, slots.node, noSlots, news,
      el("p", { className: "quiet" }, "Change the number of processes with ", el("code", {}, "server scale serve=4 worker=2"), ", and replace them with ", el("code", {}, "server reload"), ".")),
    el("section", { "aria-labelledby": "pools-title" }, el("h2", { id: "pools-title" }, "Pools"), pools.node, noPools));

  const state = { figures: {}, at: 0 };
  const slotRows = new Rows(slots.body, (s) => s.slot, () => slotRow(state));
  const poolRows = new Rows(pools.body, (p) => `${p.pool} ${p.slot}`, poolRow);
  const states = new Map();
  return app.live.on("processes", (frame) => {
    const { status } = frame;
    show(problem, frame.problem || (status?.reload_failed ? `The last reload failed: ${status.reload_failed}` : ""));
    slots.node.hidden = !status;
    noSlots.hidden = Boolean(status);
    Object.assign(state, { figures: frame.figures, at: frame.at / 1000 });
    const all = poolsOf(frame.figures);
    pools.node.hidden = !all.length;
    noPools.hidden = all.length > 0;
    poolRows.update(all);
    if (!status) return;
    write(news, changes(states, status.slots) || news.textContent);
    slotRows.update(status.slots);
    facts.replaceChildren(...Object.entries(summary(status)).flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, String(value))]));
  });
}

// summary returns the facts about the master.
function summary(status) {
  const facts = { Version: status.version, Master: `PID ${status.pid}` };
  if (status.reloads !== undefined) facts.Reloads = `${status.reloads}, ${status.refused_reloads ?? 0} refused`;
  if (status.reloading) facts.Now = "reloading";
  if (status.stopping) facts.Now = "stopping";
  return facts;
}

function poolsOf(figures) {
  return Object.entries(figures).flatMap(([slot, f]) => Object.entries(f.pools).map(([pool, level]) => ({ pool, slot, ...level })))
    .sort((a, b) => a.pool.localeCompare(b.pool) || a.slot.localeCompare(b.slot));
}

// changes describes the changes of slots for screen readers.
function changes(states, slots) {
  const found = [];
  for (const s of slots) {
    const was = states.get(s.slot);
    states.set(s.slot, s);
    if (was && was.pid !== s.pid && s.pid) found.push(`${s.slot} has a new process in state ${s.state}`);
    else if (was && was.state !== s.state) found.push(`${s.slot} is ${s.state}`);
  }
  return found.join(", ");
}

function slotRow(state) {
  const name = el("span");
  const { node, tds } = cells(["", "num", "num", "num", "num", "num", "num", "text"], name);
  const [word, pid, up, restarts, connections, queue, memory, exit] = tds;
  word.append(el("span"));
  return {
    node,
    update: (s) => {
      write(name, s.slot);
      setState(word.firstChild, s.state);
      write(pid, s.pid || "–");
      const had = seen.get(s.slot);
      if (!had) seen.set(s.slot, { pid: s.pid, since: -Infinity });
      else if (had.pid !== s.pid) seen.set(s.slot, { pid: s.pid, since: state.at });
      node.classList.toggle("fresh", state.at - seen.get(s.slot).since < fresh);
      const started = state.figures[s.slot]?.started;
      write(up, started && s.pid ? duration(Math.floor(state.at - started)) : "–");
      write(restarts, s.restarts);
      write(connections, number(s.connections));
      write(queue, s.accept_queue);
      write(memory, bytes(s.rss));
      write(exit, s.last_exit || "–");
    },
  };
}

function poolRow(p) {
  const { node, tds } = cells(["", "num", "num", "num"], el("span", {}, p.pool));
  write(tds[0], p.slot);
  return {
    node,
    update: (now) => {
      write(tds[1], number(now.running));
      write(tds[2], number(now.waiting));
      write(tds[3], number(now.workers));
    },
  };
}
