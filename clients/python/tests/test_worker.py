"""The worker, with the fake server: what ends well."""

import os
import pathlib
import signal

from .workercase import PATIENCE, WorkerCase, eventually


class WorkTest(WorkerCase):
    def test_outcomes(self):
        self.worker("-c", "2")
        self.assertEqual(self.run_task("add", 1, 4).result, 5)
        self.assertEqual(self.client.wait(self.client.enqueue("add", kwargs={"a": 1}).id, PATIENCE).result, 3)
        self.assertEqual(self.run_task("flaky").result, 2)
        self.assertEqual(self.run_task("retry_once", headers={"user": "u"}).result, "u")
        released = self.run_task("release_once", self.path("once"))
        self.assertEqual((released.result, released.failures), ("released", []))
        task = self.server.tasks[released.id]
        self.assertEqual((task.released, task.release_delay), (1, 1.5))
        failed = self.run_task("fail_at_once")
        self.assertEqual((failed.state, failed.error, failed.attempts), ("failed", "no use", 1))
        for name, text in (("nan", "JSON"), ("large", "limit"), ("sys_exit", "SystemExit"), ("add", "TypeError")):
            failed = self.run_task(name)
            self.assertEqual(failed.state, "failed")
            self.assertIn(text, failed.error)

    def test_announcement(self):
        self.worker("-c", "1", "-n", "name-of-worker", "--app-version", "7")
        announced = self.server.announced[-1]
        self.assertEqual((announced["worker"], announced["version"]), ("name-of-worker", "7"))
        tasks = {t["name"]: t for t in announced["tasks"]}
        self.assertEqual(tasks["flaky"]["max_retries"], 2)
        self.assertEqual([p["title"] for p in tasks["add"]["schema"]["prefixItems"]], ["a", "b"])

    def test_log_progress_artifacts_next(self):
        self.worker("-c", "1")
        task = self.run_task("talk", id="talk")
        self.assertEqual(task.state, "success", task.error)
        stored = self.server.task("talk")
        self.assertEqual(stored.log, ["hello", "to stderr", "of a child"])
        self.assertEqual(stored.reports[-1]["meta"], {"step": 1})
        self.assertEqual((stored.progress, stored.note), (40, "half way"))
        self.assertEqual(task.artifacts, ["report.txt"])
        self.assertEqual(self.server.files["talk", "report.txt"], b"content")
        self.assertEqual(self.client.wait("next-of-talk", PATIENCE).result, 2)
        refused = self.run_task("refused_artifact")
        self.assertEqual((refused.state, refused.error), ("failed", "artifact refused.bin: too large"))

    def test_trace(self):
        """A task knows the span of its attempt, and its requests belong to it."""
        parent, other = ("00-" + digit * 32 + "-" + digit * 16 + "-01" for digit in "ab")
        self.worker("-c", "1", TRACEPARENT=other)
        task = self.run_task("trace", id="traced", headers={"traceparent": parent, "tracestate": "a=1"})
        self.assertEqual(task.result, [parent, parent, parent], task.error)
        of_tasks = [t for t in self.server.traces if t[0] == "/tasks"]
        self.assertEqual(of_tasks[-1], ("/tasks", parent, "a=1"))
        # The next task of the same process has no trace, and a wrong one is not passed on.
        self.assertEqual(self.run_task("trace", id="untraced").result, [None, None, ""])
        self.assertEqual(self.run_task("trace", id="wrong", headers={"traceparent": "x"}).result, ["x", None, ""])
        of_tasks = [t[1] for t in self.server.traces if t[0] == "/tasks"]
        self.assertEqual(of_tasks.count(parent), 1)

    def test_spawn(self):
        self.worker("-c", "1", "-P", "spawn")
        self.assertEqual(self.run_task("add", 1).result, 3)
        self.assertIn("exit status 4", self.run_task_until_dead("exit_now", 4).error)

    def run_task_until_dead(self, name, *args):
        task = self.run_task(name, *args)
        self.assertEqual(task.state, "dead")
        return task

    def test_soft_time_limit(self):
        self.worker("-c", "1")
        self.assertEqual(self.run_task("soft").result, "cleaned up")

    def test_max_tasks_and_max_rss(self):
        self.worker("-c", "1", "--max-tasks", "2")
        pids = [self.run_task("pid").result for _ in range(4)]
        self.assertEqual((pids[0] == pids[1], pids[1] == pids[2], pids[2] == pids[3]), (True, False, True))
        self.worker("-c", "1", "--max-rss", "1", "-Q", "small")
        pids = [self.run_task("pid", queue="small").result for _ in range(2)]
        self.assertNotEqual(pids[0], pids[1])

    def test_queues(self):
        for i in range(6):
            queue = "low" if i < 3 else "high"
            self.client.enqueue("pid", id=f"t{i}", queue=queue, wait_for_worker=True)
        self.worker("-c", "1", "-Q", "high,low")
        for i in range(6):
            self.client.wait(f"t{i}", PATIENCE)

    def test_many(self):
        self.worker("-c", "2")
        ids = [self.client.enqueue("add", [i, 1]).id for i in range(300)]
        self.assertEqual([self.client.wait(id, PATIENCE).result for id in ids], list(range(1, 301)))
        self.assertTrue(all(t.attempts == 1 + t.released for t in self.server.tasks.values()))


