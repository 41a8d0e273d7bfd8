// The selection in the list of tasks, and what is done with it: retry, cancel, purge.

import { el, write } from "./dom.js";
import { number } from "./format.js";

const verbs = {
  retry: { button: "Run again", past: "run again", ask: "Run these tasks again?", what: "Tasks that failed, were cancelled or are dead letters run again. Others are skipped." },
  cancel: { button: "Cancel", past: "cancelled", ask: "Cancel these tasks?", what: "Waiting tasks never start, and running ones are stopped. Ended tasks are skipped." },
  purge: { button: "Purge", past: "purged", ask: "Purge these tasks?", what: "Waiting tasks never start, and dead letters leave the queue. Running and ended tasks are skipped. Purged tasks stay in the list as cancelled." },
};

export class Selection {
  #ids = new Set();
  #shown = [];
  #boxes = new Map(); // by id
  #matching = false; // all tasks that match the filter are selected
  #filtered = false;

  // filter returns the filter of the list, and done is called after a change.
  constructor(app, filter, done) {
    Object.assign(this, { app, filter, done });
    this.all = el("input", { type: "checkbox", id: "select-all", "aria-label": "Select all shown tasks", onchange: () => this.#toggleAll() });
    this.text = el("span", { id: "selected", role: "status" });
    this.match = el("button", { type: "button", id: "select-matching", className: "plain-button", hidden: true, onclick: () => this.#matchAll() }, "Select all that match the filter");
    this.none = el("button", { type: "button", className: "plain-button", hidden: true, onclick: () => this.clear() }, "Clear selection");
    this.buttons = Object.entries(verbs).map(([verb, { button }]) => el("button", { type: "button", id: `bulk-${verb}`, onclick: () => this.#ask(verb) }, button));
    this.bar = el("div", { className: "row selection", role: "group", "aria-label": "Selected tasks" }, this.text, this.match, this.none, el("span", { className: "fill" }), ...this.buttons);
    this.dialog = el("dialog", { id: "confirm", "aria-labelledby": "confirm-title" });
    this.#draw();
  }

  // bind makes a checkbox select a task.
  bind(box, id, label) {
    box.setAttribute("aria-label", `Select ${label}`);
    box.checked = this.#matching || this.#ids.has(id);
    box.onchange = () => {
      if (this.#matching) this.#ids = new Set(this.#shown);
      this.#matching = false;
      if (box.checked) this.#ids.add(id);
      else this.#ids.delete(id);
      this.#draw();
    };
    this.#boxes.set(id, box);
  }

  // shown tells which tasks are in the list, and whether the list has a filter. Tasks that
  // have left the list are not selected any more: the user would change what is not seen.
  shown(ids, filtered) {
    const now = new Set(ids);
    for (const id of this.#boxes.keys()) if (!now.has(id)) this.#boxes.delete(id);
    for (const id of this.#ids) if (!now.has(id)) this.#ids.delete(id);
    this.#shown = ids;
    this.#filtered = filtered;
    this.#draw();
  }

  has(id) {
    return this.#ids.has(id);
  }

  clear() {
    this.#ids.clear();
    this.#matching = false;
    this.#draw();
  }

  #toggleAll() {
    this.#matching = false;
    this.#ids = new Set(this.all.checked ? this.#shown : []);
    this.#draw();
  }

  #matchAll() {
    this.#matching = true;
    this.#draw();
  }

  #draw() {
    const n = this.#matching ? this.#shown.length : this.#ids.size;
    const every = n > 0 && n === this.#shown.length;
    this.all.checked = every;
    this.all.indeterminate = n > 0 && !every;
    this.all.disabled = !this.#shown.length;
    for (const [id, box] of this.#boxes) box.checked = this.#matching || this.#ids.has(id);
    write(this.text, this.#matching ? "All tasks that match the filter are selected" : n ? `${number(n)} selected` : "No task selected");
    this.match.hidden = this.#matching || !every || !this.#filtered;
    this.none.hidden = !n;
    for (const button of this.buttons) button.disabled = !n;
  }

  #ask(verb) {
    const { button, ask, what } = verbs[verb];
    const body = this.#matching ? this.filter() : { ids: [...this.#ids] };
    const about = this.#matching ? `All tasks with ${Object.entries(body).map(([name, value]) => `${name} ${value}`).join(", ")}` : `${number(body.ids.length)} selected ${body.ids.length === 1 ? "task" : "tasks"}`;
    const go = el("button", { type: "button", id: "confirm-go", onclick: () => {
      this.dialog.close();
      this.#change(verb, body);
    } }, button);
    this.dialog.replaceChildren(
      el("h2", { id: "confirm-title" }, ask), el("p", {}, `${about}. ${what}`),
      el("p", { className: "row" }, go, el("button", { type: "button", className: "plain-button", onclick: () => this.dialog.close() }, "Back")),
    );
    this.dialog.showModal();
  }

  async #change(verb, body) {
    for (const button of this.buttons) button.disabled = true;
    await this.app.attempt(() => this.app.api.send("POST", `/tasks/${verb}`, body), ({ count, more }) => (
      `${number(count)} ${count === 1 ? "task" : "tasks"} ${verbs[verb].past}.${more ? " A request changes at most 10,000 tasks, and more match: repeat it." : ""}`));
    this.clear();
    await this.done();
  }
}
