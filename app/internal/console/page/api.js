// Requests to the server. The browser sends the session's cookie.

// at returns the URL of a path of the server, such as /tasks. The path may have a prefix,
// which is derived from the URL of this file. Absolute URLs are returned unchanged.
export const at = (path) => new URL(path.startsWith("/") ? `..${path}` : path, import.meta.url).href;

// loggedOut opens the login page.
export const loggedOut = () => location.assign(at("/console/login"));

export class Refused extends Error {
  constructor(status, reason) {
    super(reason);
    this.status = status;
  }
}

// request returns a response with a 2xx status, and throws Refused otherwise. After a 401
// response, which means that the session has expired, it opens the login page.
export async function request(path, options = {}) {
  let response;
  try {
    response = await fetch(at(path), { cache: "no-store", ...options });
  } catch {
    throw new Refused(0, "the server does not respond");
  }
  if (response.status === 401) loggedOut();
  if (!response.ok) throw new Refused(response.status, await reason(response));
  return response;
}

async function reason(response) {
  try {
    const body = await response.json();
    return body.reason || `status ${response.status}`;
  } catch {
    return `status ${response.status}`;
  }
}

export const getJSON = async (path) => (await request(path)).json();

// send sends a JSON body, if there is one, and returns the JSON of the response, or null if
// it has no body.
export async function send(method, path, body) {
  const response = await request(path, {
    method,
    headers: body === undefined ? {} : { "Content-Type": "application/json" },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  return response.status === 204 ? null : response.json();
}
