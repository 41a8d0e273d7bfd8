// Keyboard shortcuts.

import { $, el } from "./dom.js";
import { routes } from "./routes.js";

// chord is the time for the second key of a shortcut, in milliseconds.
const chord = 1500;

// listen handles the shortcuts. go opens the page of a path.
export function listen(go) {
  let since = -Infinity; // time of the key g
  const dialog = $("keys");
  fill(dialog);
  $("show-keys").onclick = () => dialog.showModal();
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || document.querySelector("dialog[open]")) return;
    if (event.target.closest?.("input, textarea, select, [contenteditable]")) {
      if (event.key === "Escape" && event.target.type !== "file") event.target.blur();
      return;
    }
    const second = event.timeStamp - since < chord;
    since = -Infinity;
    if (second) {
      const route = routes.find((r) => r.letter === event.key);
      if (route) go(route.path);
    } else if (event.key === "g") since = event.timeStamp;
    else if (event.key === "?") dialog.showModal();
    else if (event.key === "/") {
      event.preventDefault();
      (document.querySelector("main input[type=search]") ?? $("find")).focus();
    }
  });
}

function fill(dialog) {
  const keys = [["/", "search tasks"], ["?", "show this list"], ["Escape", "leave a field, close a dialog"],
    ...routes.filter((r) => r.letter).map((r) => [`g ${r.letter}`, r.name])];
  dialog.append(
    el("h2", { id: "keys-title" }, "Keyboard shortcuts"),
    el("dl", {}, ...keys.flatMap(([key, what]) => [el("dt", {}, ...key.split(" ").map((k) => el("kbd", {}, k))), el("dd", {}, what)])),
    el("p", { className: "row" }, el("button", { type: "button", onclick: () => dialog.close() }, "Close")),
  );
}
