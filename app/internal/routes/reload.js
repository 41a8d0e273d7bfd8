// Reloads the page when the server has been reloaded with other files, or when a static
// file has changed. The server sends this file with the flag -watch only.
(() => {
  "use strict";
  const script = document.currentScript.src;
  const own = new URL(script).searchParams;
  // The release that made the page. A page that does not name it takes the first one.
  let page = own.has("version") ? { version: own.get("version"), started: Number(own.get("started")), files: own.get("files") } : null;

  function connect() {
    const source = new EventSource(new URL("reload", script));
    source.addEventListener("release", (event) => {
      const server = JSON.parse(event.data);
      page ??= server;
      // Processes of an older release may still respond while they are replaced.
      const newer = server.version !== page.version && server.started > page.started;
      if (newer || server.files !== page.files) location.reload();
    });
    source.addEventListener("changed", () => location.reload());
    source.onerror = () => {
      // EventSource reconnects by itself, except after a status such as 502 of a proxy.
      if (source.readyState === EventSource.CLOSED) setTimeout(connect, 500);
    };
  }
  connect();
})();
