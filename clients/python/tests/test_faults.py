"""The worker, with the fake server: tasks and networks that misbehave."""

import os
import pathlib
import signal
import threading
import time

from .workercase import PATIENCE, WorkerCase, alive, eventually


MEGABYTES = int(os.environ.get("GALE_TEST_MEGABYTES", "64"))  # output of one task; e2e: 1024


class NeighbourCase(WorkerCase):
    """Runs a task beside one that misbehaves, and checks that it is not harmed."""

    def start(self, *flags):
        """Start a worker of two processes, with a neighbour that waits for finish()."""
        worker = self.worker("-c", "2", *flags)
        self.neighbour = self.client.enqueue("wait_for", [self.path("go"), self.path("neighbour")], id="neighbour")
        self.read_pid(self.path("neighbour"))
        return worker

    def finish(self):
        """Let the neighbour end, and check that its only attempt has succeeded."""
        pathlib.Path(self.path("go")).touch()
        task = self.client.wait("neighbour", PATIENCE)
        self.assertEqual((task.state, task.attempts, self.server.task("neighbour").lost), ("success", 1, 0))


class BadTaskTest(NeighbourCase):
    def dies(self, name, text, *args, flags=()):
        self.start(*flags)
        task = self.run_task(name, *args)
        self.assertEqual(task.state, "dead")
        self.assertEqual(self.server.task(task.id).lost, 5)
        self.assertIn(text, task.error)
        self.assertEqual(self.run_task("add", 1).result, 3)
        self.finish()

    def test_os_exit(self):
        self.dies("exit_now", "exit status 0", 0)

    def test_segfault(self):
        self.dies("segfault", "SIGSEGV")

    def test_allocation_without_end(self):
        self.dies("allocate", "above 96 MiB", flags=["--kill-rss", "96"])

    def test_hang_with_signals_blocked(self):
        self.start()
        task = self.run_task("hang_blocked", self.path("pid"))
        self.assertEqual(task.state, "failed")
        self.assertIn("time limit of 1 s", task.error)
        self.assertFalse(alive(self.read_pid(self.path("pid"))))
        self.finish()

    def test_daemon_ends_with_its_task(self):
        self.start()
        self.assertEqual(self.run_task("daemon", self.path("daemon")).result, "left")
        pid = self.read_pid(self.path("daemon"))
        self.assertFalse(alive(pid))
        self.finish()

    def test_daemon_ends_with_its_process(self):
        self.start()
        self.assertEqual(self.run_task("daemon_and_die", self.path("daemon")).state, "dead")
        pid = self.read_pid(self.path("daemon"))
        eventually("the daemon ends", lambda: not alive(pid))
        self.finish()

    def test_much_output(self):
        self.start()
        task = self.run_task("gigabyte", MEGABYTES, id="printer")
        self.assertEqual(task.result, "printed")
        log = self.server.task("printer").log
        self.assertEqual(log[-1], "the last line")
        self.assertTrue(any("bytes of output were dropped" in line for line in log))
        self.finish()

    def test_cancel_runs_finally(self):
        self.start()
        task = self.client.enqueue("cleanup_on_cancel", [self.path("cleaned"), self.path("pid")])
        pid = self.read_pid(self.path("pid"))
        self.client.cancel(task.id)
        eventually("finally", lambda: os.path.exists(self.path("cleaned")))
        self.assertEqual(self.run_task("pid").result, pid)  # the process is used again
        self.finish()

    def test_cancel_while_the_interpreter_lock_is_held(self):
        self.start()
        task = self.client.enqueue("hold_lock", [self.path("pid")])
        pid = self.read_pid(self.path("pid"))
        self.client.cancel(task.id)
        eventually("killed", lambda: not alive(pid))
        self.assertEqual(self.run_task("add", 1).result, 3)
        self.finish()


class KillTest(NeighbourCase):
    def test_second_process_killed(self):
        worker = self.start()
        pid = self.read_pid(self.path("neighbour"))
        (second,) = self.children(worker)
        os.kill(second, signal.SIGKILL)
        self.server.wait("lost", lambda: self.server.tasks["neighbour"].lost == 1)
        eventually("the process has ended", lambda: not alive(pid))
        pathlib.Path(self.path("go")).touch()
        self.assertEqual(self.client.wait("neighbour", PATIENCE).attempts, 2 + self.server.task("neighbour").released)

    def test_parent_killed(self):
        worker = self.start()
        pid = self.read_pid(self.path("neighbour"))
        (second,) = self.children(worker)
        worker.kill()
        worker.wait()
        eventually("no process is left", lambda: not alive(pid) and not alive(second))


class NetworkTest(NeighbourCase):
    ttl = 5.0

    def test_lost_responses(self):
        counts = {"/workers/lease": 0, "/workers/finish": 0}
        lock = threading.Lock()

        def cut(path):
            with lock:
                if path not in counts:
                    return False
                counts[path] += 1
                return counts[path] % 2 == 0 and counts[path] < 40

        self.worker("-c", "2")
        self.server.cut = cut
        ids = [self.client.enqueue("add", [i, 0]).id for i in range(100)]
        for i, id in enumerate(ids):
            task = self.client.wait(id, PATIENCE)
            stored = self.server.task(id)
            self.assertEqual((task.result, stored.lost, stored.failures), (i, 0, 0))
        self.assertGreater(counts["/workers/lease"], 1)

    def test_busy_server(self):
        self.worker("-c", "1")
        for _ in range(10):
            self.server.busy.put(503)
        self.assertEqual(self.run_task("add", 2).result, 4)

    def test_attempt_is_killed_when_its_lease_is_not_extended(self):
        self.start()
        pid = self.read_pid(self.path("neighbour"))
        began = time.monotonic()
        self.server.cut = lambda path: path.startswith("/workers/")
        eventually("killed", lambda: not alive(pid))
        self.assertLess(time.monotonic() - began, self.ttl)  # promised by the protocol
        self.server.cut = lambda path: False
        self.server.forget(next(iter(self.server.sessions)))
        self.server.wait("announced again", lambda: len(self.server.announced) == 2)
        pathlib.Path(self.path("go")).touch()
        self.assertEqual(self.client.wait("neighbour", PATIENCE).result, "done")

    def test_forgotten_session(self):
        self.start()
        pid = self.read_pid(self.path("neighbour"))
        self.server.forget(next(iter(self.server.sessions)))
        eventually("killed", lambda: not alive(pid))
        pathlib.Path(self.path("go")).touch()
        self.assertEqual(self.client.wait("neighbour", PATIENCE).result, "done")

    def test_stopped_parent(self):
        """A parent that does not run cannot enforce its leases: the second process does."""
        worker = self.start()
        pid = self.read_pid(self.path("neighbour"))
        worker.send_signal(signal.SIGSTOP)
        self.addCleanup(worker.send_signal, signal.SIGCONT)
        eventually("killed", lambda: not alive(pid))
