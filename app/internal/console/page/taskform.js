// The form to start a task. Its fields are generated from the JSON Schema of the arguments.

import { el, show } from "./dom.js";
import { getJSON, send } from "./api.js";

// Starter has the elements button and form.
export class Starter {
  // started is called with the accepted task.
  constructor(started) {
    this.started = started;
    this.form = el("form", { id: "starter", className: "card", "aria-label": "Start a task", hidden: true });
    this.button = el("button", { type: "button", id: "new-task", "aria-expanded": "false", "aria-controls": "starter" }, "Start a task");
    this.button.onclick = () => (this.form.hidden ? this.#open() : this.#close());
    this.form.onsubmit = (event) => {
      event.preventDefault();
      this.#submit();
    };
    this.form.onkeydown = (event) => {
      if (event.key === "Escape") this.#close();
    };
    this.kind = el("select", { id: "starter-task", onchange: () => this.#fields() });
    this.fields = el("div");
    this.kwargs = el("input", { id: "starter-kwargs", placeholder: '{"name": "value"}', autocomplete: "off", spellcheck: false });
    this.kwargs.oninput = () => (this.form.noValidate = this.kwargs.value !== ""); // arguments by position may be missing
    this.queue = el("input", { id: "starter-queue", placeholder: "default", autocomplete: "off" });
    this.problem = el("p", { className: "problem", role: "alert", hidden: true });
    this.form.append(
      el("p", {}, el("label", { htmlFor: "starter-task" }, "Task"), " ", this.kind), this.fields,
      el("p", {}, el("label", { htmlFor: "starter-kwargs" }, "Arguments by name (JSON object, optional)"), " ", this.kwargs),
      el("p", {}, el("label", { htmlFor: "starter-queue" }, "Queue"), " ", this.queue), this.problem, el("button", {}, "Start"),
    );
  }

  async #open() {
    this.form.hidden = false;
    this.button.setAttribute("aria-expanded", "true");
    try {
      this.types = await getJSON("/tasks/types");
      this.kind.replaceChildren(...this.types.map((t) => el("option", { value: t.task, textContent: t.task })));
      show(this.problem, "");
    } catch (err) {
      show(this.problem, err.message);
      return;
    }
    this.#fields();
    this.kind.focus();
  }

  #close() {
    this.form.hidden = true;
    this.button.setAttribute("aria-expanded", "false");
    this.button.focus();
  }

  #fields() {
    const schema = this.types.find((t) => t.task === this.kind.value)?.args;
    this.inputs = (schema?.prefixItems ?? []).map((arg, i) => ({ arg, required: i < schema.minItems, input: field(arg, i, i < schema.minItems) }));
    this.fields.replaceChildren(...this.inputs.map(({ arg, input, required }) =>
      el("p", {}, el("label", { htmlFor: input.id }, `${arg.title} (${arg.type}${required ? "" : ", optional"})`), " ", input)));
  }

  async #submit() {
    const button = this.form.querySelector("button:not([type])");
    button.disabled = true;
    try {
      const args = this.inputs.map(({ arg, input }) => value(arg, input, this.kwargs.value !== ""));
      const given = args.findLastIndex((a) => a !== undefined) + 1;
      const body = { task: this.kind.value, args: args.slice(0, given).map((a, i) => (a === undefined ? this.inputs[i].arg.default : a)) };
      if (this.kwargs.value) body.kwargs = object(this.kwargs.value);
      if (this.queue.value) body.queue = this.queue.value;
      const task = await send("POST", "/tasks", body);
      show(this.problem, "");
      this.started(task);
    } catch (err) {
      show(this.problem, err.message);
    } finally {
      button.disabled = false;
    }
  }
}

function field(arg, i, required) {
  const id = `starter-arg-${i}`;
  const shown = arg.default === undefined ? "" : typeof arg.default === "string" ? arg.default : JSON.stringify(arg.default);
  if (arg.type === "boolean") return el("input", { id, type: "checkbox", checked: arg.default === true });
  if (arg.type === "integer" || arg.type === "number") {
    return el("input", { id, type: "number", step: arg.type === "integer" ? "1" : "any", required, placeholder: shown });
  }
  return el("input", { id, type: "text", required, placeholder: shown, autocomplete: "off", spellcheck: false });
}

// object decodes the arguments by name.
function object(text) {
  let decoded;
  try {
    decoded = JSON.parse(text);
  } catch {
    decoded = null;
  }
  if (decoded === null || typeof decoded !== "object" || Array.isArray(decoded)) throw new Error("Arguments by name: not a JSON object");
  return decoded;
}

// value returns the value of a field, or undefined if it is empty. A required text may be
// missing if there are arguments by name.
function value(arg, input, named) {
  switch (arg.type) {
    case "boolean":
      return named && input.checked === (arg.default === true) ? undefined : input.checked;
    case "integer":
    case "number":
      return input.value === "" ? undefined : input.valueAsNumber;
    case "string":
      return input.value === "" && (named || !input.required) ? undefined : input.value;
  }
  if (input.value === "") return undefined;
  try {
    return JSON.parse(input.value);
  } catch {
    throw new Error(`${arg.title}: not valid JSON`);
  }
}
