// The page of tasks: search, filters, and changes of many tasks. The filters are the
// parameters of the URL.

import { el, show, table, write } from "./dom.js";
import { number } from "./format.js";
import { Selection } from "./taskselection.js";
import { Starter } from "./taskform.js";
import { TaskList } from "./tasklist.js";

export const title = "Tasks";

const states = ["scheduled", "queued", "running", "retrying", "success", "failed", "cancelled", "dead"];
// typing is the pause after which a changed filter is applied, in milliseconds.
const typing = 300;

export function mount(root, params, app) {
  const filter = new Filter(params);
  const starter = new Starter((task) => app.go(`/tasks/${encodeURIComponent(task.id)}`));
  const problem = el("p", { id: "tasks-problem", className: "problem", role: "alert", hidden: true });
  const note = el("p", { id: "tasks-note", className: "empty", hidden: true });
  const rows = table("List of tasks", ["", "Task", "State", "Progress", "#Attempts", "#Duration", "Queue", "Worker", "Accepted"]);
  rows.body.id = "task-rows";
  const older = el("button", { type: "button", id: "older", hidden: true }, "Older tasks");
  const count = el("span", { id: "task-count", className: "quiet", role: "status" });
  const selection = new Selection(app, () => filter.values(), () => list.changed());
  const list = new TaskList(app, rows, selection, {
    problem: (text) => show(problem, text),
    drawn: ({ shown, more, busy }) => {
      older.hidden = !more || busy;
      write(older, filter.isSet ? "Search older tasks" : "Older tasks");
      rows.node.hidden = !shown;
      write(count, busy ? "Searching older tasks…" : shown ? `${number(shown)} ${shown === 1 ? "task" : "tasks"} shown${more ? (filter.isSet ? "; older ones are not searched yet" : "; older ones exist") : ""}` : "");
      show(note, shown || busy ? "" : empty(filter));
    },
  }, filter.values());
  rows.node.querySelector("th").append(selection.all);
  older.onclick = () => list.more();
  filter.onchange = (values) => {
    app.replace(values);
    selection.clear();
    list.show(values);
  };
  root.append(el("section", { className: "tasks" },
    el("div", { className: "row" }, starter.button), starter.form, filter.form, selection.bar, problem, rows.node, note,
    el("p", { className: "row" }, older, count)), selection.dialog);
  list.show(filter.values());
  return () => {
    filter.stop();
    list.stop();
  };
}

const empty = (filter) => (filter.isSet
  ? "No task matches. The search finds text in the id, the name and the arguments; upper and lower case differ. The filters for task and queue need the whole name. Ended tasks are kept for seven days."
  : "No tasks yet. A task appears here as soon as it is accepted: from POST /tasks, an upload, a schedule, a worker program, or the form above.");

// Filter is the form with the filters. Its values are the parameters of GET /tasks.
class Filter {
  onchange = () => {};
  #timer = 0;

  constructor(params) {
    const text = (id, name, placeholder) => el("input", { id, value: params[name] ?? "", placeholder, maxLength: 200, autocomplete: "off", spellcheck: false });
    this.q = text("filter-text", "q", "id, name or argument");
    this.q.type = "search";
    this.q.maxLength = 256;
    this.state = el("select", { id: "filter-state" }, el("option", { value: "", textContent: "any" }), ...states.map((s) => el("option", { value: s, textContent: s })));
    this.state.value = states.includes(params.state) ? params.state : "";
    this.task = text("filter-task", "task", "any");
    this.queue = text("filter-queue", "queue", "any");
    this.since = el("input", { id: "filter-since", type: "datetime-local", step: 1, value: local(params.since) });
    this.until = el("input", { id: "filter-until", type: "datetime-local", step: 1, value: local(params.until) });
    this.reset = el("button", { type: "button", id: "filter-reset", className: "plain-button", onclick: () => this.#clear() }, "Remove filters");
    const field = (label, input) => el("div", { className: "field" }, el("label", { htmlFor: input.id }, label), input);
    this.form = el("form", { id: "filter", className: "filter", role: "search", "aria-label": "Filter of the list" },
      field("Search", this.q), field("State", this.state), field("Task", this.task), field("Queue", this.queue),
      field("Accepted since", this.since), field("Accepted before", this.until), this.reset);
    this.form.onsubmit = (event) => {
      event.preventDefault();
      this.#changed(0);
    };
    this.form.oninput = (event) => this.#changed(event.target === this.state ? 0 : typing);
    this.#showReset();
  }

  // values returns the parameters that are set.
  values() {
    const all = {
      q: this.q.value.trim(), state: this.state.value, task: this.task.value.trim(), queue: this.queue.value.trim(),
      since: utc(this.since.value), until: utc(this.until.value),
    };
    return Object.fromEntries(Object.entries(all).filter(([, value]) => value));
  }

  get isSet() {
    return Object.keys(this.values()).length > 0;
  }

  stop() {
    clearTimeout(this.#timer);
  }

  #changed(pause) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.#showReset();
      this.onchange(this.values());
    }, pause);
  }

  #clear() {
    for (const input of [this.q, this.state, this.task, this.queue, this.since, this.until]) input.value = "";
    this.q.focus();
    this.#changed(0);
  }

  #showReset() {
    this.reset.hidden = !this.isSet;
  }
}

// local converts a time of the URL to the value of an input, in the time zone of the
// browser. Text that is not a time becomes empty.
function local(text) {
  const at = new Date(text ?? "");
  if (Number.isNaN(at.getTime())) return "";
  const pad = (n) => String(n).padStart(2, "0");
  return `${at.getFullYear()}-${pad(at.getMonth() + 1)}-${pad(at.getDate())}T${pad(at.getHours())}:${pad(at.getMinutes())}:${pad(at.getSeconds())}`;
}

// utc is the inverse of local.
const utc = (value) => (value ? new Date(value).toISOString() : "");
