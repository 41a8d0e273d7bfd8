"""The client, with the fake server."""

import datetime
import io
import os
import pathlib
import socket
import tempfile
import threading
import unittest
import unittest.mock

import gale
from gale.task import format_time, parse_time, task_body

from .fakeserver import FakeServer
from .workercase import PATIENCE


class ClientCase(unittest.TestCase):
    def setUp(self):
        self.server = FakeServer()
        self.addCleanup(self.server.close)
        self.client = gale.Client(self.server.url, timeout=20.0, retry_time=20.0)
        self.addCleanup(self.client.close)

    def impatient(self, url, token=None):
        client = gale.Client(url, token, retry_time=0)
        self.addCleanup(client.close)
        return client


class TaskTest(ClientCase):
    def enqueue(self, **options):
        return self.client.enqueue("t", [1], {"k": 2}, wait_for_worker=True, **options)

    def test_enqueue_and_get(self):
        task = self.enqueue(id="one", queue="q", headers={"a": 1})
        self.assertEqual((task.id, task.state, task.args, task.kwargs, task.ended), ("one", "queued", [1], {"k": 2}, False))
        self.assertEqual(task.created, datetime.datetime(2030, 1, 1, 9, 0, 0, 123456, datetime.timezone.utc))
        self.assertEqual(self.client.get("one").queue, "q")
        self.assertEqual(self.server.tasks["one"].body["headers"], {"a": 1})

    def test_lost_response_makes_one_task(self):
        cuts = iter([True, True, False])
        self.server.cut = lambda path: path == "/tasks" and next(cuts, False)
        self.enqueue()
        self.assertEqual(len(self.server.tasks), 1)

    def test_busy(self):
        self.server.busy.put(503)
        self.server.busy.put(502)
        self.enqueue()
        self.server.busy.put(503)
        with self.assertRaises(gale.Unavailable):
            self.impatient(self.server.url).enqueue("t")

    def test_errors(self):
        with self.assertRaises(gale.NotFound) as caught:
            self.client.enqueue("unknown")
        self.assertEqual((caught.exception.status, caught.exception.code, caught.exception.reason), (404, 404, "unknown task unknown"))
        with self.assertRaises(gale.NotFound):
            self.client.get("none")
        with self.assertRaises(TypeError):
            self.client.enqueue("t", coundown=1)
        with self.assertRaises(ValueError):
            self.client.enqueue("t", [float("nan")])
        with self.assertRaises(ValueError):
            self.client.enqueue("t", eta=datetime.datetime(2030, 1, 1))
        self.assertEqual(self.server.tasks, {})

    def test_wait(self):
        task = self.enqueue()
        with self.assertRaises(gale.WaitTimeout):
            self.client.wait(task.id, 0.05)
        threading.Timer(0.1, self.server.cancel, [task.id]).start()
        with self.assertRaises(gale.TaskFailed) as caught:
            self.client.wait(task.id, PATIENCE)
        self.assertEqual(caught.exception.task.state, "cancelled")
        self.assertEqual(self.client.wait(task.id, check=False).state, "cancelled")

    def test_list(self):
        ids = [self.enqueue(id=f"t{i}").id for i in range(5)]
        self.assertEqual([t.id for t in self.client.list(limit=2)], ids[::-1])

    def test_body(self):
        day = datetime.datetime(2030, 1, 1, tzinfo=datetime.timezone.utc)
        call = gale.Call("a", [1]).with_options(countdown=datetime.timedelta(minutes=1))
        body = task_body("t", eta=day, expires=day, unique_for=2, link=call, timeout=0, max_retries=0)
        self.assertEqual(
            body,
            {
                "task": "t",
                "eta": "2030-01-01T00:00:00+00:00",
                "expires": "2030-01-01T00:00:00+00:00",
                "unique_for": 2,
                "timeout": 0,
                "max_retries": 0,
                "link": [{"task": "a", "args": [1], "countdown": 60.0}],
            },
        )

    def test_times(self):
        for text in ("2030-01-01T09:00:00Z", "2030-01-01T09:00:00.1Z", "2030-01-01T10:00:00.123456789+01:00"):
            moment = parse_time(text)
            self.assertEqual(moment.astimezone(datetime.timezone.utc).replace(microsecond=0), datetime.datetime(2030, 1, 1, 9, tzinfo=datetime.timezone.utc))
            self.assertEqual(parse_time(format_time(moment)), moment)
        self.assertIsNone(parse_time(None))


