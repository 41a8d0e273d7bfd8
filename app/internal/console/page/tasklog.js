// The log of a task, which follows its end.

import { el, write } from "./dom.js";

export class LogView {
  running = false;

  constructor(app, path) {
    Object.assign(this, { app, path });
    this.follow = el("input", { type: "checkbox", id: "log-follow", checked: true, onchange: () => this.#toEnd() });
    this.text = el("pre", { id: "log", className: "log", tabIndex: 0, role: "log", "aria-label": "Log", "aria-live": "off" });
    this.empty = el("p", { className: "empty" });
    this.node = el("section", { className: "wide-part" },
      el("div", { className: "row" }, el("h2", {}, "Log"), el("span", { className: "fill" }), el("label", {}, this.follow, " Follow")), this.text, this.empty);
    // A user who scrolls up wants to read: the text stays where it is.
    this.text.onscroll = () => {
      if (this.#atEnd() !== this.follow.checked && this.text.scrollHeight > this.text.clientHeight) this.follow.checked = this.#atEnd();
    };
  }

  async load() {
    let text = "";
    try {
      text = await (await this.app.api.request(`${this.path}/log`)).text();
    } catch (err) {
      if (err.status !== 404) throw err;
    }
    const grown = text !== this.text.textContent;
    write(this.text, text);
    this.text.hidden = !text;
    this.empty.hidden = Boolean(text);
    write(this.empty, this.running ? "No lines yet. What the handler logs appears here while it runs." : "The handler has logged nothing.");
    if (grown) this.#toEnd();
  }

  #atEnd() {
    return this.text.scrollTop + this.text.clientHeight >= this.text.scrollHeight - 8;
  }

  #toEnd() {
    if (this.follow.checked) this.text.scrollTop = this.text.scrollHeight;
  }
}
