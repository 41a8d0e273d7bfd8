// Formatting of numbers and times.

const units = ["B", "KiB", "MiB", "GiB", "TiB"];

export function bytes(n) {
  let unit = 0;
  while (n >= 1024 && unit < units.length - 1) {
    n /= 1024;
    unit++;
  }
  return `${unit === 0 ? n : n.toFixed(1)} ${units[unit]}`;
}

// duration formats seconds with at most two units.
export function duration(s) {
  if (!Number.isFinite(s) || s < 0) return "–";
  if (s < 10) return `${s.toFixed(1)} s`;
  if (s < 60) return `${Math.round(s)} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${Math.floor(s % 60)} s`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86400)} d ${Math.floor((s % 86400) / 3600)} h`;
}

export function number(n) {
  if (n === null || n === undefined || !Number.isFinite(n)) return "–";
  return n >= 100 ? Math.round(n).toLocaleString("en") : n.toLocaleString("en", { maximumSignificantDigits: 2 });
}

const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const day = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "medium" });

// time formats a time, with the date if it is not today.
export function time(text) {
  if (!text) return "–";
  const at = new Date(text);
  return at.toDateString() === new Date().toDateString() ? clock.format(at) : day.format(at);
}

// took formats the duration of a task, until now if it is running.
export function took(task) {
  if (!task.started || (!task.finished && task.state !== "running")) return "–";
  const end = task.finished ? new Date(task.finished) : new Date();
  return duration(Math.max(0, (end - new Date(task.started)) / 1000));
}

// slot returns the name of the slot from the name of a worker, which ends with the session if
// it is a program.
export const slot = (worker) => worker.slice(worker.lastIndexOf("/") + 1).replace(/~[^~]*$/, "") || "–";

// latency formats seconds, below one second as milliseconds.
export function latency(s) {
  if (s === null || s === undefined) return "–";
  return s < 1 ? `${number(s * 1000)} ms` : duration(s);
}

// until formats the time to a moment.
export function until(at) {
  const s = (at - Date.now()) / 1000;
  return s < 1 ? "now" : `in ${duration(s < 10 ? Math.ceil(s) : s).replace(".0", "")}`;
}

// minutes formats a time of the day without seconds.
const minute = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });
export const minutes = (at) => minute.format(at);
