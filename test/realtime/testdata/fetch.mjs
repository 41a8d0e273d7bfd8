// Requests of Node's fetch on connections that are kept alive: node fetch.mjs URL.
// Every 250 ms a line says how many succeeded, were refused, and failed.
const base = process.argv[2];
const state = { get: 0, post: 0, refused: 0, failed: [] };

async function requests(method, path, count) {
  for (;;) {
    try {
      const response = await fetch(base + path, method === "POST" ? { method, body: "x" } : {});
      await response.text();
      if (response.ok) state[count]++;
      else if (response.status === 503 && response.headers.has("Retry-After")) state.refused++;
      else state.failed.push(`${method}: ${response.status}`);
    } catch (err) {
      state.failed.push(`${method}: ${err.cause ?? err}`);
    }
    await new Promise((done) => setTimeout(done, 30));
  }
}

requests("GET", "/?greeting=Hi", "get");
requests("POST", "/publish/other", "post");
setInterval(() => console.log(JSON.stringify(state)), 250);
