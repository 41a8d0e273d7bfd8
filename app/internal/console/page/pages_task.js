// The page of one task.

import { el, setState, show, write } from "./dom.js";
import { slot, time, took } from "./format.js";
import { Artifacts } from "./taskartifacts.js";
import { LogView } from "./tasklog.js";
import { timeline } from "./tasktimeline.js";
import { WorkflowView } from "./workflow.js";

export const title = "Task";

const final = ["success", "failed", "cancelled", "dead"];
// Intervals at which the task is fetched, in milliseconds: while it waits or runs, and after
// its end, because it may be run again.
const [often, seldom] = [1000, 5000];

export function mount(root, { id }, app) {
  const page = new TaskPage(root, id, app);
  return () => page.stop();
}

class TaskPage {
  #timer = 0;
  #stopped = false;
  #seen = "";

  constructor(root, id, app) {
    Object.assign(this, { root, id, app, path: `/tasks/${encodeURIComponent(id)}` });
    app.setTitle(`Task ${id}`);
    this.state = el("span", { id: "task-state" });
    this.bar = el("progress", { max: 100, "aria-label": "Progress" });
    this.note = el("p", { className: "quiet note" });
    this.problem = el("p", { className: "problem", role: "alert", hidden: true });
    this.facts = el("dl");
    this.error = el("pre", { tabIndex: 0, role: "region", "aria-label": "Error", className: "error" });
    this.buttons = {
      cancel: this.#button("task-cancel", "Cancel task", () => app.api.send("DELETE", this.path)),
      retry: this.#button("task-retry", "Run again", () => app.api.send("POST", `${this.path}/retry`)),
      purge: this.#button("task-purge", "Purge dead letter", () => this.#purge()),
    };
    this.events = el("ol", { className: "timeline" });
    this.texts = Object.fromEntries(["Arguments", "Arguments by name", "Result", "Headers"].map((name) => [name, part(name)]));
    this.artifacts = new Artifacts(app, id);
    this.log = new LogView(app, this.path);
    this.workflow = new WorkflowView(app, { current: id });
    this.flow = el("section", { hidden: true, className: "wide-part" }, el("h2", {}, "Workflow"), this.workflow.node);
    const texts = Object.values(this.texts).map((p) => p.node);
    this.body = el("div", { className: "task", id: "task", hidden: true },
      el("div", { className: "page" }, el("section", {}, el("p", { className: "row" }, this.state, el("span", { className: "fill" }), ...Object.values(this.buttons)), this.bar, this.note, this.error, this.facts),
        el("section", {}, el("h2", {}, "Timeline"), this.events)),
      el("section", {}, el("h2", {}, "Arguments and result"), ...texts), this.flow, this.artifacts.node, this.log.node);
    root.append(el("p", { className: "back" }, el("a", { href: app.link("/tasks") }, "All tasks")), this.problem, this.body);
    const subscriptions = [
      app.live.on("processes", (frame) => (this.traceLink = frame.trace_link)),
      app.live.on("tasks", (frame) => this.#frame(frame)),
    ];
    this.unsubscribe = () => subscriptions.forEach((end) => end());
    this.#load();
  }

  stop() {
    this.#stopped = true;
    clearTimeout(this.#timer);
    this.unsubscribe();
    this.workflow.stop();
  }

  #button(id, text, work) {
    return el("button", { type: "button", id, onclick: async () => {
      const task = await this.app.attempt(work, `${text}: done`);
      if (task?.id) this.#draw(task);
      this.#load();
    } }, text);
  }

  async #purge() {
    const { count } = await this.app.api.send("POST", "/tasks/purge", { ids: [this.id] });
    if (!count) throw new Error("the task is no longer a dead letter");
  }

