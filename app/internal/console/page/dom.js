// What the page is made of. Whatever comes from outside becomes text: there is no
// way here to turn a string into markup.

export const $ = (id) => document.getElementById(id);

// el makes an element. Children are elements or text; properties are those of
// the element, or attributes where the name has a hyphen.
export function el(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (name.includes("-") || name === "role") node.setAttribute(name, value);
    else node[name] = value;
  }
  node.append(...children.filter((c) => c !== null && c !== undefined));
  return node;
}

// write sets text only where it is another: what has not changed must not be
// read aloud again, nor lose its selection.
export function write(node, text) {
  const value = String(text);
  if (node.textContent !== value) node.textContent = value;
}

// show writes a problem, or hides the place for one.
export function show(node, problem) {
  node.hidden = !problem;
  write(node, problem ?? "");
}

// Rows keeps one row per key, in order, and touches only what has changed, so
// that focus stays where it is while the list lives.
export class Rows {
  #rows = new Map();

  // make(item) returns the row: an element with a method update(item).
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

// cells makes a table row of a header cell and others, and returns both.
export function cells(count, first = el("span")) {
  const tds = Array.from({ length: count }, () => el("td"));
  const node = el("tr", {}, el("th", { scope: "row", className: "text" }, first), ...tds);
  return { node, tds };
}

export function setState(node, state) {
  node.className = "state";
  if (node.dataset.state !== state) node.dataset.state = state;
  write(node, state);
}
