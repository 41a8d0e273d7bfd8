// The page of schedules.

import { cells, el, show, table, write } from "./dom.js";
import { time, until } from "./format.js";

export const title = "Schedules";

// reloadEvery is the interval at which the schedules are read, in milliseconds. A reload of
// the server can change them.
const reloadEvery = 15000;

export function mount(root, _, app) {
  const problem = el("p", { className: "problem", hidden: true });
  const { node, body } = table("List of schedules", ["Schedule", "Next", "Run", "Times", "Then", "Missed", "Arguments"]);
  body.id = "schedule-rows";
  const none = el("p", { className: "empty", hidden: true }, "No schedules. Periodic tasks of the application and of the tasks file (", el("code", {}, "-tasks"), ", a command with ", el("code", {}, "schedule"), ") will be here with their next start times.");
  node.hidden = true;
  root.append(el("section", {}, problem, node, none));

  let shown = "";
  const ticks = []; // functions that update the times
  async function load() {
    try {
      const all = await app.api.get("/schedules");
      show(problem, "");
      node.hidden = !all.length;
      none.hidden = all.length > 0;
      if (JSON.stringify(all) === shown) return;
      shown = JSON.stringify(all);
      const focused = document.activeElement?.dataset?.schedule;
      ticks.length = 0;
      body.replaceChildren(...all.map((s) => row(s, ticks, app)));
      if (focused) body.querySelector(`button[data-schedule="${CSS.escape(focused)}"]`)?.focus();
    } catch (err) {
      show(problem, err.message);
    }
  }
  load();
  const timers = [setInterval(load, reloadEvery), setInterval(() => {
    for (const tick of ticks) tick();
    if (body.querySelector('[data-due="now"]')) load();
  }, 1000)];
  return () => timers.forEach(clearInterval);
}

function row(s, ticks, app) {
  const { node, tds } = cells(["", "", "", "", "", "args"], el("span", {}, s.name));
  const [next, action, when, then, missed, args] = tds;
  write(when, s.schedule);
  write(missed, s.missed);
  if (s.next.length) {
    const left = el("span", { className: "quiet left" });
    next.append(time(s.next[0]), " ", left);
    const tick = () => {
      write(left, until(new Date(s.next[0])));
      left.dataset.due = left.textContent;
    };
    tick();
    ticks.push(tick);
  } else write(next, "never");
  write(then, s.next.slice(1).map(time).join(", ") || "–");
  args.append(el("code", {}, JSON.stringify(s.args)));
  const button = el("button", { type: "button", "aria-label": `Run now: ${s.name}` }, "Run now");
  button.dataset.schedule = s.name;
  const result = el("span");
  button.onclick = async () => {
    button.disabled = true;
    const task = await app.attempt(() => app.api.send("POST", `/schedules/${encodeURIComponent(s.name)}/run`), (t) => `task ${t.task} ${t.id} started`);
    button.disabled = false;
    if (task) result.replaceChildren(" ", el("a", { href: app.link(`/tasks/${encodeURIComponent(task.id)}`) }, `task ${task.id.slice(0, 8)}`));
  };
  action.append(button, result);
  return node;
}
