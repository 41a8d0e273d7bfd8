// The broadcast. The page is one of its clients.

import { $, el, write } from "./dom.js";
import { number, time } from "./format.js";
import { LiveSocket } from "./live.js";

const maxMessages = 50;

export class Realtime {
  constructor() {
    this.line = new LiveSocket("/broadcast", {
      quiet: true,
      onMessage: (text) => this.#show(text),
      onState: (state) => write($("broadcast-state"), { live: "", lost: "Not connected, reconnecting.", connecting: "Connecting." }[state]),
    });
    $("say").onsubmit = (event) => {
      event.preventDefault();
      const words = $("words");
      if (!words.value) return;
      if (this.line.send(words.value)) words.value = "";
      else write($("broadcast-state"), "Not sent: not connected.");
    };
  }

  clients(count) {
    write($("clients"), number(count));
  }

  #show(text) {
    const list = $("heard");
    const follow = list.scrollHeight - list.scrollTop - list.clientHeight < 20;
    list.append(el("div", {}, el("span", { className: "quiet" }, `${time(new Date())} `), text));
    while (list.childElementCount > maxMessages) list.firstElementChild.remove();
    if (follow) list.scrollTop = list.scrollHeight;
  }
}