class ConnectionTest(ClientCase):
    def test_connections_are_reused(self):
        for _ in range(5):
            self.client.enqueue("t", wait_for_worker=True)
        self.assertEqual(len(self.client.transport._idle), 1)

    def test_token(self):
        self.server.token = "secret"
        with self.assertRaises(gale.Unauthorized):
            self.client.get("x")
        with self.assertRaises(gale.NotFound):
            self.impatient(self.server.url, "secret").get("x")

    def test_trace(self):
        """Requests carry the trace of the environment if it is valid."""
        parent = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"
        for env, want in (
            ({}, (None, None)),
            ({"TRACEPARENT": parent}, (parent, None)),
            ({"TRACEPARENT": parent, "TRACESTATE": "v=1"}, (parent, "v=1")),
            ({"TRACEPARENT": parent, "TRACESTATE": "v=1\r\nX: y"}, (parent, None)),
            ({"TRACESTATE": "v=1"}, (None, None)),
            ({"TRACEPARENT": "ff" + parent[2:]}, (None, None)),
            ({"TRACEPARENT": "00-" + "0" * 32 + "-" + "b" * 16 + "-01"}, (None, None)),
            ({"TRACEPARENT": parent + "\r\nX: y"}, (None, None)),
        ):
            with self.subTest(env=env), unittest.mock.patch.dict(os.environ, env):
                self.client.enqueue("t", wait_for_worker=True)
                self.assertEqual(self.server.traces[-1], ("/tasks", *want))

    def test_threads(self):
        threads = [threading.Thread(target=lambda i=i: self.client.enqueue("t", [i], wait_for_worker=True)) for i in range(20)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        self.assertEqual(sorted(t.body["args"][0] for t in self.server.tasks.values()), list(range(20)))

    def test_unix_socket(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "socket")
            with socket.socket(socket.AF_UNIX) as listener:
                listener.bind(path)
                listener.listen()

                def serve():
                    conn, _ = listener.accept()
                    with conn:
                        while b"\r\n\r\n" not in conn.recv(4096):
                            pass
                        conn.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 25\r\n\r\n{"id":"u","state":"dead"}')

                thread = threading.Thread(target=serve)
                thread.start()
                self.assertEqual(self.impatient("unix:" + path).get("u").state, "dead")
                thread.join()

    def test_bad_urls(self):
        for url in ("", "ftp://host", "http://", "http://user:pw@host", "unix:", "http://host/?q"):
            with self.assertRaises(ValueError, msg=url):
                gale.Client(url)

    def test_no_server(self):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        with self.assertRaises(gale.ConnectionLost):
            self.impatient(f"http://127.0.0.1:{port}").get("x")


class FileTest(ClientCase):
    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.dir = pathlib.Path(folder.name)

    def test_upload_and_download(self):
        path = self.dir / "source"
        path.write_bytes(b"from a path")
        for i, (source, want) in enumerate(
            [(b"bytes", b"bytes"), (path, b"from a path"), (io.BytesIO(b"stream"), b"stream"), (iter([b"a", b"b"]), b"ab")]
        ):
            stored = self.client.upload("dir", f"file {i}", source)
            self.assertEqual((stored["size"], self.server.files["dir", f"file {i}"]), (len(want), want))
        with self.assertRaises(gale.Conflict) as caught:
            self.client.upload("dir", "file 0", b"other")
        self.assertEqual(caught.exception.code, 501)
        target = self.dir / "target"
        self.assertEqual(self.client.download("dir", "file 1", target), 11)
        self.assertEqual(target.read_bytes(), b"from a path")
        with self.assertRaises(gale.NotFound):
            self.client.download("dir", "none", self.dir / "none")
        self.assertEqual(sorted(p.name for p in self.dir.iterdir()), ["source", "target"])
        self.client.delete("dir", "file 1")
        self.assertNotIn(("dir", "file 1"), self.server.files)

    def test_resumable_upload_survives_lost_connections(self):
        cuts = iter([False, True, False, True])
        self.server.cut = lambda path: path == "half" and next(cuts, False)
        data = os.urandom(100_000)
        seen = []
        stored = self.client.upload_resumable(
            "d", "f", io.BytesIO(data), chunk=30_000, on_progress=lambda offset, size, upload: seen.append((offset, size, upload))
        )
        self.assertEqual(stored["size"], len(data))
        self.assertEqual(self.server.uploads["1"], data)
        self.assertEqual(seen[-1], (len(data), len(data), "/tus/1"))

    def test_resumable_upload_continues_an_earlier_one(self):
        self.server.uploads["9"] = b"abc"
        self.client.upload_resumable("d", "f", io.BytesIO(b"abcdef"), upload="/tus/9")
        self.assertEqual(self.server.uploads["9"], b"abcdef")


class ChannelTest(ClientCase):
    def test_subscribe_resumes(self):
        for i in range(3):
            self.assertEqual(self.client.publish("news", f"line {i}\nmore"), i + 1)
        got = []
        stream = self.client.subscribe("news", since=0)
        for _ in range(3):
            got.append(next(stream))
        self.client.publish("news", "later")
        got.append(next(stream))
        self.assertEqual([(m.seq, m.data) for m in got], [(1, "line 0\nmore"), (2, "line 1\nmore"), (3, "line 2\nmore"), (4, "later")])


class AppTest(unittest.TestCase):
    def test_schema(self):
        from typing import Dict, List, Optional

        app = gale.App()

        @app.task
        def f(a: int, b: Optional[str] = None, *rest: float, c: List[int], job: gale.Job, d: Dict[str, int] = {}, **more: str) -> None: ...

        schema = f.schema()
        del schema["$schema"]
        self.assertEqual(
            schema,
            {
                "type": "array",
                "prefixItems": [{"title": "a", "type": "integer"}, {"title": "b", "default": None}],
                "minItems": 1,
                "properties": {
                    "c": {"title": "c", "type": "array", "items": {"type": "integer"}},
                    "d": {"title": "d", "type": "object", "additionalProperties": {"type": "integer"}, "default": {}},
                },
                "required": ["c"],
                "additionalProperties": True,
            },
        )

    def test_bad_definitions(self):
        app = gale.App()
        app.task(lambda: None, name="one")
        for options in ({"name": "one"}, {"name": "a b"}, {"max_retries": 101}, {"timeout": -1}):
            with self.assertRaises(ValueError, msg=str(options)):
                app.task(lambda: None, **{"name": "x", **options})
        with self.assertRaises(TypeError):
            app.task(lambda: None, retries=3)
        self.assertEqual(list(app.tasks), ["one"])

    def test_job_outside_of_a_worker(self):
        from gale.job import Channel

        @gale.task
        def report(job: gale.Job, n: int) -> int:
            job.progress(n)
            job.artifact("a.txt", io.BytesIO(b"x"))
            return n

        channel = Channel()
        job = gale.Job({"task": {"id": "i", "task": "report", "args": [50]}}, channel)
        self.assertEqual(report.run(job), 50)
        self.assertEqual((channel.reports[0]["progress"], channel.artifacts), (50, {"a.txt": b"x"}))
        for name in ("../x", ".hidden", "a/b", ""):
            with self.assertRaises(ValueError):
                job.artifact(name, b"")
        with self.assertRaises(ValueError):
            job.progress(101)
