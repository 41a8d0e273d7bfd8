// The page of queues: depths, and the switch that pauses a queue.

import { Rows, cells, el, show, table, write } from "./dom.js";
import { duration, number } from "./format.js";

export const title = "Queues";

// known are the queues that this page has seen. The server lists a queue only while it has
// tasks or is paused.
const known = new Set(["default"]);

export function mount(root, _, app) {
  const problem = el("p", { id: "queues-problem", className: "problem", hidden: true });
  const { node, body } = table("List of queues", ["Queue", "State", "Change", "#Waiting", "#Oldest", "#Scheduled", "#Running", "#Dead"]);
  body.id = "queue-rows";
  const name = el("input", { id: "queue-name", required: true, maxLength: 128, pattern: "[A-Za-z0-9._\\-]+", autocomplete: "off", spellcheck: false });
  const other = el("form", { className: "row" }, el("label", { htmlFor: "queue-name" }, "A queue that is not in the list"), name, el("button", {}, "Pause"));
  root.append(
    el("section", {}, el("p", { className: "quiet" }, "A paused queue accepts tasks and holds them. Running tasks go on. The switch applies to every server and worker of the task store."), problem, node, other),
  );
  const change = async (queue, verb) => {
    await app.attempt(() => app.api.send("POST", `/queues/${encodeURIComponent(queue)}/${verb}`), `queue ${queue} ${verb === "pause" ? "paused" : "resumed"}`);
  };
  other.onsubmit = async (event) => {
    event.preventDefault();
    await change(name.value, "pause");
    name.value = "";
  };
  const rows = new Rows(body, (q) => q.queue, (q) => row(q.queue, change, app));
  return app.live.on("queues", (frame) => {
    show(problem, frame.problem);
    if (frame.problem) return;
    for (const q of frame.queues) known.add(q.queue);
    rows.update([...known].sort().map((queue) => frame.queues.find((q) => q.queue === queue) ?? { queue, waiting: 0, scheduled: 0, running: 0, dead: 0 }));
  });
}

// row is the row of a queue. Its numbers link to the list of these tasks.
function row(queue, change, app) {
  const { node, tds } = cells(["", "", "num", "num", "num", "num", "num"], el("span", {}, queue));
  node.dataset.queue = queue;
  const [state, action, waiting, oldest, scheduled, running, dead] = tds;
  const word = el("span", { className: "state" });
  const note = el("span", { className: "problem" });
  state.append(word, " ", note);
  const links = { queued: waiting, scheduled, running, dead };
  for (const [name, cell] of Object.entries(links)) cell.append(el("a", { href: app.link("/tasks", { queue, state: name }) }));
  const button = el("button", { type: "button" });
  action.append(button);
  return {
    node,
    update(q) {
      write(word, q.paused ? "paused" : "active");
      word.dataset.state = q.paused ? "paused" : "active";
      write(note, q.broken ? q.broken : q.unclaimed ? `${number(q.unclaimed)} waiting tasks that no worker serves` : "");
      write(waiting.firstChild, number(q.waiting));
      write(scheduled.firstChild, number(q.scheduled));
      write(running.firstChild, number(q.running));
      write(dead.firstChild, number(q.dead));
      write(oldest, q.waiting ? duration(q.oldest_seconds) : "–");
      write(button, q.paused ? "Resume" : "Pause");
      button.setAttribute("aria-label", `${q.paused ? "Resume" : "Pause"} queue ${queue}`);
      button.onclick = async () => {
        button.disabled = true;
        await change(queue, q.paused ? "resume" : "pause");
        button.disabled = false;
      };
    },
  };
}
