// One WebSocket, which comes back by itself.

import { at } from "./api.js";

const first = 500;
const longest = 15000;
// silence is how long the server may say nothing: it has something each second,
// or the least often that it allows itself.
const silence = 25000;

// Line keeps a WebSocket to path. It calls heard(text) for each message, and
// changed(state, seconds) with "connecting", "live", or "lost" and when it tries
// again.
export class Line {
  #socket = null;
  #wait = first;
  #timer = 0;
  #watch = 0;

  constructor(path, { heard, changed, quiet = false }) {
    Object.assign(this, { path, heard, changed, quiet });
    addEventListener("online", () => this.#soon());
    document.addEventListener("visibilitychange", () => document.hidden || this.#soon());
    this.#open();
  }

  send(text) {
    if (this.#socket?.readyState !== WebSocket.OPEN) return false;
    this.#socket.send(text);
    return true;
  }

  // soon does not wait for the end of the pause: something has changed.
  #soon() {
    if (this.#socket) return;
    clearTimeout(this.#timer);
    this.#wait = first;
    this.#open();
  }

  #open() {
    this.changed("connecting");
    const socket = new WebSocket(at(this.path).replace(/^http/, "ws"));
    this.#socket = socket;
    socket.onmessage = (event) => {
      if (socket !== this.#socket) return;
      this.#wait = first;
      this.#alive();
      this.changed("live");
      this.heard(event.data);
    };
    socket.onopen = () => this.#alive();
    socket.onclose = () => socket === this.#socket && this.#lost();
    this.#alive();
  }

  // alive notes a sign of life; without one for long the line is given up, which
  // a browser does not do by itself.
  #alive() {
    clearTimeout(this.#watch);
    if (this.quiet && this.#socket.readyState === WebSocket.OPEN) return;
    const socket = this.#socket;
    this.#watch = setTimeout(() => {
      if (socket !== this.#socket) return;
      socket.close();
      this.#lost();
    }, silence);
  }

  #lost() {
    clearTimeout(this.#watch);
    this.#socket = null;
    // Those who lost the server together must not come back together.
    const pause = this.#wait * (0.5 + Math.random());
    this.#wait = Math.min(this.#wait * 2, longest);
    this.changed("lost", Math.ceil(pause / 1000));
    this.#timer = setTimeout(() => this.#open(), pause);
  }
}
