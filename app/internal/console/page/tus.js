// Resumable uploads with tus 1.0.0 (https://tus.io/protocols/resumable-upload). A file is
// sent in chunks; the server acknowledges each one after it was written to disk.

import { Refused, at, loggedOut, request } from "./api.js";

const base = "/tus/";
const version = { "Tus-Resumable": "1.0.0" };
// chunkSize is the number of bytes per request. Larger chunks lose more behind a proxy that
// buffers requests; smaller ones wait for the disk more often.
const chunkSize = 8 << 20;
const firstPause = 500;
const longestPause = 15000;
// Servers behind different prefixes of one host share the storage.
const root = new URL(at("/")).pathname;
const prefix = `gale-upload${root === "/" ? "" : root}:`;

// isTemporary reports whether to try again: without a response, when the server is busy or
// restarts (5xx), when another request holds the upload, or with a wrong offset.
const isTemporary = (err) => err instanceof Refused && (err.status === 0 || err.status >= 500 || [408, 409, 423, 425, 429].includes(err.status)) && err.status !== 507;

// fingerprint returns the storage key of a file, so that an upload can be resumed later. The
// stored value is the URL of the upload, without the token.
const fingerprint = (file, directory) => `${prefix}${directory}/${file.name}:${file.size}:${file.lastModified}`;

const storage = {
  get: (key) => attempt(() => JSON.parse(localStorage.getItem(key))?.url),
  set: (key, url, file, directory) => attempt(() => localStorage.setItem(key, JSON.stringify({ url, name: file.name, size: file.size, directory, at: Date.now() }))),
  drop: (key) => attempt(() => localStorage.removeItem(key)),
};

function attempt(what) {
  try {
    return what();
  } catch {
    return undefined; // without localStorage, an upload cannot be resumed on another page
  }
}

// unfinished returns the unfinished uploads of earlier pages, newest first. It forgets those
// that have expired on the server.
export function unfinished() {
  const all = [];
  for (const key of Object.keys(attempt(() => ({ ...localStorage })) ?? {})) {
    if (!key.startsWith(prefix)) continue;
    const one = attempt(() => JSON.parse(localStorage.getItem(key)));
    if (!one || Date.now() - one.at > 24 * 3600 * 1000) storage.drop(key);
    else all.push({ ...one, forget: () => storage.drop(key) });
  }
  return all.sort((a, b) => b.at - a.at);
}

// encode encodes a value for Upload-Metadata: UTF-8 in base64.
const encode = (text) => btoa(String.fromCodePoint(...new TextEncoder().encode(text)));

// Upload sends one file. It calls onProgress("waiting", ms, reason) before a retry, and
// onProgress("sending", bytes) with each progress. offset is the number of bytes that the
// server has.
export class Upload {
  offset = 0;
  #url;
  #resumed = false;
  #stop = new AbortController();
  #wakeUp = () => {};
  paused = false;
  cancelled = false;

  constructor(file, directory, onProgress) {
    Object.assign(this, { file, directory, onProgress });
    this.key = fingerprint(file, directory);
    this.#url = storage.get(this.key);
    this.#resumed = Boolean(this.#url);
    addEventListener("online", () => this.#wakeUp());
  }

  // run returns the server's description of the stored file, or null if the upload was paused
  // or cancelled. Its errors are permanent.
  async run() {
    this.#stop = new AbortController();
    let pause = firstPause;
    while (!this.cancelled && !this.paused) {
      const before = this.offset;
      try {
        await this.#checkReadable();
        return await this.#send();
      } catch (err) {
        if (this.cancelled || this.paused) break;
        if (!isTemporary(err)) throw err;
        if (this.offset > before) pause = firstPause;
        const wait = pause * (0.5 + Math.random());
        pause = Math.min(pause * 2, longestPause);
        this.onProgress("waiting", wait, err.message);
        await this.#sleep(wait);
      }
    }
    return null;
  }

  pause() {
    this.paused = true;
    this.#stop.abort();
    this.#wakeUp();
  }

  async cancel() {
    this.cancelled = true;
    this.#stop.abort();
    this.#wakeUp();
    storage.drop(this.key);
    if (this.#url) await request(this.#url, { method: "DELETE", headers: version }).catch(() => {}); // else it expires
  }

  #sleep(ms) {
    return new Promise((done) => {
      const timer = setTimeout(done, ms);
      this.#wakeUp = () => {
        clearTimeout(timer);
        done();
      };
    });
  }

