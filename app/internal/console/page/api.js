// Requests to the server. The session is a cookie, so nothing is said of it here.

// at returns the address of a path of the server, such as /tasks, which may be
// behind a prefix that only the address of this file knows. Whole addresses stay.
export const at = (path) => new URL(path.startsWith("/") ? `..${path}` : path, import.meta.url).href;

// loggedOut leads to the login.
export const loggedOut = () => location.assign(at("/console/login"));

export class Refused extends Error {
  constructor(status, reason) {
    super(reason);
    this.status = status;
  }
}

// request returns the answer if it is 2xx. A 401 means that the session is over:
// then the page leads to the login.
export async function request(path, options = {}) {
  let answer;
  try {
    answer = await fetch(at(path), { cache: "no-store", ...options });
  } catch {
    throw new Refused(0, "the server does not answer");
  }
  if (answer.status === 401) loggedOut();
  if (!answer.ok) throw new Refused(answer.status, await reason(answer));
  return answer;
}

async function reason(answer) {
  try {
    const body = await answer.json();
    return body.reason || `status ${answer.status}`;
  } catch {
    return `status ${answer.status}`;
  }
}

export const getJSON = async (path) => (await request(path)).json();

export const send = async (method, path, body) =>
  (await request(path, {
    method,
    headers: body === undefined ? {} : { "Content-Type": "application/json" },
    body: body === undefined ? undefined : JSON.stringify(body),
  })).json();