class EndTest(WorkerCase):
    def test_term_drains(self):
        worker = self.worker("-c", "1")
        running = self.client.enqueue("wait_for", [self.path("go"), self.path("pid")])
        self.read_pid(self.path("pid"))
        waiting = self.client.enqueue("add", [1, 1])
        worker.send_signal(signal.SIGTERM)
        eventually("draining", lambda: "draining" in self.log())
        pathlib.Path(self.path("go")).touch()
        self.assertEqual(worker.wait(PATIENCE), 0)
        self.assertEqual(self.client.get(running.id).state, "success")
        self.assertEqual(self.client.get(waiting.id).state, "queued")
        self.assertEqual(self.server.task(waiting.id).lost, 0)

    def test_second_term_releases(self):
        worker = self.worker("-c", "1")
        running = self.client.enqueue("wait_for", [self.path("go"), self.path("pid")])
        pid = self.read_pid(self.path("pid"))
        worker.send_signal(signal.SIGTERM)
        eventually("draining", lambda: "draining" in self.log())
        worker.send_signal(signal.SIGTERM)
        self.assertEqual(worker.wait(PATIENCE), 0)
        self.assertFalse(os.path.exists(f"/proc/{pid}"))
        task = self.server.task(running.id)
        self.assertEqual((task.state, task.lost, task.released, task.failures), ("queued", 0, 1, 0))

    def test_hup_takes_the_new_version(self):
        version = pathlib.Path(self.path("version"))
        version.write_text("one")
        module = pathlib.Path(self.path("mod.py"))
        code = "import gale\nVERSION = {!r}\n@gale.task\ndef version() -> str:\n    return VERSION\n@gale.task\ndef {}() -> None: ...\n"
        module.write_text(code.format("one", "old"))
        env = {"PYTHONPATH": f"{self.dir}:{pathlib.Path(__file__).resolve().parent.parent / 'src'}", "PYTHONDONTWRITEBYTECODE": "1"}
        worker = self.worker("-c", "1", app="mod", **env)
        self.assertEqual(self.run_task("version").result, "one")
        module.write_text("import gale\nraise RuntimeError('broken')\n")
        worker.send_signal(signal.SIGHUP)
        eventually("reload fails", lambda: "the old application stays" in self.log())
        self.assertEqual(self.run_task("version").result, "one")
        module.write_text(code.format("two", "new"))
        worker.send_signal(signal.SIGHUP)
        eventually("reload", lambda: "reloaded the application" in self.log())
        self.assertEqual(self.run_task("version").result, "two")
        self.assertEqual(len(self.server.announced), 2)

    def test_bad_command_lines(self):
        for flags, text in (
            (["-c", "0"], "less than 1"),
            (["-Q", "high=x"], "weight"),
            (["-Q", "a,a"], "twice"),
            (["-Q", "a b"], "queue"),
        ):
            worker = self.worker(*flags, ready=False)
            self.assertEqual(worker.wait(PATIENCE), 2)
            self.assertIn(text, self.log())
        for app, text in (("tests.nothing", "ModuleNotFoundError"), ("tests.app_under_test:none", "no attribute none"), ("gale.errors", "neither")):
            worker = self.worker(app=app, ready=False)
            self.assertEqual(worker.wait(PATIENCE), 1)
            self.assertIn(text, self.log())
