// Routing. The URL of a page is in the fragment, /console#/tasks/ID?name=value, so that
// links, the back button and a reload work without a route of the server for each page.

// link returns the URL of a page. Parameters that are empty or undefined are left out.
export function link(path, params = {}) {
  const query = new URLSearchParams(Object.entries(params).filter(([, v]) => v !== undefined && v !== null && v !== ""));
  return `#${path}${query.size ? `?${query}` : ""}`;
}

// parse splits a fragment into a path and the parameters of its query. Of a parameter that
// is given twice, the last counts.
export function parse(fragment) {
  const text = fragment.startsWith("#/") ? fragment.slice(1) : "/";
  const at = text.indexOf("?");
  const path = at < 0 ? text : text.slice(0, at);
  return { path, params: Object.fromEntries(new URLSearchParams(at < 0 ? "" : text.slice(at + 1))) };
}

// match compares a path with a pattern such as /tasks/{id}, and returns the values of its
// variables, or null.
export function match(pattern, path) {
  const [want, have] = [pattern.split("/"), path.split("/")];
  if (want.length !== have.length) return null;
  const found = {};
  for (const [i, part] of want.entries()) {
    if (part.startsWith("{")) {
      try {
        found[part.slice(1, -1)] = decodeURIComponent(have[i]);
      } catch {
        return null;
      }
      if (!have[i]) return null;
    } else if (part !== have[i]) return null;
  }
  return found;
}

// Router shows the page of the fragment. The routes are objects { path, page }, and show is
// called with a route, or undefined if there is none, and with the parameters of path and
// query.
export class Router {
  #shown = null;

  constructor(routes, show) {
    Object.assign(this, { routes, show });
    addEventListener("hashchange", () => this.update());
  }

  // update shows the page of the fragment, unless it is shown already. Fragments that do not
  // begin with #/ are not pages.
  update() {
    const now = location.hash;
    if (this.#shown !== null && (now === this.#shown || !/^(#\/|#?$)/.test(now))) return;
    this.#shown = now;
    const { path, params } = parse(now);
    for (const route of this.routes) {
      const found = match(route.path, path);
      if (found) return this.show(route, { ...params, ...found });
    }
    this.show(undefined, {});
  }

  // go opens a page. The current page is shown anew if it is the same.
  go(path, params) {
    const to = link(path, params);
    if (to === location.hash) this.#shown = "";
    location.hash = to;
    this.update();
  }

  // replace replaces the query of the URL. The page stays as it is.
  replace(params) {
    const to = link(parse(location.hash).path, params);
    history.replaceState(null, "", to);
    this.#shown = location.hash;
  }
}
