// The list of stored files, a directory at a time. The HTTP API does not list all directories,
// so the browser remembers those that were opened here.

import { el, show, table } from "./dom.js";
import { bytes, time } from "./format.js";

// remembered is the largest number of directories to remember.
const remembered = 20;

// known returns the directories that were opened, the last first.
function known() {
  try {
    const all = JSON.parse(localStorage.getItem("gale-directories"));
    return Array.isArray(all) ? all.filter((d) => typeof d === "string") : [];
  } catch {
    return [];
  }
}

// remember adds a directory to those that were opened, or removes it.
function remember(dir, exists) {
  try {
    const all = [...(exists ? [dir] : []), ...known().filter((d) => d !== dir)];
    localStorage.setItem("gale-directories", JSON.stringify(all.slice(0, remembered)));
  } catch {
    // Storage is off: the user types the name.
  }
}

export class FileList {
  #entries = [];
  #next = "";
  #version = 0;

  constructor(app, dir) {
    Object.assign(this, { app, dir });
    this.problem = el("p", { className: "problem", role: "alert", hidden: true });
    this.none = el("p", { className: "empty", hidden: true });
    const { node, body } = table("List of files", ["Name", "#Size", "Modified", "Change"]);
    body.id = "file-rows";
    Object.assign(this, { table: node, body });
    this.more = el("button", { type: "button", hidden: true, onclick: () => this.#load(this.#next) }, "More files");
    this.dialog = el("dialog", { id: "confirm-remove", "aria-labelledby": "confirm-remove-title" });
    this.node = el("section", { "aria-labelledby": "files-title" }, el("h2", { id: "files-title" }, "Stored files"),
      this.#openForm(), this.#crumbs(), this.problem, this.table, this.none, el("p", { className: "row" }, this.more));
  }

  stop() {
    this.#version++;
  }

  load() {
    if (this.dir) return this.#load("");
    this.#draw();
  }

  // openForm opens a directory by name.
  #openForm() {
    const name = el("input", { id: "open-directory", maxLength: 255, required: true, autocomplete: "off", spellcheck: false, value: this.dir || "console" });
    const form = el("form", { className: "row" }, el("label", { htmlFor: "open-directory" }, "Directory of files"), name, el("button", {}, "Show"));
    form.onsubmit = (event) => {
      event.preventDefault();
      this.app.go("/files", { dir: name.value.trim().replace(/\/+$/, "") });
    };
    return form;
  }

  async #load(after) {
    const version = ++this.#version;
    try {
      const path = this.dir.split("/").map(encodeURIComponent).join("/");
      const page = await this.app.api.get(`/upload/${path}/${after ? `?${new URLSearchParams({ after })}` : ""}`);
      if (version !== this.#version) return;
      this.#entries = after ? [...this.#entries, ...page.entries] : page.entries;
      this.#next = page.next ?? "";
      show(this.problem, "");
      remember(this.dir, true);
    } catch (err) {
      if (version !== this.#version) return;
      this.#entries = [];
      this.#next = "";
      if (err.status === 404) remember(this.dir, false);
      show(this.problem, err.status === 404 ? "" : err.message);
    }
    this.#draw();
  }

  #crumbs() {
    const parts = this.dir ? this.dir.split("/") : [];
    const links = parts.map((name, i) => el("li", {}, el("a", { href: this.app.link("/files", { dir: parts.slice(0, i + 1).join("/") }) }, name)));
    links.unshift(el("li", {}, el("a", { href: this.app.link("/files") }, "Directories")));
    links.at(-1).firstChild.setAttribute("aria-current", "page");
    return el("nav", { "aria-label": "Directory" }, el("ol", { className: "plain crumbs" }, ...links));
  }

  #draw() {
    const entries = this.dir ? this.#entries : known().map((name) => ({ name, type: "directory" }));
    this.body.replaceChildren(...entries.map((e) => (e.type === "directory" ? this.#directory(e) : this.#file(e))));
    this.table.hidden = !entries.length;
    this.more.hidden = !this.#next;
    show(this.none, entries.length || !this.problem.hidden ? "" : this.dir
      ? "This directory has no files. A file appears here as soon as an upload has stored it whole."
      : "No directory was opened in this browser. Give the name of one: the files in it appear here, as soon as an upload has stored them whole.");
  }

  #directory(e) {
    const path = this.dir ? `${this.dir}/${e.name}` : e.name;
    return el("tr", {}, el("th", { scope: "row", className: "text" }, el("a", { href: this.app.link("/files", { dir: path }) }, `${e.name}/`)),
      el("td", { className: "num" }, "–"), el("td", {}, time(e.modified)), el("td"));
  }

  #file(e) {
    const path = `/upload/${[...this.dir.split("/"), e.name].map(encodeURIComponent).join("/")}`;
    const name = el("a", { href: this.app.api.at(path), download: e.name }, e.name);
    const remove = el("button", { type: "button", className: "plain-button", "aria-label": `Remove ${e.name}`, onclick: () => this.#ask(e.name) }, "Remove");
    const row = el("tr", {}, el("th", { scope: "row", className: "text" }, name), el("td", { className: "num" }, bytes(e.size)), el("td", {}, time(e.modified)), el("td", {}, remove));
    row.dataset.file = e.name;
    return row;
  }

  #ask(name) {
    this.dialog.replaceChildren(
      el("h2", { id: "confirm-remove-title" }, "Remove this file?"), el("p", { className: "text" }, `${this.dir}/${name} is removed for ever.`),
      el("p", { className: "row" },
        el("button", { type: "button", id: "confirm-remove-go", onclick: () => this.#remove(name) }, "Remove"),
        el("button", { type: "button", className: "plain-button", onclick: () => this.dialog.close() }, "Back")),
    );
    this.dialog.showModal();
  }

  async #remove(name) {
    this.dialog.close();
    await this.app.attempt(() => this.app.api.request(`/upload?${new URLSearchParams({ directory: this.dir, filename: name })}`, { method: "DELETE" }), `${name} removed`);
    await this.load();
  }
}
