// The rows of the list of tasks. Without filters the WebSocket delivers the newest tasks, and
// otherwise they are fetched. Older tasks are loaded page by page.

import { Rows, cells, el, setState, write } from "./dom.js";
import { slot, time, took } from "./format.js";

// refreshEvery is the shortest interval at which a filtered list is fetched, in
// milliseconds. It grows if the server needs more than a tenth of it.
const refreshEvery = 2000;
// maxReload is the number of tasks up to which all pages are fetched again after a change.
const maxReload = 500;
// maxOlder is the number of tasks that stay in the list while new ones push them down.
const maxOlder = 1000;

// frameSize is the number of tasks that the WebSocket delivers.
const frameSize = 50;

// rest returns the path of the next page, or null. The path in the link begins with the prefix
// of the server, which api.js adds too.
const rest = (next) => (next ? `/tasks?${next.split("?")[1]}` : null);

export class TaskList {
  #filter = {};
  #version = 0; // of the filter; responses to earlier ones are dropped
  #newest = []; // at most frameSize tasks, which the next frame replaces
  #older = [];
  #next; // path of the page after the last older task; null after the last page, undefined before the first
  #more = false; // the WebSocket has said that there are older tasks
  #frames = 0; // number of frames received
  #opened = false; // the user has asked for older tasks
  #rounding = 0; // distance of the rows from their place, because browsers scroll by whole pixels
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
    this.#next = undefined;
    this.#more = this.#loaded = this.#busy = this.#opened = false;
    this.#pause = refreshEvery;
    this.#load(frameSize);
  }

  // changed is called when the user has changed tasks. A search begins anew.
  changed() {
    return this.#filter.q ? this.show(this.#filter) : this.#reload();
  }

  // reload fetches all shown tasks again, up to a limit.
  #reload() {
    const shown = this.#newest.length + this.#older.length;
    return this.#load(Math.min(Math.max(shown, frameSize), maxReload));
  }

  // more loads the next page.
  async more() {
    this.#opened = true;
    if (this.#next === undefined) await this.#reload(); // the next page begins where this one ends
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
    // Tasks that newer ones have pushed out of the frame stay while they are selected, or after
    // the user has asked for older tasks.
    this.#older = [...this.#newest, ...this.#older].filter((t) => !known.has(t.id) && (this.#opened || this.selection.has(t.id)));
    if (!this.#opened || this.#older.length > maxOlder) this.#next = undefined; // the last tasks leave the list
    this.#older.splice(maxOlder);
    this.#newest = frame.tasks;
    this.#frames++;
    this.#more = frame.more;
    this.#loaded = true;
    this.#draw();
  }

  // load fetches the newest tasks.
  async #load(limit) {
    const version = this.#version;
    const frames = this.#frames;
    const partial = this.#newest.length + this.#older.length > limit; // tasks after the limit leave the list
    const began = Date.now();
    this.#fetched = began;
    const page = await this.#get(`/tasks?${new URLSearchParams({ ...this.#filter, limit })}`);
    if (version !== this.#version) return;
    if (!page) {
      if (!this.#loaded) this.rows.update([]); // those of another filter
      return;
    }
    this.#pause = Math.max(refreshEvery, 10 * (Date.now() - began));
    const newer = frames !== this.#frames; // a frame that arrived after the request is newer than the response
    if (newer && !this.#opened) return;
    const shown = [...this.#newest, ...this.#older];
    let tasks = page.tasks;
    if (!this.#older.length || !page.next || tasks.length >= (partial ? limit : shown.length)) this.#next = rest(page.next);
    else {
      // Tasks after the end of this page stay as they are. A page may be short although another
      // one follows.
      const known = new Set(tasks.map((t) => t.id));
      const end = shown.findLastIndex((t) => known.has(t.id));
      tasks = [...tasks, ...shown.slice(end + 1)];
    }
    if (newer) {
      const known = new Set(this.#newest.map((t) => t.id));
      tasks = [...this.#newest, ...tasks.filter((t) => !known.has(t.id))];
    }
    this.#newest = tasks.slice(0, frameSize);
    this.#older = tasks.slice(frameSize);
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
    else if ([...this.#newest, ...this.#older].some((t) => t.state === "running")) this.#draw();
  }

  #draw() {
    if (!this.#loaded) return;
    const known = new Set();
    const all = [...this.#newest, ...this.#older].filter((t) => !known.has(t.id) && known.add(t.id));
    this.#keepPlace(() => this.rows.update(all));
    this.selection.shown(all.map((t) => t.id), this.filtered);
    this.on.drawn({ shown: all.length, more: Boolean(this.#next) || (this.#next === undefined && this.#more), busy: this.#busy });
  }

  // keepPlace scrolls so that the first visible row that remains stays where it is while rows
  // are added and removed. Browsers do not do this inside a box that scrolls sideways.
  #keepPlace(update) {
    const top = (row) => row.getBoundingClientRect().top;
    const visible = scrollY > 0 ? [...this.rows.body.children].map((row) => [row, top(row)]).filter(([, y]) => y > 0) : [];
    update();
    const [row, before] = visible.find(([one]) => one.isConnected) ?? [];
    if (!row || top(row) === before) return;
    const place = before - this.#rounding;
    scrollBy({ top: top(row) - place, behavior: "instant" });
    const off = top(row) - place;
    this.#rounding = Math.abs(off) < 1 ? off : 0;
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
