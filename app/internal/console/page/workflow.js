// A workflow: its steps are read from the HTTP API, and drawn as a graph and as a list.

import { el, setState, show, write } from "./dom.js";
import { graph } from "./workflowgraph.js";

const final = ["success", "failed", "cancelled", "dead"];
// maxMembers and maxSteps are the numbers of members of a group and of steps of a chain up to
// which they are drawn; the rest is counted.
const maxMembers = 16;
const maxSteps = 40;

// WorkflowView shows a workflow and follows it.
export class WorkflowView {
  #id = "";
  #timer = 0;
  #stopped = false;

  // current is the id of a task to point out.
  constructor(app, { current = "" } = {}) {
    Object.assign(this, { app, current });
    this.problem = el("p", { className: "problem", role: "alert", hidden: true });
    this.box = el("div", { className: "wide graph", tabIndex: 0, role: "region", "aria-label": "Graph of the workflow" });
    this.node = el("div", {}, this.problem, this.box);
  }

  // show shows the workflow with an id. loaded(w, steps) is called with each state of it.
  show(id, loaded) {
    this.loaded = loaded;
    if (id === this.#id) return;
    this.#id = id;
    this.#load();
  }

  stop() {
    this.#stopped = true;
    clearTimeout(this.#timer);
  }

  async #load() {
    clearTimeout(this.#timer);
    const id = this.#id;
    let pause = 5000;
    try {
      const w = await this.app.api.get(`/workflows/${encodeURIComponent(id)}`);
      const steps = w.kind === "chain" && w.tasks.length < 2 ? [] : await read(this.app.api, w);
      if (this.#stopped || id !== this.#id) return;
      if (!final.includes(w.state)) pause = 1500;
      const now = JSON.stringify([w, steps]);
      if (now !== this.box.dataset.now) { // the focus may be on a task
        this.box.dataset.now = now;
        this.box.replaceChildren(...(steps.length ? [graph(steps, { current: this.current, href: (task) => this.app.link(`/tasks/${encodeURIComponent(task)}`) })] : []));
      }
      show(this.problem, "");
      this.loaded(w, steps);
    } catch (err) {
      if (this.#stopped || id !== this.#id) return;
      show(this.problem, err.status === 404 ? `No workflow has the id ${id}. Ended tasks are removed after seven days.` : err.message);
    }
    this.#timer = setTimeout(() => this.#load(), pause);
  }
}

// read returns the steps of a workflow, each an array of nodes { id, name, state, error }. A
// node without an id is one that stands for others.
async function read(api, w) {
  if (w.kind !== "chain") {
    const steps = [await members(api, w)];
    if (w.callback) steps.push(...(await after(api, w)));
    return steps;
  }
  const ids = w.tasks.slice(0, maxSteps);
  // What follows the first unfinished step is not accepted yet.
  const steps = await Promise.all(ids.map((id, i) => (i > w.succeeded ? [waiting(id, w)] : step(api, id, w))));
  if (w.tasks.length > maxSteps) steps.push([rest(w.tasks.length - maxSteps)]);
  return steps;
}

const waiting = (id, w) => ({ id: "", title: id, name: id.slice(0, 12), state: final.includes(w.state) ? "not started" : "waiting", error: "" });
const rest = (n) => ({ id: "", name: `${n} more`, state: "", error: "" });
// A callback whose group failed ends as failed, without an attempt. It is not what went wrong.
const nodeOf = (t) => ({ id: t.id, title: t.id, name: t.task, state: t.state === "failed" && !t.attempts ? "not started" : t.state, error: t.error });

async function task(api, id) {
  try {
    return await api.get(`/tasks/${encodeURIComponent(id)}`);
  } catch (err) {
    if (err.status === 404) return null;
    throw err;
  }
}

// step reads an element of a chain: a task or a group.
async function step(api, id, w) {
  const t = await task(api, id);
  if (t) return [nodeOf(t)];
  try {
    return await members(api, await api.get(`/workflows/${encodeURIComponent(id)}`));
  } catch (err) {
    if (err.status === 404) return [waiting(id, w)];
    throw err;
  }
}

// members reads the members of a group. The one that has failed is among those that are
// drawn.
async function members(api, w) {
  const ids = w.tasks.slice(0, maxMembers);
  if (w.failed_task && w.tasks.includes(w.failed_task) && !ids.includes(w.failed_task)) ids[ids.length - 1] = w.failed_task;
  const nodes = await Promise.all(ids.map(async (id) => {
    const t = await task(api, id);
    return t ? nodeOf(t) : waiting(id, w);
  }));
  if (w.tasks.length > ids.length) nodes.push(rest(w.tasks.length - ids.length));
  return nodes;
}

// after reads the callback of a chord, and the chain that follows it.
async function after(api, w) {
  const t = await task(api, w.callback);
  if (!t) return [[{ ...waiting(w.callback, w), name: `callback ${w.callback.slice(0, 8)}` }]];
  const chain = await api.get(`/workflows/${encodeURIComponent(w.callback)}`);
  return chain.tasks.length > 1 ? read(api, chain) : [[nodeOf(t)]];
}

// list returns the steps as a table, for those who do not see the graph.
export function fill(body, steps, app) {
  body.replaceChildren(...steps.flatMap((nodes, i) => nodes.map((n) => {
    const state = el("span");
    setState(state, n.state);
    const name = n.id ? el("a", { href: app.link(`/tasks/${encodeURIComponent(n.id)}`), title: n.id }, `${n.name} ${n.id.slice(0, 8)}`) : el("span", { title: n.title ?? "" }, n.name);
    const error = el("td", { className: "text" });
    write(error, n.error ?? "");
    return el("tr", {}, el("td", { className: "num" }, String(i + 1)), el("th", { scope: "row", className: "text" }, name), el("td", {}, state), error);
  })));
}
