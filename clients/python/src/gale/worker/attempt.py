"""The process that runs tasks, one at a time."""

import contextlib
import os
import shutil
import signal
import socket
import sys
import threading
import time
import traceback
from typing import Any, Dict, Mapping, Set

from .. import _trace, errors
from ..job import Channel, Job
from . import frames, system
from .load import Application

_ERROR_LIMIT = 60_000  # bytes of an error; the server permits 64 KiB
_RESULT_LIMIT = 1 << 20
_ROUNDS = 500  # at most; each takes two milliseconds
_ZOMBIES = 64  # ended orphans of tasks; with more of them the process is replaced


class Runner(Channel):
    """Runs the tasks that arrive on a socket until it ends."""

    def __init__(self, app: Application, sock: socket.socket) -> None:
        super().__init__()
        self._app = app
        self._spool = ""  # the folder of the attempt's artifacts
        self._messages = frames.Messages(sock)
        self._sending = threading.Lock()
        self._uninterruptible = False  # the main thread is sending
        self._interrupted = False  # SIGUSR1 came meanwhile
        self._lease = ""  # of the running attempt
        self._kept: Set[int] = set()

    def run(self) -> None:
        """Run tasks until the parent closes the socket."""
        signal.signal(signal.SIGUSR1, self._on_signal)
        for hook in self._app.start_hooks:
            hook()
        self._kept = set(system.children())
        self._send({"ready": True})
        while True:
            message = self._messages.receive()
            if message is None:
                break
            if "run" in message:
                self._send(self._attempt(message["run"]))
        for hook in self._app.stop_hooks:
            hook()
        _flush()

    def _attempt(self, lease: Mapping[str, Any]) -> Dict[str, Any]:
        job = Job(lease, self)
        try:
            try:
                self._lease, self._spool = lease["lease"], lease["spool"]
                handler = self._app.handler(job.name)
                if handler is None:
                    raise errors.Fail(f"this worker has no task {job.name}")
                with _trace.of_attempt(job.headers):
                    result = handler(job)
            finally:
                self._lease = ""
            outcome = self._success(result, job)
        except errors.Fail as err:
            outcome = {"state": "failed", "error": _cut(str(err) or "failed")}
        except errors.Release as err:
            outcome = {"release": True, "delay": max(0.0, float(err.delay))}
        except errors.Retry as err:
            outcome = {"state": "retry", "error": _cut(str(err) or "retry")}
            if err.delay is not None:
                outcome["delay"] = max(0.0, float(err.delay))
        except Exception:
            outcome = {"state": "retry", "error": _cut(traceback.format_exc())}
        except BaseException:  # SystemExit and KeyboardInterrupt end the task, not the process
            outcome = {"state": "failed", "error": _cut(traceback.format_exc())}
        worn = self._end_children()
        _flush()
        return {"finish": {"lease": lease["lease"], **outcome}, "worn": worn}

    def _success(self, result: Any, job: Job) -> Dict[str, Any]:
        outcome: Dict[str, Any] = {"state": "success", "result": result}
        if job.artifact_names:
            outcome["artifacts"] = job.artifact_names
        if job.next_tasks:
            outcome["next"] = job.next_tasks
        try:
            size = len(frames.encode(result))
            frames.encode(job.next_tasks)
        except (TypeError, ValueError, RecursionError) as err:
            raise errors.Fail(f"the result cannot be encoded as JSON: {err}") from err
        if size - 4 > _RESULT_LIMIT:
            raise errors.Fail(f"the result has {size - 4} bytes; the limit is {_RESULT_LIMIT}")
        return outcome

    def _end_children(self) -> bool:
        """Kill processes that the attempt left outside of this process group.

        It reports whether so many ended processes remain that this one should be replaced. They
        may belong to objects of the application, so only the end of this process reaps them.
        """
        own, reported = os.getpgrp(), set()
        for _ in range(_ROUNDS):  # each round kills what the one before has orphaned
            states = {pid: system.state(pid) for pid in system.children() if pid not in self._kept}
            running = [pid for pid, state in states.items() if state not in ("Z", "") and _group(pid) not in (own, 0)]
            if not running:
                break
            for pid in running:
                if pid not in reported:
                    reported.add(pid)
                    print(f"gale: killed process {pid}, which the task had left running", file=sys.stderr)
                system.kill_group(_group(pid))
                system.kill(pid)
            time.sleep(0.002)
        return sum(state == "Z" for state in states.values()) > _ZOMBIES

    # Interruption

    def _on_signal(self, _number: int, _frame: object) -> None:
        """Handle SIGUSR1: the parent has sent a message about the running attempt."""
        if self._uninterruptible:
            self._interrupted = True
        else:
            self._raise_pending()

    def _raise_pending(self) -> None:
        self._interrupted = False
        if not self._lease:
            return
        self._messages.poll()
        for message in self._messages.take("raise"):
            if message["lease"] == self._lease:
                if message["raise"] == "soft":
                    raise errors.SoftTimeLimit("the soft time limit has passed")
                raise errors.Cancelled("the task was cancelled or its lease was lost")

    def _send(self, message: Any) -> None:
        data = frames.encode(message)
        main = threading.current_thread() is threading.main_thread()
        with self._sending:
            try:
                self._uninterruptible = main or self._uninterruptible
                self._messages.sock.sendall(data)
            finally:
                self._uninterruptible = self._uninterruptible and not main
        if main and self._interrupted:
            self._raise_pending()

    # Channel

    def progress(self, report: Dict[str, Any]) -> None:
        """Hand a report to the parent."""
        self._send({"progress": report, "lease": self._lease})

    def log(self, text: str) -> None:
        """Write to the standard output, which the parent reads."""
        print(text, flush=True)

    def artifact(self, name: str, path: str) -> None:
        """Copy a file to the folder from which the parent sends artifacts."""
        os.makedirs(self._spool, exist_ok=True)
        shutil.copyfile(path, os.path.join(self._spool, name))


def _group(pid: int) -> int:
    """Return the process group of a process, or 0 if it has ended."""
    with contextlib.suppress(OSError):
        return os.getpgid(pid)
    return 0


def _cut(text: str) -> str:
    """Return the end of a text, as JSON permits it and within the server's limit."""
    data = text.encode("utf-8", "replace")
    return data[-_ERROR_LIMIT:].decode("utf-8", "ignore")


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
