// Uploads that go on, by tus 1.0.0 (https://tus.io/protocols/resumable-upload):
// creation, offset, and bytes in pieces, each acknowledged once it is on disk.

import { Refused, at, loggedOut, request } from "./api.js";

const base = "/tus/";
const version = { "Tus-Resumable": "1.0.0" };
// piece is how much goes in one request: what a proxy that buffers requests can
// lose, and how often a disk is waited for.
const piece = 8 << 20;
const firstPause = 500;
const longestPause = 15000;
// Servers behind different prefixes of one host share the storage.
const root = new URL(at("/")).pathname;
const prefix = `gale-upload${root === "/" ? "" : root}:`;

// What is to be tried again: no answer, a server that is busy or restarts (5xx),
// an upload that another request still holds, an offset that is not the server's.
const passing = (err) => err instanceof Refused && (err.status === 0 || err.status >= 500 || [408, 409, 423, 425, 429].includes(err.status)) && err.status !== 507;

// A file is known again by what the browser says of it. What is kept under that
// is the address of its upload, and never the token.
const fingerprint = (file, directory) => `${prefix}${directory}/${file.name}:${file.size}:${file.lastModified}`;

const memory = {
  get: (key) => attempt(() => JSON.parse(localStorage.getItem(key))?.url),
  set: (key, url, file, directory) => attempt(() => localStorage.setItem(key, JSON.stringify({ url, name: file.name, size: file.size, directory, at: Date.now() }))),
  drop: (key) => attempt(() => localStorage.removeItem(key)),
};

function attempt(what) {
  try {
    return what();
  } catch {
    return undefined; // a browser may keep nothing: then an upload does not outlive the page
  }
}

// unfinished lists what an earlier page has begun, newest first, and forgets what
// the server will have forgotten.
export function unfinished() {
  const all = [];
  for (const key of Object.keys(attempt(() => ({ ...localStorage })) ?? {})) {
    if (!key.startsWith(prefix)) continue;
    const one = attempt(() => JSON.parse(localStorage.getItem(key)));
    if (!one || Date.now() - one.at > 24 * 3600 * 1000) memory.drop(key);
    else all.push({ ...one, forget: () => memory.drop(key) });
  }
  return all.sort((a, b) => b.at - a.at);
}

// utf8 in base64, as Upload-Metadata wants its values.
const encode = (text) => btoa(String.fromCodePoint(...new TextEncoder().encode(text)));

// Upload sends one file. told(state) is called with "waiting" and when it goes on
// by itself, "sending", and with each progress; offset says how much is there.
export class Upload {
  offset = 0;
  #url;
  #resumed = false;
  #stop = new AbortController();
  #skip = () => {};
  paused = false;
  cancelled = false;

  constructor(file, directory, told) {
    Object.assign(this, { file, directory, told });
    this.key = fingerprint(file, directory);
    this.#url = memory.get(this.key);
    this.#resumed = Boolean(this.#url);
    addEventListener("online", () => this.#skip());
  }

  // run returns what the server says of the file once it is stored. Its errors are
  // final; paused and cancelled uploads return null.
  async run() {
    this.#stop = new AbortController();
    let pause = firstPause;
    while (!this.cancelled && !this.paused) {
      const before = this.offset;
      try {
        await this.#readable();
        return await this.#send();
      } catch (err) {
        if (this.cancelled || this.paused) break;
        if (!passing(err)) throw err;
        if (this.offset > before) pause = firstPause;
        const wait = pause * (0.5 + Math.random());
        pause = Math.min(pause * 2, longestPause);
        this.told("waiting", wait, err.message);
        await this.#sleep(wait);
      }
    }
    return null;
  }

  pause() {
    this.paused = true;
    this.#stop.abort();
    this.#skip();
  }

  async cancel() {
    this.cancelled = true;
    this.#stop.abort();
    this.#skip();
    memory.drop(this.key);
    if (this.#url) await request(this.#url, { method: "DELETE", headers: version }).catch(() => {}); // else it expires
  }

  #sleep(ms) {
    return new Promise((done) => {
      const timer = setTimeout(done, ms);
      this.#skip = () => {
        clearTimeout(timer);
        done();
      };
    });
  }

  // readable fails for a folder, and for a file that was changed or removed: to a
  // request that looks like a line that is lost, again and again.
  async #readable() {
    try {
      await this.file.slice(this.offset, this.offset + 1).arrayBuffer();
    } catch {
      throw new Error("this cannot be read; if it is a file, it was changed or removed");
    }
  }

  async #send() {
    if (this.#url) await this.#find();
    if (!this.#url) await this.#create();
    this.told("sending");
    while (this.offset < this.file.size) {
      this.offset = await this.#patch(this.file.slice(this.offset, this.offset + piece));
      this.told("sending");
    }
    const answer = await (await request(this.#url, { headers: version, signal: this.#stop.signal })).json();
    memory.drop(this.key);
    return answer.files?.[0] ?? {};
  }

  async #create() {
    const answer = await request(base, {
      method: "POST",
      signal: this.#stop.signal,
      headers: { ...version, "Upload-Length": String(this.file.size), "Upload-Metadata": `filename ${encode(this.file.name)},directory ${encode(this.directory)}` },
    }).catch((err) => {
      throw err.status === 409 ? new Error(err.message) : err; // the name is taken, and will be
    });
    this.offset = 0;
    this.#url = new URL(answer.headers.get("Location"), answer.url).href;
    memory.set(this.key, this.#url, this.file, this.directory);
  }

  // find asks how much is there. An upload that is gone is begun again if an
  // earlier page had begun it; else it is refused for a reason that is known.
  async #find() {
    try {
      const answer = await request(this.#url, { method: "HEAD", headers: version, signal: this.#stop.signal });
      this.offset = Number(answer.headers.get("Upload-Offset"));
      this.told("sending");
    } catch (err) {
      if (err.status !== 404 && err.status !== 410 && err.status !== 403) throw err;
      memory.drop(this.key);
      this.#url = undefined;
      if (!this.#resumed) throw new Error("the server has given this upload up; its name may be taken");
    }
    this.#resumed = false;
  }

  // patch sends a piece. Of all that a browser has for that, only XMLHttpRequest
  // tells how far it is.
  #patch(part) {
    const from = this.offset;
    const { signal } = this.#stop;
    const xhr = new XMLHttpRequest();
    const abort = () => xhr.abort();
    signal.addEventListener("abort", abort);
    return new Promise((resolve, reject) => {
      const lost = () => reject(new Refused(0, "the line is lost"));
      xhr.open("PATCH", at(this.#url));
      for (const [name, value] of Object.entries({ ...version, "Upload-Offset": String(from), "Content-Type": "application/offset+octet-stream" })) {
        xhr.setRequestHeader(name, value);
      }
      xhr.upload.onprogress = (event) => this.told("sending", from + event.loaded);
      xhr.onerror = xhr.onabort = xhr.ontimeout = lost;
      xhr.onload = () => {
        if (xhr.status === 401) loggedOut();
        if (xhr.status === 204) resolve(Number(xhr.getResponseHeader("Upload-Offset")));
        else reject(new Refused(xhr.status, attempt(() => JSON.parse(xhr.responseText).reason) ?? `status ${xhr.status}`));
      };
      xhr.send(part);
    }).finally(() => signal.removeEventListener("abort", abort));
  }
}