  // checkReadable fails for a folder, and for a file that was changed or removed. A request
  // with such a file would fail like one without a network, and be retried forever.
  async #checkReadable() {
    try {
      await this.file.slice(this.offset, this.offset + 1).arrayBuffer();
    } catch {
      throw new Error("the file cannot be read: it is a folder, or was changed or removed");
    }
  }

  async #send() {
    if (this.#url) await this.#readOffset();
    if (!this.#url) await this.#create();
    this.onProgress("sending");
    while (this.offset < this.file.size) {
      this.offset = await this.#patch(this.file.slice(this.offset, this.offset + chunkSize));
      this.onProgress("sending");
    }
    const response = await (await request(this.#url, { headers: version, signal: this.#stop.signal })).json();
    storage.drop(this.key);
    return response.files?.[0] ?? {};
  }

  async #create() {
    const response = await request(base, {
      method: "POST",
      signal: this.#stop.signal,
      headers: { ...version, "Upload-Length": String(this.file.size), "Upload-Metadata": `filename ${encode(this.file.name)},directory ${encode(this.directory)}` },
    }).catch((err) => {
      throw err.status === 409 ? new Error(err.message) : err; // the name is taken: trying again does not help
    });
    this.offset = 0;
    this.#url = new URL(response.headers.get("Location"), response.url).href;
    storage.set(this.key, this.#url, this.file, this.directory);
  }

  // readOffset reads the offset from the server. If the upload no longer exists and was
  // created by an earlier page, it is created again; otherwise this is an error.
  async #readOffset() {
    try {
      const response = await request(this.#url, { method: "HEAD", headers: version, signal: this.#stop.signal });
      this.offset = Number(response.headers.get("Upload-Offset"));
      this.onProgress("sending");
    } catch (err) {
      if (err.status !== 404 && err.status !== 410 && err.status !== 403) throw err;
      storage.drop(this.key);
      this.#url = undefined;
      if (!this.#resumed) throw new Error("the server has dropped this upload; the filename may be taken");
    }
    this.#resumed = false;
  }

  // patch sends a chunk. It uses XMLHttpRequest, because fetch does not report progress.
  #patch(part) {
    const from = this.offset;
    const { signal } = this.#stop;
    const xhr = new XMLHttpRequest();
    const abort = () => xhr.abort();
    signal.addEventListener("abort", abort);
    return new Promise((resolve, reject) => {
      const fail = () => reject(new Refused(0, "connection lost"));
      xhr.open("PATCH", at(this.#url));
      for (const [name, value] of Object.entries({ ...version, "Upload-Offset": String(from), "Content-Type": "application/offset+octet-stream" })) {
        xhr.setRequestHeader(name, value);
      }
      xhr.upload.onprogress = (event) => this.onProgress("sending", from + event.loaded);
      xhr.onerror = xhr.onabort = xhr.ontimeout = fail;
      xhr.onload = () => {
        if (xhr.status === 401) loggedOut();
        if (xhr.status === 204) resolve(Number(xhr.getResponseHeader("Upload-Offset")));
        else reject(new Refused(xhr.status, attempt(() => JSON.parse(xhr.responseText).reason) ?? `status ${xhr.status}`));
      };
      xhr.send(part);
    }).finally(() => signal.removeEventListener("abort", abort));
  }
}
