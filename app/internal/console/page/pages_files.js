// The page of files: uploads, which go on while another page is shown, and the stored files.

import { el } from "./dom.js";
import { FileList } from "./filelist.js";
import { Uploads } from "./uploads.js";

export const title = "Files";

let section = null;
let stored = () => {};

export function mount(root, { dir = "" }, app) {
  section ??= make(app);
  const list = new FileList(app, dir);
  stored = () => list.load();
  root.append(section, list.node, list.dialog);
  list.load();
  return () => {
    section.remove();
    list.stop();
    stored = () => {};
  };
}

function make(app) {
  const node = el("section", { "aria-labelledby": "upload-title" },
    el("h2", { id: "upload-title" }, "Upload"),
    el("div", { id: "drop" },
      el("p", {}, el("label", { htmlFor: "files" }, "Drop files here, or choose files")),
      el("input", { id: "files", type: "file", multiple: true }),
      el("p", {}, el("label", { htmlFor: "directory" }, "Directory"), " ", el("input", { id: "directory", value: "console", maxLength: 200, autocomplete: "off", spellcheck: false }))),
    el("ul", { id: "uploads", className: "plain", "aria-label": "Uploads" }),
    el("p", { id: "upload-news", className: "hidden", role: "status" }));
  new Uploads(node, { open: (id) => app.go(`/tasks/${encodeURIComponent(id)}`), stored: () => stored() });
  return node;
}
