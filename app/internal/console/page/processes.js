// The table of slots.

import { $, Rows, cells, el, setState, show, write } from "./dom.js";
import { bytes, duration, number } from "./format.js";

// fresh is how long a new process is highlighted, in seconds.
const fresh = 10;

export class Processes {
  #states = new Map();
  #pids = new Map();
  #started = {};

  constructor() {
    this.rows = new Rows($("slot-rows"), (s) => s.slot, () => this.#row());
  }

  update(frame) {
    show($("processes-problem"), frame.problem);
    if (!frame.status) return;
    const { version, pid, slots, reload_failed } = frame.status;
    write($("version"), `${version.split(" ").slice(1, 2)} · master ${pid}`);
    if (reload_failed) show($("processes-problem"), `The last reload failed: ${reload_failed}`);
    for (const s of slots) this.#started[s.slot] = frame.figures[s.slot]?.started;
    this.at = frame.at / 1000;
    this.rows.update(slots);
    this.#announce(slots);
  }

  // announce writes state changes to the status line that screen readers read aloud.
  #announce(slots) {
    const changes = [];
    for (const s of slots) {
      const was = this.#states.get(s.slot);
      this.#states.set(s.slot, s);
      if (was && was.pid !== s.pid && s.pid) changes.push(`${s.slot} has a new process in state ${s.state}`);
      else if (was && was.state !== s.state) changes.push(`${s.slot} is ${s.state}`);
    }
    if (changes.length) write($("slot-news"), changes.join(", "));
  }

  #row() {
    const name = el("span");
    const { node, tds } = cells(8, name);
    const [state, pid, up, restarts, connections, queue, memory, exit] = tds;
    const word = el("span");
    state.append(word);
    exit.className = "text";
    return {
      node,
      update: (s) => {
        write(name, s.slot);
        setState(word, s.state);
        write(pid, s.pid || "–");
        const [had, since] = this.#pids.get(s.slot) ?? [s.pid, -Infinity];
        if (had !== s.pid) this.#pids.set(s.slot, [s.pid, this.at]);
        else if (since === -Infinity) this.#pids.set(s.slot, [s.pid, since]);
        node.classList.toggle("fresh", this.at - this.#pids.get(s.slot)[1] < fresh);
        const started = this.#started[s.slot];
        write(up, started && s.pid ? duration(Math.floor(this.at - started)) : "–");
        write(restarts, s.restarts);
        write(connections, number(s.connections));
        write(queue, s.accept_queue);
        write(memory, bytes(s.rss));
        write(exit, s.last_exit || "–");
      },
    };
  }
}
