// A WebSocket that reconnects.

import { at } from "./api.js";

const firstPause = 500;
const longestPause = 15000;
// maxSilence is the time without a message after which the connection counts as lost, in ms.
// The server sends at least every 10 seconds.
const maxSilence = 25000;

// LiveSocket keeps a WebSocket to path, or to the path that the function path returns, open. It calls onMessage(text) for each message and
// onState(state, seconds) with "connecting", "live" or "lost", and for "lost" with the time
// until it reconnects. With quiet, the server may send nothing for any time.
export class LiveSocket {
  #socket = null;
  #wait = firstPause;
  #timer = 0;
  #watchdog = 0;
  #closed = new AbortController();

  constructor(path, { onMessage, onState, quiet = false }) {
    Object.assign(this, { path, onMessage, onState, quiet });
    const { signal } = this.#closed;
    addEventListener("online", () => this.#reconnectNow(), { signal });
    document.addEventListener("visibilitychange", () => document.hidden || this.#reconnectNow(), { signal });
    this.#open();
  }

  send(text) {
    if (this.#socket?.readyState !== WebSocket.OPEN) return false;
    this.#socket.send(text);
    return true;
  }

  // close ends the connection for good.
  close() {
    this.#closed.abort();
    clearTimeout(this.#timer);
    clearTimeout(this.#watchdog);
    const socket = this.#socket;
    this.#socket = null; // no events any more
    socket?.close();
  }

  // reconnectNow ends the pause, for example when the network is back.
  #reconnectNow() {
    if (this.#socket) return;
    clearTimeout(this.#timer);
    this.#wait = firstPause;
    this.#open();
  }

  #open() {
    this.onState("connecting");
    const socket = new WebSocket(at(typeof this.path === "function" ? this.path() : this.path).replace(/^http/, "ws"));
    this.#socket = socket;
    socket.onmessage = (event) => {
      if (socket !== this.#socket) return;
      this.#wait = firstPause;
      this.#restartWatchdog();
      this.onState("live");
      this.onMessage(event.data);
    };
    socket.onopen = () => {
      if (socket !== this.#socket) return;
      this.#restartWatchdog();
      if (this.quiet) this.onState("live");
    };
    socket.onclose = () => socket === this.#socket && this.#lost();
    this.#restartWatchdog();
  }

  // restartWatchdog is called for each message. It closes a connection without messages,
  // which browsers do not do.
  #restartWatchdog() {
    clearTimeout(this.#watchdog);
    if (this.quiet && this.#socket.readyState === WebSocket.OPEN) return;
    const socket = this.#socket;
    this.#watchdog = setTimeout(() => {
      if (socket !== this.#socket) return;
      socket.close();
      this.#lost();
    }, maxSilence);
  }

  #lost() {
    clearTimeout(this.#watchdog);
    this.#socket = null;
    // A random pause spreads the reconnects of many pages.
    const pause = this.#wait * (0.5 + Math.random());
    this.#wait = Math.min(this.#wait * 2, longestPause);
    this.onState("lost", Math.ceil(pause / 1000));
    this.#timer = setTimeout(() => this.#open(), pause);
  }
}
