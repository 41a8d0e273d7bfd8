// Elements of the page. All data becomes text; no function turns a string into markup.

export const $ = (id) => document.getElementById(id);

// el creates an element. Children are elements or text. A property whose name has a hyphen
// is set as an attribute.
export function el(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (name.includes("-") || name === "role") node.setAttribute(name, value);
    else node[name] = value;
  }
  node.append(...children.filter((c) => c !== null && c !== undefined));
  return node;
}

// write sets the text of an element if it differs. Unchanged text would otherwise lose its
// selection and be read aloud again by screen readers.
export function write(node, text) {
  const value = String(text);
  if (node.textContent !== value) node.textContent = value;
}

// show shows a problem in an element, or hides the element if there is none.
export function show(node, problem) {
  node.hidden = !problem;
  write(node, problem ?? "");
}

// Rows keeps one row per key, in the order of the items. It changes only what differs, so
// that the focus stays on its row.
export class Rows {
  #rows = new Map();

  // make(item) returns the row: an object with node, an element, and a method update(item).
  constructor(body, key, make) {
    Object.assign(this, { body, key, make });
  }

  update(items) {
    const keys = new Set();
    let before = this.body.firstElementChild;
    for (const item of items) {
      const key = this.key(item);
      keys.add(key);
      let row = this.#rows.get(key);
      if (!row) {
        row = this.make(item);
        this.#rows.set(key, row);
      }
      row.update(item);
      if (row.node === before) before = before.nextElementSibling;
      else this.body.insertBefore(row.node, before);
    }
    for (const [key, row] of this.#rows) {
      if (keys.has(key)) continue;
      row.node.remove();
      this.#rows.delete(key);
    }
  }
}

// cells creates a table row with a header cell and other cells: their number, or an array
// with the class of each.
export function cells(count, first = el("span")) {
  const tds = Array.from({ length: count.length ?? count }, (_, i) => el("td", { className: count[i] ?? "" }));
  const node = el("tr", {}, el("th", { scope: "row", className: "text" }, first), ...tds);
  return { node, tds };
}

// table creates a table that scrolls inside its box, and returns it and its body. The heads
// of columns with numbers begin with #.
export function table(label, heads) {
  const body = el("tbody");
  const node = el("div", { className: "wide", tabIndex: 0, role: "region", "aria-label": label }, el("table", {},
    el("thead", {}, el("tr", {}, ...heads.map((h) => el("th", { scope: "col", className: h.startsWith("#") ? "num" : "" }, h.replace("#", ""))))), body));
  return { node, body };
}

export function setState(node, state) {
  node.className = "state";
  if (node.dataset.state !== state) node.dataset.state = state;
  write(node, state);
}
