// The table of queues.

import { $, Rows, cells, el, show, write } from "./dom.js";
import { duration, number } from "./format.js";

export class Queues {
  // dead is called with the number of dead letters.
  constructor(dead) {
    this.dead = dead;
    this.rows = new Rows($("queue-rows"), (q) => q.queue, () => {
      const name = el("span");
      const { node, tds } = cells(5, name);
      return {
        node,
        update: (q) => {
          write(name, q.paused ? `${q.queue} (paused)` : q.queue);
          write(tds[0], number(q.waiting));
          write(tds[1], q.waiting ? duration(q.oldest_seconds) : "–");
          write(tds[2], number(q.scheduled));
          write(tds[3], number(q.running));
          write(tds[4], number(q.dead));
        },
      };
    });
  }

  update(frame) {
    show($("queues-problem"), frame.problem);
    if (frame.problem) return;
    this.rows.update(frame.queues.length ? frame.queues : [{ queue: "default", waiting: 0, scheduled: 0, running: 0, dead: 0 }]);
    this.dead(frame.queues.reduce((sum, q) => sum + q.dead, 0));
  }
}
