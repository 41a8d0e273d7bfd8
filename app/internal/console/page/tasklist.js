// The rows of the list of tasks. Without filters the WebSocket delivers the newest tasks, and
// otherwise they are fetched. Older tasks are loaded page by page.

import { Rows, cells, el, setState, write } from "./dom.js";
import { slot, time, took } from "./format.js";

// refreshEvery is the shortest interval at which a filtered list is fetched, in
// milliseconds. It grows if the server needs more than a tenth of it.
const refreshEvery = 2000;
// maxReload is the number of tasks up to which all pages are fetched again after a change.
const maxReload = 500;

// rest returns the path of the next page. The path in the link begins with the prefix of the
// server, which api.js adds too.
const rest = (next) => next && `/tasks?${next.split("?")[1]}`;

export class TaskList {
  #filter = {};
  #version = 0; // of the filter; responses to earlier ones are dropped
  #newest = [];
  #older = [];
  #next = null;
  #more = false; // the WebSocket has said that there are older tasks
  #loaded = false;
  #busy = false;
  #fetched = 0;
  #pause = refreshEvery;

  // on has problem(text) and drawn({ shown, more, busy }).
  constructor(app, { body }, selection, on, filter) {
    Object.assign(this, { app, selection, on });
    this.#filter = filter;
    this.rows = new Rows(body, (t) => t.id, () => this.#row());
    this.unsubscribe = app.live.on("tasks", (frame) => this.#frame(frame));
    this.timer = setInterval(() => this.#tick(), 1000);
  }

  stop() {
    this.#version++;
    this.unsubscribe();
    clearInterval(this.timer);
  }

  // show shows the tasks that match a filter, which are parameters of GET /tasks.
  show(filter) {
    this.#version++;
    this.#filter = filter;
    this.#older = [];
    this.#newest = [];
    this.#next = null;
    this.#more = this.#loaded = this.#busy = false;
    this.#pause = refreshEvery;
    this.#load(50);
  }

  // changed is called when the user has changed tasks. A search begins anew.
  changed() {
    return this.#filter.q ? this.show(this.#filter) : this.#reload();
  }

  // reload fetches all shown tasks again, up to a limit.
  #reload() {
    const shown = this.#newest.length + this.#older.length;
    return this.#load(Math.min(Math.max(shown, 50), maxReload));
  }

  // more loads the next page.
  async more() {
    if (!this.#older.length) await this.#load(50); // the next page begins where this one ends
    if (this.#next) await this.#search();
  }

  get filtered() {
    return Object.keys(this.#filter).length > 0;
  }

  #frame(frame) {
    if (this.filtered) return;
    this.on.problem(frame.problem ?? "");
    if (frame.problem) return;
    const known = new Set(frame.tasks.map((t) => t.id));
    // Tasks that newer ones have pushed out of the frame stay while they are selected, or
    // while the user looks at older tasks.
    const pushed = this.#newest.filter((t) => !known.has(t.id) && (this.#older.length || this.selection.has(t.id)));
    const gone = new Set(pushed.map((t) => t.id));
    this.#older = [...pushed, ...this.#older.filter((t) => !known.has(t.id) && !gone.has(t.id))];
    this.#newest = frame.tasks;
    this.#more = frame.more;
    this.#loaded = true;
    this.#draw();
  }

  // load fetches the newest tasks.
  async #load(limit) {
    const version = this.#version;
    const began = Date.now();
    this.#fetched = began;
    const page = await this.#get(`/tasks?${new URLSearchParams({ ...this.#filter, limit })}`);
    if (version !== this.#version) return;
    if (!page) {
      if (!this.#loaded) this.rows.update([]); // those of another filter
      return;
    }
    this.#pause = Math.max(refreshEvery, 10 * (Date.now() - began));
    this.#newest = page.tasks;
    // Older pages stay as they are, unless this one has replaced them. A page may be short
    // although another one follows.
    if (!this.#older.length || !page.next || (limit > 50 && page.tasks.length >= limit)) {
      this.#older = [];
      this.#next = rest(page.next);
    }
    this.#loaded = true;
    this.#draw();
    // The server looks for a second. The search goes on in older tasks until one matches.
    if (!page.tasks.length && !this.#older.length && this.#next) await this.#search();
  }

  // search loads the next page that has tasks.
  async #search() {
    const version = this.#version;
    if (this.#busy) return;
    this.#busy = true;
    this.#draw();
    for (let found = false; !found && this.#next; ) {
      const page = await this.#get(this.#next);
      if (version !== this.#version) return;
      if (!page) break;
      this.#older.push(...page.tasks);
      this.#next = rest(page.next);
      found = page.tasks.length > 0;
    }
    this.#busy = false;
    this.#draw();
  }

  async #get(path) {
    const version = this.#version;
    try {
      const page = await this.app.api.get(path);
      if (version === this.#version) this.on.problem("");
      return page;
    } catch (err) {
      if (version === this.#version) this.on.problem(err.message);
      return null;
    }
  }

  // tick fetches a filtered list, and older tasks that may change, and updates the durations
  // of running tasks.
  #tick() {
    if (document.hidden) return;
    const due = !this.#busy && Date.now() - this.#fetched >= this.#pause;
    const few = this.#newest.length + this.#older.length <= maxReload;
    if (due && few && (this.filtered || this.#older.some((t) => !t.finished))) this.#reload();
    else if (this.#newest.some((t) => t.state === "running")) this.#draw();
  }

  #draw() {
    if (!this.#loaded) return;
    const known = new Set();
    const all = [...this.#newest, ...this.#older].filter((t) => !known.has(t.id) && known.add(t.id));
    this.#keepPlace(() => this.rows.update(all));
    this.selection.shown(all.map((t) => t.id), this.filtered);
    this.on.drawn({ shown: all.length, more: Boolean(this.#next) || (!this.filtered && !this.#older.length && this.#more), busy: this.#busy });
  }

  // keepPlace scrolls so that the first visible row stays where it is while rows are added.
  // Browsers do not do this inside a box that scrolls sideways.
  #keepPlace(update) {
    const top = (row) => row.getBoundingClientRect().top;
    const first = scrollY > 0 && [...this.rows.body.children].find((row) => top(row) > 0);
    const before = first ? top(first) : 0;
    update();
    if (first?.isConnected && top(first) !== before) scrollBy({ top: top(first) - before, behavior: "instant" });
  }

  #row() {
    const name = el("a");
    const found = el("div", { className: "found quiet", hidden: true });
    const { node, tds } = cells(["", "text", "num", "num", "", "", ""], name);
    const [state, progress, attempts, duration, queue, worker, accepted] = tds;
    const box = el("input", { type: "checkbox" });
    const word = el("span");
    const bar = el("progress", { max: 100 });
    const note = el("div", { className: "quiet" });
    node.prepend(el("td", {}, box));
    name.parentNode.append(found);
    state.append(word);
    progress.append(bar, note);
    return {
      node,
      update: (t) => {
        const label = `${t.task} ${t.id.slice(0, 8)}`;
        if (node.dataset.task !== t.id) {
          node.dataset.task = t.id;
          name.href = this.app.link(`/tasks/${encodeURIComponent(t.id)}`);
          name.title = t.id;
          write(name, label);
          bar.setAttribute("aria-label", `Progress of ${label}`);
          this.selection.bind(box, t.id, label);
        }
        this.#excerpt(found, t);
        setState(word, t.state);
        bar.hidden = !t.started || ["queued", "scheduled", "cancelled"].includes(t.state);
        bar.value = t.state === "success" ? 100 : t.progress;
        write(note, t.error || t.note || "");
        write(attempts, t.attempts);
        write(duration, took(t));
        write(queue, t.queue);
        write(worker, slot(t.worker));
        write(accepted, time(t.created));
      },
    };
  }

  // excerpt shows where the searched text is in the id or the arguments.
  #excerpt(node, t) {
    const q = this.#filter.q ?? "";
    const text = q && [t.id, JSON.stringify(t.args ?? []), JSON.stringify(t.kwargs ?? {})].find((s) => s.includes(q));
    node.hidden = !text;
    if (!text || node.dataset.q === q) return;
    node.dataset.q = q;
    const at = text.indexOf(q);
    node.replaceChildren(
      `${at > 30 ? "…" : ""}${text.slice(Math.max(0, at - 30), at)}`, el("mark", {}, q),
      `${text.slice(at + q.length, at + q.length + 60)}${text.length > at + q.length + 60 ? "…" : ""}`,
    );
  }
}
