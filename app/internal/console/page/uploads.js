// The panel for uploads: files in, bars, links to their tasks.

import { $, el, write } from "./dom.js";
import { bytes, duration } from "./format.js";
import { Upload, unfinished } from "./tus.js";

// atOnce is how many files are sent at the same time.
const atOnce = 2;
// window is how far back the speed looks, in milliseconds.
const span = 5000;

export class Uploads {
  #waiting = [];
  #running = 0;
  #known = new Set(); // keys of uploads that are on this page

  // open is called with the id of a task.
  constructor(open) {
    this.open = open;
    const drop = $("drop");
    const input = $("files");
    input.onchange = () => {
      this.#take(input.files);
      input.value = "";
    };
    for (const name of ["dragover", "drop"]) addEventListener(name, (event) => event.preventDefault()); // else the browser leaves the page
    drop.ondragover = () => drop.classList.add("over");
    drop.ondragleave = () => drop.classList.remove("over");
    drop.ondrop = (event) => {
      drop.classList.remove("over");
      this.#take(event.dataTransfer.files);
    };
    for (const one of unfinished()) this.#remind(one);
    addEventListener("beforeunload", (event) => this.#running && event.preventDefault());
  }

  #take(files) {
    const directory = $("directory").value.trim() || "console";
    for (const file of files) {
      const item = new Item(file, directory, this);
      if (this.#known.has(item.upload.key)) {
        this.#say(`${file.name} is being sent already`);
        continue;
      }
      this.#known.add(item.upload.key);
      $("uploads").prepend(item.node);
      this.queue(item);
    }
  }

  // queue sends an item when its turn has come.
  queue(item) {
    if (!this.#waiting.includes(item)) this.#waiting.push(item);
    item.say("waiting for its turn");
    this.#next();
  }

  async #next() {
    if (this.#running >= atOnce || !this.#waiting.length) return;
    this.#running++;
    const item = this.#waiting.shift();
    const news = await item.send();
    this.#running--;
    if (news) this.#say(news);
    if (item.over) this.#known.delete(item.upload.key);
    this.#next();
  }

  #say(text) {
    write($("upload-news"), text);
  }

  // remind tells of an upload that an earlier page has begun: no page may keep a
  // file, so it has to be chosen again.
  #remind(one) {
    const node = el("li", {}, `${one.directory}/${one.name} (${bytes(one.size)}) is not finished: choose it again to go on. `);
    node.append(el("button", { type: "button", onclick: () => {
      one.forget();
      node.remove();
    } }, "Forget"));
    $("uploads").append(node);
  }
}

// Item is one file in the list.
class Item {
  over = false;
  #marks = []; // of [time, bytes], for the speed
  #sending = false;

  constructor(file, directory, panel) {
    this.file = file;
    this.panel = panel;
    this.upload = new Upload(file, directory, (...news) => this.#told(...news));
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

  // send sends the file and returns what there is to be said of it aloud.
  async send() {
    if (this.over || this.upload.paused) return "";
    this.#sending = true;
    this.#marks = [];
    try {
      const stored = await this.upload.run();
      if (stored) return this.#stored(stored);
      if (this.upload.paused && !this.over) this.say(`paused at ${bytes(this.upload.offset)}`);
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

  #stored(answer) {
    this.#finish();
    this.bar.value = this.bar.max;
    this.say(`stored, ${bytes(this.file.size)} `);
    if (answer.task) {
      this.status.append(el("button", { type: "button", className: "link", onclick: () => this.panel.open(answer.task) }, `Task ${answer.task.slice(0, 16)}`));
    }
    return `${this.file.name} is stored`;
  }

  #finish() {
    this.over = true;
    this.buttons.remove();
  }

  #toggle() {
    if (this.upload.paused) {
      write(this.hold, "Pause");
      this.upload.paused = false;
      this.panel.queue(this);
    } else {
      write(this.hold, "Go on");
      this.hold.disabled = this.#sending; // until it has come to rest
      this.upload.pause();
      this.say(`paused at ${bytes(this.upload.offset)}`);
    }
  }

  async #cancel() {
    this.#finish();
    this.say("cancelled");
    await this.upload.cancel();
  }

  #told(state, value, reason) {
    if (this.over) return;
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
