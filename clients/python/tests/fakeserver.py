"""An in-memory server with the routes that the package uses, on http.server."""

import json
import os
import queue
import threading
import time
import urllib.parse
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

FINAL = ("success", "failed", "cancelled", "dead")
LOST_LIMIT = 5


class Task:
    """A task and its current attempt."""

    def __init__(self, body):
        self.body = body
        self.id = body.get("id") or str(uuid.uuid4())
        self.state = "queued"
        self.result = None
        self.error = ""
        self.progress, self.note, self.reports = 0, "", []
        self.attempts = self.failures = self.lost = self.released = 0
        self.release_delay = 0.0
        self.log = []
        self.artifacts = []
        self.lease = ""
        self.session = ""
        self.due = 0.0
        self.ends = []  # leases that have ended, with the state

    def object(self):
        """Return the JSON object."""
        return {
            "id": self.id,
            "task": self.body["task"],
            "queue": self.body.get("queue", "default"),
            "args": self.body.get("args") or [],
            "kwargs": self.body.get("kwargs") or {},
            "state": self.state,
            "progress": self.progress,
            "note": self.note,
            "attempts": self.attempts,
            "result": self.result,
            "error": self.error,
            "artifacts": self.artifacts,
            "created": "2030-01-01T09:00:00.123456789Z",
        }


