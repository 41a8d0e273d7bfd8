// A chart of lines over time, drawn as SVG.

import { el, write } from "./dom.js";
import { minutes } from "./format.js";

const svg = "http://www.w3.org/2000/svg";
const [width, height] = [300, 100];

function shape(tag, attributes) {
  const node = document.createElementNS(svg, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  return node;
}

export class Chart {
  #drawn = null;
  #pointer = null; // share of the width where the pointer is

  // names are the names of the lines, format formats a value, and empty is the text that is
  // shown without any value.
  constructor({ title, names, format, empty = "No data for this time yet." }) {
    Object.assign(this, { title, names, format });
    this.plot = shape("svg", { class: "plot", viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", role: "img" });
    this.plot.append(...[25, 50, 75].map((y) => shape("path", { class: "grid", d: `M0 ${y}H${width}` })));
    this.lines = names.map((_, i) => shape("path", { class: `series-${i}` }));
    this.mark = shape("path", { class: "mark" });
    this.plot.append(...this.lines, this.mark);
    this.values = names.map((_, i) => el("b", { className: `series-${i}` }));
    this.top = el("span", { className: "quiet" });
    this.none = el("p", { className: "none", hidden: true }, empty);
    this.ends = [el("span"), el("span"), el("span")];
    this.plot.onpointermove = (event) => this.#look(event.offsetX / this.plot.clientWidth);
    this.plot.onpointerleave = () => this.#look(null);
    this.node = el("figure", {},
      el("figcaption", {}, el("strong", {}, title), this.top),
      el("div", { className: "plot-box" }, this.plot, this.none),
      el("div", { className: "axis quiet" }, ...this.ends),
      el("div", { className: "legend" }, ...names.map((name, i) => el("span", {}, el("i", { className: `series-${i}` }), ` ${name} `, this.values[i]))));
  }

  // draw shows lines, arrays of points [time, value] with ascending times in milliseconds,
  // from one time to another. An unknown value, null, is a gap.
  draw({ lines, from, to }) {
    this.#drawn = { lines, from, to };
    const known = lines.flat().map(([, v]) => v).filter((v) => v !== null);
    const most = Math.max(0, ...known);
    this.none.hidden = known.length > 0;
    lines.forEach((points, i) => this.lines[i].setAttribute("d", path(points, from, to, most)));
    write(this.top, most ? `up to ${this.format(most)}` : "");
    write(this.ends[0], minutes(from));
    write(this.ends[2], minutes(to));
    this.#look(this.#pointer);
    const now = this.names.map((name, i) => `${name} ${this.format(lines[i].at(-1)?.[1] ?? null)}`).join(", ");
    this.plot.setAttribute("aria-label", `${this.title}: ${now}; up to ${this.format(most)} since ${minutes(from)}`);
  }

  // look shows the values at the pointer, or the latest ones.
  #look(share) {
    this.#pointer = share;
    if (!this.#drawn) return;
    const { lines, from, to } = this.#drawn;
    const at = from + (share ?? 1) * (to - from);
    lines.forEach((points, i) => write(this.values[i], this.format(share === null ? points.at(-1)?.[1] ?? null : nearest(points, at))));
    this.mark.setAttribute("d", share === null ? "" : `M${(share * width).toFixed(1)} 0V${height}`);
    write(this.ends[1], share === null ? "" : minutes(at));
  }
}

function nearest(points, at) {
  let best = null;
  for (const p of points) if (!best || Math.abs(p[0] - at) < Math.abs(best[0] - at)) best = p;
  return best?.[1] ?? null;
}

function path(points, from, to, most) {
  let d = "";
  let pen = false;
  for (const [i, [at, v]] of points.entries()) {
    if (v === null) {
      pen = false;
      continue;
    }
    const x = ((at - from) / (to - from)) * width;
    const y = 96 - (most ? v / most : 0) * 90;
    d += `${pen ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`;
    // A value between two gaps would be no line.
    if (!pen && (points[i + 1]?.[1] ?? null) === null) d += "h3";
    pen = true;
  }
  return d;
}
