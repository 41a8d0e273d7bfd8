// The page of tasks. The list stays as it is while another page is shown.

import { el, table } from "./dom.js";
import { Tasks } from "./tasks.js";

export const title = "Tasks";

let section = null;
let tasks = null;

export function mount(root, params, app) {
  if (section) root.append(section);
  else make(root, app);
  if (params.id) tasks.open(params.id);
  return () => section.remove();
}

function make(root, app) {
  const list = table("List of tasks", ["Task", "State", "Progress", "Attempts", "Duration", "Worker", "Accepted"]);
  list.body.id = "task-rows";
  section = el("section", {},
    el("form", { id: "filter", className: "row" },
      el("label", { htmlFor: "filter-state" }, "State"), el("select", { id: "filter-state" }, el("option", { value: "" }, "any")),
      el("button", { type: "button", id: "dead-letters" }, "Dead letters"),
      el("button", { type: "button", id: "new-task", "aria-expanded": "false", "aria-controls": "starter" }, "Start a task")),
    el("form", { id: "starter", className: "card", "aria-label": "Start a task", hidden: true }),
    el("p", { id: "tasks-problem", className: "problem", hidden: true }), list.node,
    el("p", { className: "row" }, el("button", { type: "button", id: "older", hidden: true }, "Older tasks")),
    el("dialog", { id: "detail", "aria-labelledby": "detail-title" }));
  root.append(section);
  tasks = new Tasks();
  app.live.on("tasks", (frame) => tasks.update(frame));
  app.live.on("queues", (frame) => frame.problem || tasks.deadLetters(frame.queues.reduce((sum, q) => sum + q.dead, 0)));
}