class FakeServer:
    """The state, and a listener on 127.0.0.1. ttl is that of leases, in seconds.

    cut is called with the path of each request; if it returns True, the connection is closed
    instead of a response, after the request has had its effect.
    """

    def __init__(self, ttl=30.0, token=""):
        self.ttl, self.token = ttl, token
        self.changed = threading.Condition()
        self.tasks, self.sessions, self.announced = {}, {}, []
        self.lease_calls = {}  # number of the last one by session
        self.files, self.uploads, self.channels = {}, {}, {}
        self.busy = queue.Queue()  # statuses with which the next requests are refused
        self.requests = []
        self.traces = []  # path, traceparent and tracestate of each request
        self.cut = lambda path: False
        self.draining = False
        server = self

        class Handler(_Handler):
            fake = server

        self._listener = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._listener.daemon_threads = True
        self.url = "http://127.0.0.1:%d" % self._listener.server_address[1]
        self._thread = threading.Thread(target=self._listener.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def close(self):
        """Stop."""
        with self.changed:
            self.draining = True
            self.changed.notify_all()
        self._listener.shutdown()
        self._listener.server_close()

    def wait(self, what, condition, seconds=60):
        """Wait until condition() is true."""
        limit = time.monotonic() + seconds
        with self.changed:
            while not condition():
                if time.monotonic() > limit:
                    raise AssertionError("timeout: " + what)
                self.changed.wait(0.05)

    def task(self, id):
        """Return a task."""
        with self.changed:
            return self.tasks[id]

    # Tasks

    def enqueue(self, body):
        """POST /tasks"""
        with self.changed:
            known = self.tasks.get(body.get("id"))
            if known:
                return 200, known.object()
            names = {t["name"] for a in self.announced for t in a["tasks"]}
            if body["task"] not in names and not body.get("wait_for_worker"):
                return 404, {"code": 404, "reason": "unknown task " + body["task"]}
            task = Task(body)
            self.tasks[task.id] = task
            self.changed.notify_all()
            return 202, task.object()

    def cancel(self, id):
        """DELETE /tasks/{id}"""
        with self.changed:
            task = self.tasks[id]
            if task.state not in FINAL:
                task.state, task.session = "cancelled", ""
            self.changed.notify_all()
            return 200 if task.state == "cancelled" else 409, task.object()

    def definition(self, task):
        """Return the newest announcement of a task."""
        for a in reversed(self.announced):
            for t in a["tasks"]:
                if t["name"] == task.body["task"]:
                    return t
        return {}

    # Worker protocol

    def announce(self, body):
        """POST /workers/announce"""
        with self.changed:
            session = str(uuid.uuid4())
            self.announced.append(body)
            self.sessions[session] = {t["name"] for t in body["tasks"]}
            if body.get("replaces"):
                for task in self.tasks.values():
                    if task.session == body["replaces"] and task.state == "running":
                        self._lose(task)
            self.changed.notify_all()
            return 200, {"session": session, "ttl": self.ttl, "limits": {"result": 1 << 20}}

    def forget(self, session):
        """Forget a session: its leases are lost."""
        with self.changed:
            del self.sessions[session]
            for task in self.tasks.values():
                if task.session == session and task.state == "running":
                    self._lose(task)
            self.changed.notify_all()

    def _lose(self, task):
        task.lost += 1
        task.session = ""
        task.state = "dead" if task.lost >= LOST_LIMIT else "queued"

    def lease(self, body):
        """POST /workers/lease"""
        limit = time.monotonic() + body.get("wait", 25)
        with self.changed:
            if body["session"] not in self.sessions:
                return 410, {"code": 410, "reason": "unknown session"}
            for task in self.tasks.values():
                if task.session == body["session"] and task.state == "running" and task.lease not in body["holds"]:
                    task.state, task.session = "queued", ""
                    task.released += 1
            number = self.lease_calls[body["session"]] = self.lease_calls.get(body["session"], 0) + 1
            self.changed.notify_all()
            while True:
                if self.lease_calls[body["session"]] != number:
                    return 200, {"leases": []}  # a session has one lease call at a time
                given = self._give(body)
                if given or self.draining or time.monotonic() >= limit or body["session"] not in self.sessions:
                    return 200, {"leases": given}
                self.changed.wait(0.05)

    def _give(self, body):
        given = []
        names = self.sessions.get(body["session"], ())
        for queue_name in body["queues"]:
            for task in self.tasks.values():
                if len(given) >= body["max"]:
                    return given
                ready = task.state in ("queued", "retrying") and task.due <= time.monotonic()
                if ready and task.body["task"] in names and task.body.get("queue", "default") == queue_name:
                    task.attempts += 1
                    task.state, task.session = "running", body["session"]
                    task.lease = "%s.%d" % (task.id, task.attempts)
                    d = self.definition(task)
                    given.append(
                        {
                            "lease": task.lease,
                            "task": task.object(),
                            "retries": task.failures,
                            "timeout": task.body.get("timeout", d.get("timeout", 0)),
                            "soft_timeout": d.get("soft_timeout", 0),
                            "headers": task.body.get("headers"),
                        }
                    )
        return given

    def held(self, lease):
        """Return the task that a lease belongs to, if the lease is current."""
        task = self.tasks.get(lease.rpartition(".")[0])
        return task if task and task.lease == lease and task.state == "running" and task.session else None

    def extend(self, body):
        """POST /workers/extend"""
        limit = time.monotonic() + body.get("wait", 25)
        with self.changed:
            if body["session"] not in self.sessions:
                return 410, {"code": 410, "reason": "unknown session"}
            while True:
                gone = {id: self.tasks[id.rpartition(".")[0]] for id in body["holds"] if self.held(id) is None}
                cancelled = [id for id, t in gone.items() if t.state == "cancelled"]
                lost = [id for id, t in gone.items() if t.state != "cancelled" and id not in t.ends]
                if cancelled or lost or self.draining or time.monotonic() >= limit:
                    return 200, {"lost": lost, "cancelled": cancelled}
                self.changed.wait(0.05)

    def finish(self, entries):
        """POST /workers/finish"""
        with self.changed:
            results = [self._finish_one(e) for e in entries]
            self.changed.notify_all()
            return 200, results

    def _finish_one(self, e):
        task = self.tasks.get(e["lease"].rpartition(".")[0])
        if task and e["lease"] in task.ends:
            return {"lease": e["lease"], "code": 200, "state": task.state}
        task = self.held(e["lease"])
        if task is None:
            return {"lease": e["lease"], "code": 409, "reason": "the lease is not current"}
        if len(json.dumps(e.get("result"))) > 1 << 20:
            return {"lease": e["lease"], "code": 413, "reason": "the result is too large"}
        task.ends.append(e["lease"])
        task.session = ""
        task.error = e.get("error", "")
        if e["state"] == "lost":
            self._lose(task)
        elif e["state"] == "retry":
            task.failures += 1
            retries = task.body.get("max_retries", self.definition(task).get("max_retries", 0))
            task.state = "retrying" if task.failures <= retries else "failed"
            task.due = time.monotonic() + e.get("delay", 0.01)
        else:
            task.state, task.result, task.artifacts = e["state"], e.get("result"), e.get("artifacts", [])
            for body in e.get("next", []):
                following = Task(body)
                self.tasks[following.id] = following
        return {"lease": e["lease"], "code": 200, "state": task.state}

    def release(self, entries):
        """POST /workers/release"""
        with self.changed:
            for e in entries:
                task = self.held(e["lease"])
                if task:
                    task.state, task.session = "queued", ""
                    task.released += 1
                    task.release_delay = e.get("delay", 0)
            self.changed.notify_all()
            return 200, [{"lease": e["lease"], "code": 200} for e in entries]

    def report(self, entries):
        """POST /workers/progress"""
        with self.changed:
            for e in entries:
                task = self.held(e["lease"])
                if task:
                    task.progress, task.note = e.get("progress", task.progress), e.get("note", task.note)
                    task.reports.append(e)
            self.changed.notify_all()
            return 200, [{"lease": e["lease"], "code": 200} for e in entries]

    def append(self, entries):
        """POST /workers/log"""
        with self.changed:
            for e in entries:
                task = self.held(e["lease"])
                if task:
                    task.log.extend(e["lines"])
            self.changed.notify_all()
            return 200, [{"lease": e["lease"], "code": 200} for e in entries]


class _Handler(BaseHTTPRequestHandler):
    fake = None
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_):
        pass

    def body(self):
        if self.headers.get("Transfer-Encoding") == "chunked":
            parts = []
            while True:
                size = int(self.rfile.readline(), 16)
                parts.append(self.rfile.read(size))
                self.rfile.readline()
                if not size:
                    return b"".join(parts)
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def respond(self, status, value, headers=()):
        data = value if isinstance(value, bytes) else json.dumps(value).encode()
        if self.fake.cut(self.path):
            self.close_connection = True
            self.connection.close()
            return
        self.send_response(status)
        for name, text in headers:
            self.send_header(name, text)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def handle_one_request(self):
        try:
            super().handle_one_request()
        except (ConnectionError, ValueError, OSError):
            self.close_connection = True

    def route(self):
        fake, url = self.fake, urllib.parse.urlsplit(self.path)
        path, query = urllib.parse.unquote(url.path), dict(urllib.parse.parse_qsl(url.query))
        fake.requests.append((self.command, self.path))
        fake.traces.append((path, self.headers.get("traceparent"), self.headers.get("tracestate")))
        if not fake.busy.empty():
            self.body()
            self.respond(fake.busy.get(), {"code": 503, "reason": "busy"}, [("Retry-After", "0")])
            return
        if fake.token and self.headers.get("Authorization") != "Bearer " + fake.token:
            self.body()
            self.respond(401, {"code": 401, "reason": "token"})
            return
        if path.startswith("/workers/artifacts/"):
            self.artifact(path)
        elif path.startswith("/workers/"):
            calls = {"progress": fake.report, "log": fake.append}
            name = path[len("/workers/") :]
            self.respond(*calls.get(name, getattr(fake, name, None))(json.loads(self.body())))
        elif path.startswith("/tasks"):
            self.tasks(path, query)
        elif path.startswith("/upload") or path.startswith("/tus"):
            self.upload(path, query)
        elif path.startswith("/publish/"):
            with fake.changed:
                messages = fake.channels.setdefault(path[9:], [])
                messages.append(self.body().decode())
                fake.changed.notify_all()
                self.respond(200, {"channel": path[9:], "seq": len(messages)})
        elif path.startswith("/events/"):
            self.events(path[8:])
        else:
            self.respond(404, {"code": 404, "reason": "no such route"})

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = do_PATCH = route

    def tasks(self, path, query):
        fake = self.fake
        if self.command == "POST" and path == "/tasks":
            self.respond(*fake.enqueue(json.loads(self.body())))
        elif path == "/tasks":
            at = int(query.get("after", 0))
            all_tasks = [t.object() for t in fake.tasks.values()][::-1]
            page = all_tasks[at : at + int(query.get("limit", 50))]
            more = at + len(page) < len(all_tasks)
            self.respond(200, {"tasks": page, "next": "/tasks?limit=2&after=%d" % (at + len(page)) if more else None})
        else:
            id = path.split("/")[2]
            if id not in fake.tasks:
                self.respond(404, {"code": 404, "reason": "no task " + id})
            elif self.command == "DELETE":
                self.respond(*fake.cancel(id))
            else:
                limit = time.monotonic() + float(query.get("wait", "0s")[:-1])
                with fake.changed:
                    while fake.tasks[id].state not in FINAL and time.monotonic() < limit:
                        fake.changed.wait(0.05)
                    self.respond(200, fake.tasks[id].object())

    def artifact(self, path):
        lease, _, name = path[len("/workers/artifacts/") :].rpartition("/")
        data = self.body()
        if name == "refused.bin":
            self.respond(413, {"code": 413, "reason": "too large"})
            return
        with self.fake.changed:
            self.fake.files[lease.rpartition(".")[0], name] = data
        self.respond(200, {})

    def upload(self, path, query):
        fake = self.fake
        if path.startswith("/tus"):
            self.tus(path)
        elif self.command == "PUT":
            _, _, directory, name = path.split("/", 3)
            data = self.body()
            if (directory, name) in fake.files:
                self.respond(409, {"code": 501, "reason": "the file exists", "files": []})
                return
            fake.files[directory, name] = data
            one = {"directory": directory, "filename": name, "size": len(data), "code": 200}
            self.respond(200, {"code": 200, "files": [one]})
        elif self.command == "DELETE":
            fake.files.pop((query["directory"], query["filename"]), None)
            self.respond(200, {"code": 200})
        else:
            _, _, directory, name = path.split("/", 3)
            data = fake.files.get((directory, name))
            self.respond(*((404, {"code": 404, "reason": "no file"}) if data is None else (200, data)))

    def tus(self, path):
        fake = self.fake
        if self.command == "POST":
            id = str(len(fake.uploads) + 1)
            fake.uploads[id] = b""
            self.body()
            self.respond(201, b"", [("Location", "/tus/" + id)])
            return
        id = os.path.basename(path)
        if self.command == "PATCH":
            data = self.body()
            if int(self.headers["Upload-Offset"]) != len(fake.uploads[id]):
                self.respond(409, {"code": 409, "reason": "offset"})
                return
            if fake.cut("half"):
                fake.uploads[id] += data[: len(data) // 2]
                self.close_connection = True
                self.connection.close()
                return
            fake.uploads[id] += data
        headers = [("Upload-Offset", str(len(fake.uploads[id])))]
        if self.command == "GET":
            self.respond(200, {"code": 200, "files": [{"size": len(fake.uploads[id]), "code": 200}]})
        else:
            self.respond(204 if self.command == "PATCH" else 200, b"", headers)

    def events(self, channel):
        """Send two messages at most, then end the stream: the client must resume."""
        fake = self.fake
        last = int(self.headers.get("Last-Event-ID") or 0)
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(b'event: subscribed\nid: %d\ndata: {"seq":%d}\n\n: comment\n\n' % (last, last))
        with fake.changed:
            while len(fake.channels.get(channel, [])) <= last and not fake.draining:
                fake.changed.wait(0.05)
            messages = fake.channels.get(channel, [])[last : last + 2]
        for i, text in enumerate(messages):
            lines = "".join("data: %s\n" % line for line in text.split("\n"))
            self.wfile.write(("id: %d\n%s\n" % (last + 1 + i, lines)).encode())
        self.close_connection = True
