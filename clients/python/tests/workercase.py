"""A test case with a fake server and a worker program."""

import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
import unittest

from gale import Client

from .fakeserver import FakeServer

SOURCE = pathlib.Path(__file__).resolve().parent.parent / "src"
PATIENCE = float(os.environ.get("GALE_TEST_PATIENCE", "60"))  # seconds


def alive(pid):
    """Report whether a process exists and is not a zombie."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except OSError:
        return False


def eventually(what, condition):
    """Wait until condition() is true."""
    limit = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > limit:
            raise AssertionError("timeout: " + what)
        time.sleep(0.02)


class WorkerCase(unittest.TestCase):
    """Starts a server, and workers for it."""

    ttl = 30.0

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.dir = folder.name
        self.server = FakeServer(ttl=self.ttl)
        self.addCleanup(self.server.close)
        self.client = Client(self.server.url)
        self.addCleanup(self.client.close)

    def worker(self, *flags, app="tests.app_under_test:app", ready=True, **env):
        """Start a worker and wait until it has announced its tasks."""
        log = open(os.path.join(self.dir, "log"), "a+")
        self.addCleanup(log.close)
        announced = len(self.server.announced)
        process = subprocess.Popen(
            [sys.executable, "-m", "gale", "worker", app, *flags],
            env={**os.environ, "PYTHONPATH": str(SOURCE), "GALE_URL": self.server.url, **env},
            cwd=SOURCE.parent,
            stdout=log,
            stderr=log,
        )
        self.addCleanup(self._end, process)
        if ready:
            eventually("worker is ready", lambda: len(self.server.announced) > announced or process.poll() is not None)
            self.assertIsNone(process.poll(), self.log())
        return process

    def tearDown(self):
        if os.environ.get("GALE_TEST_LOG") and os.path.exists(self.path("log")):
            print(f"--- log of {self.id()}\n{self.log()}", file=sys.stderr)

    def _end(self, process):
        if process.poll() is None:
            process.terminate()
            process.terminate()
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def log(self):
        """Return the output of all workers."""
        return pathlib.Path(self.dir, "log").read_text()

    def path(self, name):
        """Return a path in the folder of the test."""
        return os.path.join(self.dir, name)

    def read_pid(self, path):
        """Wait for a file with a process id."""
        eventually(path, lambda: os.path.exists(path))
        return int(pathlib.Path(path).read_text())

    def run_task(self, name, *args, **options):
        """Run a task and return it, whatever its state."""
        task = self.client.enqueue(name, args, **options)
        return self.client.wait(task.id, PATIENCE, check=False)

    def children(self, process):
        """Return the pid of the second process of a worker."""
        text = pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
        return [int(pid) for pid in text.split()]


__all__ = ["PATIENCE", "WorkerCase", "alive", "eventually", "signal"]