  // frame fetches the task if the WebSocket says that it has changed.
  #frame(frame) {
    const t = frame.tasks?.find((task) => task.id === this.id);
    if (!t) return;
    const now = `${t.state} ${t.progress} ${t.attempts} ${t.note}`;
    const changed = this.#seen && now !== this.#seen;
    this.#seen = now;
    if (changed) this.#load();
  }

  async #load() {
    clearTimeout(this.#timer);
    if (this.#stopped) return;
    let pause = often;
    try {
      const task = await this.app.api.get(this.path);
      if (this.#stopped) return;
      this.#draw(task);
      show(this.problem, "");
      await this.log.load();
      if (final.includes(task.state)) pause = seldom;
    } catch (err) {
      if (this.#stopped) return;
      pause = seldom;
      show(this.problem, err.status === 404 ? `No task has the id ${this.id}. Ended tasks are removed after seven days.` : err.message);
    }
    clearTimeout(this.#timer);
    if (!this.#stopped) this.#timer = setTimeout(() => this.#load(), pause);
  }

  #draw(t) {
    this.body.hidden = false;
    this.app.setTitle(`${t.task} ${t.id.length > 16 ? `${t.id.slice(0, 12)}…` : t.id}`);
    setState(this.state, t.state);
    this.bar.value = t.state === "success" ? 100 : t.progress;
    show(this.note, t.note);
    show(this.error, t.error);
    this.buttons.cancel.disabled = final.includes(t.state);
    this.buttons.retry.disabled = !["failed", "cancelled", "dead"].includes(t.state);
    this.buttons.purge.hidden = t.state !== "dead";
    this.#facts(t);
    timeline(this.events, t);
    this.texts.Arguments.set(t.args?.length ? json(t.args) : "none");
    this.texts["Arguments by name"].set(Object.keys(t.kwargs ?? {}).length ? json(t.kwargs) : "");
    this.texts.Result.set(t.result === null ? "" : json(t.result));
    this.texts.Headers.set(t.headers ? json(t.headers) : "");
    this.artifacts.update(t);
    this.log.running = !final.includes(t.state);
    this.workflow.show(t.workflow || t.group || t.id, (w) => {
      this.flow.hidden = w.kind === "chain" && w.tasks.length < 2;
    });
  }

  #facts(t) {
    const trace = t.trace || /^[0-9a-f]{2}-([0-9a-f]{32})-/.exec(t.headers?.traceparent ?? "")?.[1];
    const workflow = t.workflow || t.group;
    const facts = {
      Id: t.id, Task: t.task, Queue: t.queue, Attempts: t.attempts, Worker: slot(t.worker), Accepted: time(t.created),
      Started: time(t.started), Finished: time(t.finished), Duration: took(t),
      ...(workflow && { Workflow: el("a", { href: this.app.link(`/workflows/${encodeURIComponent(workflow)}`) }, workflow) }),
      ...(trace && { Trace: this.#trace(trace) }),
    };
    const now = JSON.stringify([facts, workflow, trace, this.traceLink]);
    if (now === this.facts.dataset.now) return; // the text may be selected
    this.facts.dataset.now = now;
    this.facts.replaceChildren(...Object.entries(facts).flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, typeof value === "number" ? String(value) : value)]));
  }

  // trace shows a trace id, as a link to the trace viewer if there is one, and a button that
  // copies the id.
  #trace(id) {
    const copy = () => this.app.attempt(() => navigator.clipboard.writeText(id), "trace id copied");
    const text = el("code", {}, id);
    const link = this.traceLink && el("a", { href: this.traceLink.replace("{id}", () => encodeURIComponent(id)), target: "_blank", rel: "noreferrer" }, text);
    return el("span", {}, link || text, " ", el("button", { type: "button", className: "plain-button", "aria-label": "Copy the trace id", onclick: copy }, "Copy"));
  }
}

const json = (value) => JSON.stringify(value, null, 2);

// part is a heading and a text, which are hidden while the text is empty.
function part(name) {
  const body = el("pre", { tabIndex: 0, role: "region", "aria-label": name });
  const node = el("div", { hidden: true }, el("h3", {}, name), body);
  return { node, set: (text) => {
    node.hidden = !text;
    write(body, text);
  } };
}
