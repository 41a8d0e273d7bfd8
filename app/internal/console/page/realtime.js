// The broadcast, joined like any client joins it.

import { $, el, write } from "./dom.js";
import { number, time } from "./format.js";
import { Line } from "./live.js";

const kept = 50;

export class Realtime {
  constructor() {
    this.line = new Line("/broadcast", {
      quiet: true,
      heard: (text) => this.#heard(text),
      changed: (state) => write($("broadcast-state"), { live: "", lost: "Not joined, trying again.", connecting: "Joining." }[state]),
    });
    $("say").onsubmit = (event) => {
      event.preventDefault();
      const words = $("words");
      if (!words.value) return;
      if (this.line.send(words.value)) words.value = "";
      else write($("broadcast-state"), "Not sent: not joined.");
    };
  }

  clients(count) {
    write($("clients"), number(count));
  }

  #heard(text) {
    const list = $("heard");
    const follow = list.scrollHeight - list.scrollTop - list.clientHeight < 20;
    list.append(el("div", {}, el("span", { className: "quiet" }, `${time(new Date())} `), text));
    while (list.childElementCount > kept) list.firstElementChild.remove();
    if (follow) list.scrollTop = list.scrollHeight;
  }
}
