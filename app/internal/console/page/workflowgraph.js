// The graph of a workflow as SVG: a column for each step, and lines from left to right.

const ns = "http://www.w3.org/2000/svg";
const [width, height, gap, lane, edge] = [176, 44, 10, 44, 6];

// marks are the signs before the states, so that colour is not the only difference.
const marks = { success: "✓", failed: "✕", dead: "✕", cancelled: "⊘", running: "▶", retrying: "↻", queued: "…", scheduled: "…", waiting: "…", "not started": "–" };

// make creates an SVG element.
function make(tag, attributes = {}, ...children) {
  const node = document.createElementNS(ns, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

// graph draws steps, which are arrays of { id, name, state, error }. href returns the address
// of a task, and current is the id of the task to point out.
export function graph(steps, { href, current }) {
  const tall = Math.max(...steps.map((nodes) => nodes.length));
  const [w, h] = [steps.length * (width + lane) - lane + 2 * edge, tall * (height + gap) - gap + 2 * edge];
  const place = (column, i) => {
    const top = (h - steps[column].length * (height + gap) + gap) / 2;
    return [edge + column * (width + lane), top + i * (height + gap)];
  };
  const lines = [];
  const boxes = [];
  for (const [column, nodes] of steps.entries()) {
    for (const [i, n] of nodes.entries()) {
      boxes.push(box(n, place(column, i), { href, current }));
      if (column === 0) continue;
      const [x, y] = place(column, i);
      for (const from of steps[column - 1].keys()) lines.push(line(place(column - 1, from), [x, y]));
    }
  }
  return make("svg", { class: "workflow", width: w, height: h, viewBox: `0 0 ${w} ${h}`, role: "group", "aria-label": "Steps from left to right" }, ...lines, ...boxes);
}

function line([x1, y1], [x2, y2]) {
  const [fromX, fromY, toX, toY] = [x1 + width, y1 + height / 2, x2, y2 + height / 2];
  const middle = (fromX + toX) / 2;
  return make("path", { d: `M${fromX} ${fromY} C${middle} ${fromY} ${middle} ${toY} ${toX} ${toY}` });
}

const short = (text, n) => (text.length > n ? `${text.slice(0, n - 1)}…` : text);

function box(n, [x, y], { href, current }) {
  const hint = make("title", {}, [n.title, n.error].filter(Boolean).join(": ") || n.name);
  const shape = make("rect", { x, y, width, height, rx: 6 }, hint);
  const name = make("text", { x: x + 10, y: y + 18, class: "name" }, short(n.name, 22));
  const word = make("text", { x: x + 10, y: y + 35, class: "word" }, n.state ? `${marks[n.state] ?? ""} ${n.state}` : "");
  const all = { class: `node${n.id && n.id === current ? " current" : ""}`, "data-state": n.state };
  if (!n.id) return make("g", all, shape, name, word);
  return make("a", { ...all, href: href(n.id), "data-task": n.id, ...(n.id === current && { "aria-current": "true" }) }, shape, name, word);
}
