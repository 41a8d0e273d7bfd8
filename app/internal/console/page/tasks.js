// The list of tasks. The newest are updated live, older ones are loaded page by page.

import { $, Rows, cells, el, setState, show, write } from "./dom.js";
import { getJSON } from "./api.js";
import { slot, time, took } from "./format.js";
import { Detail } from "./taskdetail.js";
import { Starter } from "./taskform.js";

const states = ["scheduled", "queued", "running", "retrying", "success", "failed", "cancelled", "dead"];
// refreshEvery is the interval at which a filtered list is fetched, in milliseconds. The
// WebSocket only delivers the list without a filter.
const refreshEvery = 2000;

export class Tasks {
  #live = { tasks: [], more: false };
  #older = []; // tasks of the pages loaded by the user
  #next = null;
  #fetched = 0;
  #dead = 0;

  constructor() {
    this.detail = new Detail();
    new Starter((task) => this.open(task.id));
    this.rows = new Rows($("task-rows"), (t) => t.id, () => this.#row());
    this.filter = $("filter-state");
    this.filter.append(...states.map((s) => el("option", { value: s, textContent: s })));
    this.filter.onchange = () => this.#reset();
    $("filter").onsubmit = (event) => event.preventDefault();
    $("dead-letters").onclick = () => {
      this.filter.value = "dead";
      this.#reset();
    };
    $("older").onclick = () => this.#more();
    setInterval(() => this.#tick(), 1000);
  }

  open(id) {
    this.detail.open(id);
  }

  update(frame) {
    show($("tasks-problem"), frame.problem);
    if (frame.problem) return;
    this.#live = frame;
    for (const t of frame.tasks) this.detail.seen(t);
    if (this.filter.value) this.#refresh();
    else this.#draw();
  }

  // deadLetters sets the number of dead letters on the button.
  deadLetters(count) {
    if (count !== this.#dead && this.filter.value === "dead") this.#refresh();
    this.#dead = count;
    write($("dead-letters"), count ? `Dead letters (${count})` : "Dead letters");
  }

  #reset() {
    this.#older = [];
    this.#next = null;
    this.#fetched = 0;
    if (this.filter.value) this.#refresh();
    else this.#draw();
  }

  async #refresh() {
    const state = this.filter.value;
    if (Date.now() - this.#fetched < refreshEvery) return;
    this.#fetched = Date.now();
    await this.#fetch(async () => {
      const page = await getJSON(`/tasks?state=${state}`);
      if (state !== this.filter.value) return;
      this.filtered = page.tasks;
      if (!this.#older.length) this.#next = page.next;
      this.#draw();
    });
  }

  async #more() {
    const last = this.#live.tasks.at(-1);
    if (!this.filter.value && !this.#older.length && last) this.#next = (await this.#nextPage()) ?? this.#next;
    if (!this.#next) return;
    await this.#fetch(async () => {
      const page = await getJSON(this.#next);
      this.#older.push(...page.tasks);
      this.#next = page.next;
      this.#draw();
    });
  }

  // nextPage returns the link to the page after the tasks that the WebSocket delivers.
  async #nextPage() {
    let next = null;
    await this.#fetch(async () => {
      const page = await getJSON("/tasks?limit=50");
      this.#older.push(...page.tasks);
      next = page.next;
    });
    return next;
  }

  async #fetch(what) {
    try {
      await what();
      show($("tasks-problem"), "");
    } catch (err) {
      show($("tasks-problem"), err.message);
    }
  }

  #draw() {
    const newest = this.filter.value ? (this.filtered ?? []) : this.#live.tasks;
    const known = new Set();
    const all = [...newest, ...this.#older].filter((t) => !known.has(t.id) && known.add(t.id));
    this.rows.update(all);
    $("older").hidden = !(this.#next || (!this.filter.value && !this.#older.length && this.#live.more));
  }

  // tick updates the durations of running tasks.
  #tick() {
    if (!document.hidden && this.#live.tasks.some((t) => t.state === "running")) this.#draw();
  }

  #row() {
    let id = "";
    const name = el("button", { type: "button", className: "link", onclick: () => this.open(id) });
    const { node, tds } = cells(6, name);
    const [state, progress, attempts, duration, worker, accepted] = tds;
    const word = el("span");
    const bar = el("progress", { max: 100 });
    const note = el("span", { className: "quiet" });
    state.append(word);
    progress.append(bar, note);
    progress.className = "text";
    return {
      node,
      update: (t) => {
        id = t.id;
        node.dataset.task = t.id;
        write(name, `${t.task} ${t.id.slice(0, 8)}`);
        name.title = t.id;
        setState(word, t.state);
        bar.value = t.state === "success" ? 100 : t.progress;
        bar.setAttribute("aria-label", `Progress of ${t.task} ${t.id.slice(0, 8)}`);
        write(note, t.error || t.note || "");
        write(attempts, t.attempts);
        write(duration, took(t));
        write(worker, slot(t.worker));
        write(accepted, time(t.created));
      },
    };
  }
}
