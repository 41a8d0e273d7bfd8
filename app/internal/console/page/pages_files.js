// The page of files. Uploads go on while another page is shown.

import { el } from "./dom.js";
import { Uploads } from "./uploads.js";

export const title = "Files";

let section = null;

export function mount(root, _, app) {
  if (section) root.append(section);
  else make(root, app);
  return () => section.remove();
}

function make(root, app) {
  section = el("section", { "aria-labelledby": "upload-title" },
    el("h2", { id: "upload-title" }, "Upload"),
    el("div", { id: "drop" },
      el("p", {}, el("label", { htmlFor: "files" }, "Drop files here, or choose files")),
      el("input", { id: "files", type: "file", multiple: true }),
      el("p", {}, el("label", { htmlFor: "directory" }, "Directory"), " ", el("input", { id: "directory", value: "console", maxLength: 200, autocomplete: "off", spellcheck: false }))),
    el("ul", { id: "uploads", className: "plain", "aria-label": "Uploads" }),
    el("p", { id: "upload-news", className: "hidden", role: "status" }));
  root.append(section);
  new Uploads((id) => app.go(`/tasks/${encodeURIComponent(id)}`));
}
