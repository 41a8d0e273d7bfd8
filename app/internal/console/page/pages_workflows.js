// The pages of workflows: the newest ones, and one of them as a graph.

import { Rows, cells, el, setState, show, table, write } from "./dom.js";
import { number, time } from "./format.js";
import { WorkflowView, fill } from "./workflow.js";

export const title = "Workflows";

// scanned is the number of newest tasks in which workflows are looked for.
const scanned = 500;
const refreshEvery = 10000;

export function mount(root, { id }, app) {
  return id ? one(root, id, app) : newest(root, app);
}

function one(root, id, app) {
  app.setTitle(`Workflow ${id.length > 16 ? `${id.slice(0, 12)}…` : id}`);
  const view = new WorkflowView(app);
  const state = el("span");
  const bar = el("progress", { max: 100, "aria-label": "Progress of the workflow" });
  const about = el("p", {});
  const error = el("pre", { className: "error", tabIndex: 0, role: "region", "aria-label": "Error", hidden: true });
  const result = el("pre", { tabIndex: 0, role: "region", "aria-label": "Result" });
  const results = el("section", { hidden: true }, el("h2", {}, "Result"), result);
  const cancel = el("button", { type: "button", id: "workflow-cancel", disabled: true }, "Cancel workflow");
  cancel.onclick = async () => {
    await app.attempt(() => app.api.send("DELETE", `/workflows/${encodeURIComponent(id)}`), "workflow cancelled");
  };
  const steps = table("Tasks of the workflow", ["#Step", "Task", "State", "Error"]);
  const list = el("section", { hidden: true }, el("h2", {}, "Tasks"), steps.node);
  root.append(el("p", { className: "back" }, el("a", { href: app.link("/workflows") }, "All workflows")),
    el("section", {}, el("p", { className: "row" }, state, el("span", { className: "fill" }), cancel), bar, about, error, view.node), list, results);
  view.show(id, (w, drawn) => {
    setState(state, w.state);
    bar.value = w.progress;
    const tasks = w.tasks.length + (w.callback ? 1 : 0);
    write(about, `${{ chain: "Chain", group: "Group", chord: "Chord" }[w.kind]} of ${number(tasks)} ${tasks === 1 ? "task" : "tasks"}: ${number(w.succeeded)} succeeded, ${number(w.failed)} failed. Accepted ${time(w.created)}${w.finished ? `, ended ${time(w.finished)}` : ""}.`);
    show(error, w.error ? `${w.failed_task}: ${w.error}` : "");
    cancel.disabled = ["success", "failed", "cancelled"].includes(w.state);
    const text = w.result === null ? "" : JSON.stringify(w.result, null, 2);
    results.hidden = !text;
    write(result, text);
    list.hidden = !drawn.length;
    const now = JSON.stringify(drawn);
    if (list.dataset.now === now) return;
    list.dataset.now = now;
    fill(steps.body, drawn, app);
  });
  return () => view.stop();
}

function newest(root, app) {
  const problem = el("p", { className: "problem", role: "alert", hidden: true });
  const none = el("p", { className: "empty", hidden: true }, "No workflow among the newest tasks. A chain, group or chord appears here after POST /tasks has accepted it.");
  const { node, body } = table("List of workflows", ["Workflow", "Tasks", "#Ended", "#Failed", "Newest task"]);
  body.id = "workflow-rows";
  const id = el("input", { id: "workflow-id", autocomplete: "off", spellcheck: false, maxLength: 128, required: true });
  const form = el("form", { className: "row" }, el("label", { htmlFor: "workflow-id" }, "Id of a workflow, or of the first task of a chain"), id, el("button", {}, "Open"));
  form.onsubmit = (event) => {
    event.preventDefault();
    app.go(`/workflows/${encodeURIComponent(id.value.trim())}`);
  };
  root.append(el("section", {}, form, el("p", { className: "quiet" }, `Workflows of the newest ${scanned} tasks. The numbers count these tasks only.`), problem, node, none));
  const rows = new Rows(body, (w) => w.id, (w) => workflowRow(w.id, app));
  let timer = 0;
  let stopped = false;
  const load = async () => {
    try {
      const { tasks } = await app.api.get(`/tasks?limit=${scanned}`);
      if (stopped) return;
      const found = workflowsOf(tasks);
      rows.update(found);
      node.hidden = !found.length;
      none.hidden = found.length > 0;
      show(problem, "");
    } catch (err) {
      if (!stopped) show(problem, err.message);
    }
    if (!stopped) timer = setTimeout(load, refreshEvery);
  };
  load();
  return () => {
    stopped = true;
    clearTimeout(timer);
  };
}

// workflowsOf returns the workflows to which tasks belong, the newest first.
function workflowsOf(tasks) {
  const all = new Map();
  for (const t of tasks) {
    const id = t.workflow || t.group;
    if (!id) continue;
    const w = all.get(id) ?? { id, names: new Set(), tasks: 0, ended: 0, failed: 0, newest: t.created };
    all.set(id, w);
    w.names.add(t.task);
    w.tasks++;
    if (t.finished) w.ended++;
    if (["failed", "dead"].includes(t.state) && t.attempts) w.failed++; // a callback that never started is none
  }
  return [...all.values()];
}

function workflowRow(id, app) {
  const { node, tds } = cells(["text", "num", "num", ""], el("a", { href: app.link(`/workflows/${encodeURIComponent(id)}`), title: id }, id));
  const [names, ended, failed, newest] = tds;
  return {
    node,
    update(w) {
      write(names, `${number(w.tasks)}: ${[...w.names].slice(0, 4).join(", ")}${w.names.size > 4 ? ", …" : ""}`);
      write(ended, number(w.ended));
      write(failed, number(w.failed));
      failed.classList.toggle("problem", w.failed > 0);
      write(newest, time(w.newest));
    },
  };
}
