// The files that a task has saved, with a preview of pictures, sounds and text. Nothing is
// shown as HTML.

import { el } from "./dom.js";

const picture = /\.(png|jpe?g|gif|webp)$/i;
const sound = /\.(wav|mp3|ogg|opus|flac)$/i;
const text = /\.(txt|json|log|csv|md)$/i;
// maxText is the size of the preview of a text, in bytes.
const maxText = 16 << 10;

export class Artifacts {
  #version = "";

  constructor(app, id) {
    Object.assign(this, { app, id });
    this.list = el("ul", { id: "artifacts", className: "plain artifacts" });
    this.node = el("section", { hidden: true, className: "wide-part" }, el("h2", {}, "Artifacts"), this.list);
  }

  update(t) {
    const names = t.artifacts ?? [];
    this.node.hidden = !names.length;
    const version = `${t.finished} ${JSON.stringify(names)}`; // an attempt may have replaced its files
    if (version === this.#version) return;
    this.#version = version;
    this.list.replaceChildren(...names.map((name) => {
      const path = `/tasks/${encodeURIComponent(this.id)}/artifacts/${encodeURIComponent(name)}`;
      const href = this.app.api.at(path);
      const item = el("li", {}, el("a", { href, target: "_blank", rel: "noopener" }, name));
      if (picture.test(name)) item.append(el("img", { className: "artifact", src: href, alt: `${name} of ${t.task}` }));
      else if (sound.test(name)) item.append(el("audio", { controls: true, preload: "none", src: href, "aria-label": name }));
      else if (text.test(name)) this.#preview(item, path, name);
      return item;
    }));
  }

  // preview shows the beginning of a text. If it cannot be read, the link remains.
  async #preview(item, path, name) {
    try {
      const response = await this.app.api.request(path, { headers: { Range: `bytes=0-${maxText - 1}` }, redirect: "error" });
      const size = Number(response.headers.get("Content-Range")?.split("/")[1] ?? response.headers.get("Content-Length") ?? 0);
      const body = (await response.text()).slice(0, maxText);
      item.append(el("pre", { tabIndex: 0, role: "region", "aria-label": name }, body));
      if (size > maxText) item.append(el("p", { className: "quiet" }, `The first ${maxText >> 10} KiB.`));
    } catch {
      // an empty file has no such range, and a file in object storage is behind a redirect
    }
  }
}
