// The shell of the console: header, navigation, and the page that the URL names. One
// WebSocket delivers all changes.
//
// A page is a module that exports title and mount(root, params, app). mount adds the page
// to the element root and returns a function that is called when the user leaves the page.
// params holds the variables of the path and the parameters of the URL. app has:
//
//   api        get(path), send(method, path, body), request(path, options): see api.js
//   live       on(type, handler): the frames of /console/live, see frames.js
//   recent     the metrics of the last minutes, see recent.js
//   link(path, params)     URL of a page, for links
//   go(path, params)       opens a page
//   replace(params)        replaces the parameters of the URL without opening the page anew
//   setTitle(text)         changes the title
//   notify(text)           shows a message
//   attempt(work, done)    awaits work() and returns its value, or shows its error and
//                          returns undefined; done is a message, or makes it from the value

import { $, el, show, write } from "./dom.js";
import * as api from "./api.js";
import { Frames } from "./frames.js";
import { listen } from "./keys.js";
import { LiveSocket } from "./live.js";
import { Recent } from "./recent.js";
import { Router, link } from "./router.js";
import { routes } from "./routes.js";

const live = new Frames();
let unmount = () => {};
let opened = false;

const app = {
  api: { get: api.getJSON, send: api.send, request: api.request, at: api.at },
  live, link,
  recent: new Recent(live),
  go: (path, params) => router.go(path, params),
  replace: (params) => router.replace(params),
  setTitle(text) {
    write($("title"), text);
    document.title = `${text} – Gale`;
  },
  notify: (text) => notice(text, false),
  async attempt(work, done) {
    try {
      const value = await work();
      if (done) notice(typeof done === "function" ? done(value) : done, false);
      return value;
    } catch (err) {
      notice(err.message, true);
      return undefined;
    }
  },
};

// notice shows a message at the top of the page until the user closes it or goes elsewhere.
function notice(text, problem) {
  $("notice").hidden = !text;
  $("notice").className = problem ? "problem" : "";
  write($("notice-text"), text);
  write($("said"), text);
}

function open(route, params) {
  unmount();
  notice("", false);
  for (const a of $("nav").querySelectorAll("a")) {
    if (route && a.hash === link(route.of ?? route.path)) a.setAttribute("aria-current", "page");
    else a.removeAttribute("aria-current");
  }
  const root = el("div", { className: "page" });
  $("page").replaceChildren(root);
  app.setTitle(route?.page.title ?? "Page not found");
  unmount = route ? route.page.mount(root, params, app) ?? (() => {}) : missing(root);
  if (document.activeElement !== $("find")) $("find").value = route?.path === "/tasks" ? params.q ?? "" : "";
  // The first page leaves the focus at the top, where the browser has put it.
  if (opened) {
    scrollTo(0, 0);
    $("title").focus({ preventScroll: true });
  }
  opened = true;
}

function missing(root) {
  root.append(el("p", {}, "The console has no page at this address. ", el("a", { href: link("/") }, "Overview")));
  return () => {};
}

const router = new Router(routes, open);

for (const { path, name, letter } of routes.filter((r) => r.name)) {
  $("nav").append(el("li", {}, el("a", { href: link(path), "aria-keyshortcuts": `g ${letter}` }, name)));
}
const description = el("a", { href: api.at("/openapi.json"), hidden: true }, "HTTP API");
$("nav").append(el("li", {}, description));
$("skip").onclick = (event) => {
  event.preventDefault(); // the fragment names the page
  $("main").focus();
};
$("search").onsubmit = (event) => {
  event.preventDefault();
  router.go("/tasks", { q: $("find").value.trim() });
};
$("notice-close").onclick = () => {
  notice("", false);
  $("title").focus();
};
$("theme").value = document.documentElement.dataset.theme ?? "";
$("theme").onchange = () => {
  const theme = $("theme").value;
  if (theme) document.documentElement.dataset.theme = theme;
  else delete document.documentElement.dataset.theme;
  try {
    if (theme) localStorage.setItem("gale-theme", theme);
    else localStorage.removeItem("gale-theme");
  } catch {
    app.notify("The browser does not store the choice of colours.");
  }
};
listen((path) => router.go(path));

live.on("processes", (frame) => {
  $("logout").hidden = !frame.login;
  description.hidden = !frame.description;
  if (frame.status) write($("version"), `${frame.status.version.split(" ").slice(1, 2)} · master ${frame.status.pid}`);
});

let lostAt = 0;

new LiveSocket("/console/live", {
  onMessage: (text) => live.deliver(JSON.parse(text)),
  onState: (state, seconds) => {
    const node = $("live");
    if (state === "connecting" && lostAt) return; // disconnected until a message arrives
    node.dataset.state = state;
    write(node, { live: "live", lost: "disconnected", connecting: "connecting" }[state]);
    if (state === "live") lostAt = 0;
    if (state === "lost") {
      lostAt ||= Date.now();
      // The session may have expired, which a WebSocket does not show: a 401 response opens
      // the login page.
      api.request("/console/app.js", { method: "HEAD" }).catch(() => {});
    }
    show($("lost"), state === "lost" && Date.now() - lostAt > 1500 ? `Connection to the server lost since ${new Date(lostAt).toLocaleTimeString("en-GB")}. The data on this page is old. Reconnecting in ${seconds} s.` : state === "live" ? "" : $("lost").textContent);
  },
});

router.update();
