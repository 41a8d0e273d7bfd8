// The dialog with the details of one task.

import { $, el, setState, show, write } from "./dom.js";
import { at, getJSON, request, send } from "./api.js";
import { slot, time, took } from "./format.js";

const final = ["success", "failed", "cancelled", "dead"];
const retriable = ["failed", "cancelled", "dead"];
const pictures = /\.(png|jpe?g|gif|webp)$/i;
const maxLog = 64 << 10;

export class Detail {
  #id = "";
  #seen = "";
  #shownArtifacts = "";

  constructor() {
    this.dialog = $("detail");
    this.title = el("h2", { id: "detail-title" });
    this.state = el("span");
    this.bar = el("progress", { max: 100, "aria-label": "Progress" });
    this.note = el("p", { className: "quiet" });
    this.facts = el("dl");
    this.problem = el("p", { className: "problem", role: "alert", hidden: true });
    this.cancel = el("button", { type: "button", onclick: () => this.#change("DELETE", "") }, "Cancel task");
    this.retry = el("button", { type: "button", onclick: () => this.#change("POST", "/retry") }, "Try again");
    const close = el("button", { type: "button", onclick: () => this.dialog.close() }, "Close");
    this.parts = Object.fromEntries(["Artifacts", "Result", "Failures", "Log", "Arguments", "Arguments by name"].map((name) => {
      const body = name === "Artifacts" ? el("div") : el("pre", { tabIndex: 0, "aria-label": name, role: "region" });
      return [name, { head: el("h3", {}, name), body }];
    }));
    this.dialog.append(
      this.title, el("p", {}, this.state), this.bar, this.note, this.problem,
      el("p", { className: "row" }, this.cancel, this.retry, close), this.facts,
      ...Object.values(this.parts).flatMap(({ head, body }) => [head, body]),
    );
    this.dialog.onclose = () => (this.#id = "");
  }

  async open(id) {
    this.#id = id;
    this.#seen = this.#shownArtifacts = "";
    for (const { body } of Object.values(this.parts)) body.replaceChildren();
    write(this.title, `Task ${id}`);
    setState(this.state, "");
    this.bar.value = 0;
    show(this.problem, "");
    await this.#load();
    if (this.#id === id && !this.dialog.open) this.dialog.showModal();
  }

  // seen is called for each task in the list. If the shown task has changed, it is fetched.
  seen(task) {
    const now = `${task.state} ${task.progress} ${task.attempts} ${task.note}`;
    if (task.id !== this.#id || now === this.#seen) return;
    this.#seen = now;
    this.#load();
  }

  async #load() {
    const id = this.#id;
    try {
      const task = await getJSON(`/tasks/${encodeURIComponent(id)}`);
      if (id !== this.#id) return;
      this.#draw(task);
      const log = await this.#log(id);
      if (id === this.#id) this.#part("Log", log);
      show(this.problem, "");
    } catch (err) {
      if (id === this.#id) show(this.problem, err.message);
    }
  }

  async #log(id) {
    try {
      const text = await (await request(`/tasks/${encodeURIComponent(id)}/log`)).text();
      return text.slice(-maxLog);
    } catch (err) {
      if (err.status === 404) return ""; // no log
      throw err;
    }
  }

  async #change(method, what) {
    try {
      this.#draw(await send(method, `/tasks/${encodeURIComponent(this.#id)}${what}`));
      show(this.problem, "");
    } catch (err) {
      show(this.problem, err.message);
    }
  }

  #draw(t) {
    write(this.title, `${t.task} ${t.id}`);
    setState(this.state, t.state);
    this.bar.value = t.state === "success" ? 100 : t.progress;
    write(this.note, t.note);
    this.cancel.disabled = final.includes(t.state);
    this.retry.disabled = !retriable.includes(t.state);
    const facts = {
      Queue: t.queue, Attempts: t.attempts, Worker: slot(t.worker), Accepted: time(t.created), Started: time(t.started),
      Finished: time(t.finished), Duration: took(t), Error: t.error || "–",
    };
    this.facts.replaceChildren(...Object.entries(facts).flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, String(value))]));
    this.#part("Arguments", JSON.stringify(t.args, null, 2));
    this.#part("Arguments by name", Object.keys(t.kwargs ?? {}).length ? JSON.stringify(t.kwargs, null, 2) : "");
    this.#part("Result", t.result === null ? "" : JSON.stringify(t.result, null, 2));
    this.#part("Failures", (t.failures ?? []).map((f) => `${time(f.time)} attempt ${f.attempt}: ${f.error}`).join("\n"));
    this.#artifacts(t);
  }

  #part(name, text) {
    const { head, body } = this.parts[name];
    head.hidden = body.hidden = !text;
    write(body, text);
  }

  #artifacts(t) {
    const names = t.artifacts ?? [];
    const { head, body } = this.parts.Artifacts;
    head.hidden = body.hidden = !names.length;
    // A retried task may have replaced its artifacts.
    const version = `${t.id} ${t.finished} ${names}`;
    if (version === this.#shownArtifacts) return;
    this.#shownArtifacts = version;
    body.replaceChildren(...names.map((name) => {
      const address = at(`/tasks/${encodeURIComponent(t.id)}/artifacts/${encodeURIComponent(name)}`);
      const picture = pictures.test(name) ? el("img", { className: "artifact", src: address, alt: `${name} of ${t.task}` }) : null;
      return el("p", {}, el("a", { href: address, target: "_blank", rel: "noopener" }, name), picture);
    }));
  }
}
