// The panel for uploads.

import { el, write } from "./dom.js";
import { bytes, duration } from "./format.js";
import { Upload, unfinished } from "./tus.js";

// maxConcurrent is the number of files that are sent at the same time.
const maxConcurrent = 2;
// span is the time over which the speed is measured, in milliseconds.
const span = 5000;

export class Uploads {
  #waiting = [];
  #running = 0;
  #known = new Set(); // keys of uploads that are on this page

  // node contains the elements of the panel. open is called with the id of a task, and stored
  // after a file was stored.
  constructor(node, { open, stored }) {
    Object.assign(this, { open, stored });
    const find = (id) => node.querySelector(`#${id}`);
    this.directory = find("directory");
    this.list = find("uploads");
    this.news = find("upload-news");
    const drop = find("drop");
    const input = find("files");
    input.onchange = () => {
      this.#take(input.files);
      input.value = "";
    };
    for (const name of ["dragover", "drop"]) addEventListener(name, (event) => event.preventDefault()); // otherwise the browser opens the file
    drop.ondragover = () => drop.classList.add("over");
    drop.ondragleave = () => drop.classList.remove("over");
    drop.ondrop = (event) => {
      drop.classList.remove("over");
      this.#take(event.dataTransfer.files);
    };
    for (const one of unfinished()) this.#addUnfinished(one);
    addEventListener("beforeunload", (event) => this.#running && event.preventDefault());
  }

  #take(files) {
    const directory = this.directory.value.trim() || "console";
    for (const file of files) {
      const item = new Item(file, directory, this);
      if (this.#known.has(item.upload.key)) {
        this.#announce(`${file.name} is already being sent`);
        continue;
      }
      this.#known.add(item.upload.key);
      this.list.prepend(item.node);
      this.queue(item);
    }
  }

  // queue sends an item as soon as fewer than maxConcurrent files are being sent.
  queue(item) {
    if (!this.#waiting.includes(item)) this.#waiting.push(item);
    item.say("queued");
    this.#next();
  }

  async #next() {
    if (this.#running >= maxConcurrent || !this.#waiting.length) return;
    this.#running++;
    const item = this.#waiting.shift();
    const news = await item.send();
    this.#running--;
    if (news) this.#announce(news);
    if (item.finished) this.#known.delete(item.upload.key);
    if (item.stored) this.stored();
    this.#next();
  }

  #announce(text) {
    write(this.news, text);
  }

  // addUnfinished lists an unfinished upload of an earlier page. The user must choose the file
  // again, because a page cannot keep access to it.
  #addUnfinished(one) {
    const node = el("li", {}, `${one.directory}/${one.name} (${bytes(one.size)}) is not finished. Choose the file again to resume. `);
    node.append(el("button", { type: "button", onclick: () => {
      one.forget();
      node.remove();
    } }, "Forget"));
    this.list.append(node);
  }
}

// Item is one file in the list.
class Item {
  finished = false;
  stored = false;
  #marks = []; // of [time, bytes], for the speed
  #sending = false;

  constructor(file, directory, panel) {
    this.file = file;
    this.panel = panel;
    this.upload = new Upload(file, directory, (...news) => this.#onProgress(...news));
    this.status = el("span", { className: "quiet" });
    this.bar = el("progress", { max: Math.max(1, file.size), value: 0, "aria-label": `Upload of ${file.name}` });
    this.hold = el("button", { type: "button", onclick: () => this.#toggle() }, "Pause");
    this.end = el("button", { type: "button", onclick: () => this.#cancel() }, "Cancel");
    this.buttons = el("span", { className: "row" }, this.hold, this.end);
    this.node = el("li", {}, el("div", {}, `${directory}/${file.name} `), this.bar, el("div", {}, this.status), this.buttons);
  }

  say(text) {
    write(this.status, text);
  }

  // send sends the file and returns a message for screen readers.
  async send() {
    if (this.finished || this.upload.paused) return "";
    this.#sending = true;
    this.#marks = [];
    try {
      const stored = await this.upload.run();
      if (stored) return this.#stored(stored);
      if (this.upload.paused && !this.finished) this.say(`paused at ${bytes(this.upload.offset)}`);
      return "";
    } catch (err) {
      this.#finish();
      this.status.className = "problem";
      this.say(`not stored: ${err.message}`);
      return `${this.file.name} was not stored: ${err.message}`;
    } finally {
      this.#sending = this.hold.disabled = false;
    }
  }

  #stored(response) {
    this.#finish();
    this.stored = true;
    this.bar.value = this.bar.max;
    this.say(`stored, ${bytes(this.file.size)} `);
    if (response.task) {
      this.status.append(el("button", { type: "button", className: "link", onclick: () => this.panel.open(response.task) }, `Task ${response.task.slice(0, 16)}`));
    }
    return `${this.file.name} is stored`;
  }

  #finish() {
    this.finished = true;
    this.buttons.remove();
  }

  #toggle() {
    if (this.upload.paused) {
      write(this.hold, "Pause");
      this.upload.paused = false;
      this.panel.queue(this);
    } else {
      write(this.hold, "Resume");
      this.hold.disabled = this.#sending; // until the upload has stopped
      this.upload.pause();
      this.say(`paused at ${bytes(this.upload.offset)}`);
    }
  }

  async #cancel() {
    this.#finish();
    this.say("cancelled");
    await this.upload.cancel();
  }

  #onProgress(state, value, reason) {
    if (this.finished) return;
    if (state === "waiting") {
      this.#marks = [];
      this.say(`${reason}; trying again in ${Math.ceil(value / 1000)} s, at ${bytes(this.upload.offset)} of ${bytes(this.file.size)}`);
      return;
    }
    const sent = value ?? this.upload.offset;
    const now = performance.now();
    this.#marks.push([now, sent]);
    while (this.#marks.length > 2 && this.#marks[0][0] < now - span) this.#marks.shift();
    const [then, had] = this.#marks[0];
    const speed = now > then ? ((sent - had) * 1000) / (now - then) : 0;
    this.bar.value = sent;
    const left = speed > 0 ? `, ${bytes(speed)}/s, ${duration((this.file.size - sent) / speed)} left` : "";
    this.say(`${bytes(sent)} of ${bytes(this.file.size)}${left}`);
  }
}
