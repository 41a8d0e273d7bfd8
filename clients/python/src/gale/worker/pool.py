"""The processes that run tasks: one event loop in one thread of the parent."""

import contextlib
import os
import selectors
import shutil
import socket
import tempfile
import time
from collections import deque
from typing import Any, Callable, Deque, Dict, List

from . import log, system
from .held import RUNNING, Held, Leases
from .launcher import BootError, Launcher
from .options import Options
from .slot import BUSY, EMPTY, ENDING, IDLE, STARTING, Slot

_CANCEL_GRACE = 0.5  # seconds from the exception in a cancelled attempt to SIGKILL
_STUCK = 10.0  # seconds in which the end of a process that was killed must be reported
_READY = 60.0  # seconds in which a process must get ready
_MARGIN = 2.0  # seconds before the end of a lease at which its attempt is killed
_START = 1.0  # seconds in which a lease must start


class Pool:
    """Runs leases in processes. Methods other than boot and loop may be called by any thread.

    finish gets entries of POST /workers/finish, and release gets the ids of leases that did
    not start.
    """

    def __init__(
        self, options: Options, leases: Leases, *, finish: Callable[[Dict[str, Any]], None], release: Callable[..., None]
    ) -> None:
        self._o = options
        self._leases = leases
        self._finish = finish
        self._release = release
        self._launcher = Launcher(options)
        self._slots = [Slot(i) for i in range(options.concurrency)]
        self._queue: Deque[Held] = deque()
        self._posted: Deque[Callable[[], None]] = deque()
        self._selector = selectors.DefaultSelector()
        self._wake_read, self._wake_write = socket.socketpair()
        self._spools = tempfile.mkdtemp(prefix="gale-worker-")
        self._attempts = 0
        self._restart_at = float("inf")
        self._restarts = 0
        self._mean = 1.0  # mean time of an attempt in seconds
        self._draining = False
        self._ticked = 0.0

    # For other threads

    def room(self) -> int:
        """Return how many leases may be added: those that start within a second."""
        if self._draining or not any(s.state in (IDLE, BUSY) for s in self._slots):
            return 0
        size = len(self._slots)
        ahead = min(int(0.5 * size / max(self._mean, 1e-4)), 250) if self._mean < 0.25 else 0
        room = size + ahead - self._leases.active
        return room if room > ahead // 2 else 0

    def post(self, call: Callable[[], None]) -> None:
        """Run a function in the thread of the loop."""
        self._posted.append(call)
        with contextlib.suppress(OSError):
            self._wake_write.send(b"x")

    def add(self, held: List[Held]) -> None:
        """Run leases."""
        self.post(lambda: self._queue.extend(held))

    def end(self, lost: List[str], cancelled: List[str]) -> None:
        """End attempts whose leases are lost, or whose tasks were cancelled. Nothing is reported."""
        self.post(lambda: self._end(lost, cancelled))

    def drain(self) -> None:
        """Give back what has not started, and end the loop when the rest has ended."""
        self.post(self._drain)

    def stop(self) -> None:
        """Kill the attempts, give their leases back, and end the loop."""
        self.post(self._stop)

    # The loop

    def boot(self) -> Dict[str, Any]:
        """Import the application in the second process; see Launcher.boot."""
        try:
            return self._launcher.boot()
        except BootError:
            shutil.rmtree(self._spools, ignore_errors=True)
            raise

    def loop(self) -> None:
        """Run until drain or stop has been completed."""
        self._wake_read.setblocking(False)
        self._selector.register(self._wake_read, selectors.EVENT_READ, self._on_wake)
        self._register_launcher()
        try:
            while not (self._draining and not self._queue and all(s.held is None for s in self._slots)):
                for key, _ in self._selector.select(0.1):
                    key.data()
                while self._posted:
                    self._posted.popleft()()
                now = time.monotonic()
                self._start_queued(now)
                if now - self._ticked >= 0.1:
                    self._ticked = now
                    self._tick(now)
            for slot in self._slots:  # idle processes run their stop hooks
                if slot.state == IDLE:
                    self._close(slot)
            self._await_idle()
        finally:
            self.close()

    def _await_idle(self) -> None:
        limit = time.monotonic() + 5
        while any(s.pid for s in self._slots) and time.monotonic() < limit:
            for key, _ in self._selector.select(0.1):
                key.data()

    def close(self) -> None:
        """End all processes."""
        self._launcher.close()
        for slot in self._slots:
            self._close(slot)
        for end in (self._wake_read, self._wake_write):
            end.close()
        self._selector.close()

    def remove_files(self) -> None:
        """Remove the folder of artifacts that were not sent."""
        shutil.rmtree(self._spools, ignore_errors=True)

    def _on_wake(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._wake_read.recv(4096)

    def _tick(self, now: float) -> None:
        if now >= self._restart_at:
            self._restart()
        for slot in self._slots:
            if slot.state == EMPTY and not slot.pid and now >= slot.start_at and self._launcher.control and not self._draining:
                self._open(slot, now)
            elif slot.state == STARTING and now - slot.started > _READY:
                log.write("ERROR", "a process did not get ready", slot=slot.number)
                slot.kill(now)
            elif slot.state == BUSY:
                self._check(slot, now)
            if now >= slot.kill_at:
                slot.kill(now)
            if now - slot.killed_at > _STUCK:
                slot.killed_at = float("inf")
                log.write("ERROR", "the process with the application is stuck", pid=self._launcher.pid)
                system.kill(self._launcher.pid)
        until = [s.held.safe_until for s in self._slots if s.held is not None]
        self._launcher.permit(max(until, default=float("inf")))
        for held in list(self._queue):
            if now - held.since > _START:
                self._queue.remove(held)
                self._leases.finishing(held)
                self._release(held.id)

    def _check(self, slot: Slot, now: float) -> None:
        """Enforce the limits of a running attempt."""
        held = slot.held
        if held is None or slot.state == ENDING:
            return
        if now >= held.safe_until - _MARGIN:
            log.write("WARN", "the lease of an attempt was not extended in time: killing it", task=held.task)
            self._kill(slot, {}, now)
        elif now >= held.hard_at:
            seconds = held.lease.get("timeout")
            self._kill(slot, {"state": "retry", "error": f"the attempt was killed after its time limit of {seconds:g} s"}, now)
        elif now >= held.soft_at:
            held.soft_at = float("inf")
            slot.interrupt("soft")
        if self._o.kill_rss and slot.pid and system.rss(slot.pid) > self._o.kill_rss:
            error = f"the process was killed: its memory was above {self._o.kill_rss >> 20} MiB"
            self._kill(slot, {"state": "lost", "error": error}, now)

    def _kill(self, slot: Slot, verdict: Dict[str, Any], now: float) -> None:
        """Kill the process of an attempt. The verdict is reported when it has ended."""
        if slot.verdict is None:
            slot.verdict = verdict
        slot.kill(now)

    # Attempts

    def _start_queued(self, now: float) -> None:
        if not self._queue:
            return
        for slot in self._slots:
            if slot.state == IDLE and self._queue:
                self._run(slot, self._queue.popleft(), now)

    def _run(self, slot: Slot, held: Held, now: float) -> None:
        self._attempts += 1
        held.spool = os.path.join(self._spools, str(self._attempts))
        held.state, held.since = RUNNING, now
        soft = held.lease.get("soft_timeout") or 0
        held.soft_at = now + soft if soft else float("inf")
        slot.held, slot.state, slot.verdict = held, BUSY, None
        if self._launcher.permitted == float("inf"):
            self._launcher.permit(held.safe_until)
        if not slot.send({"run": {**held.lease, "spool": held.spool}}):
            slot.verdict = {"release": True}  # it has not begun
            slot.kill(now)

    def _finished(self, slot: Slot, message: Dict[str, Any]) -> None:
        held, entry = slot.held, message["finish"]
        if held is None or entry.get("lease") != held.id or slot.verdict is not None:
            return  # the process is being killed; its end decides
        now = time.monotonic()
        slot.read_output(1 << 22)
        self._mean += 0.1 * (now - held.since - self._mean)
        slot.held, slot.ran, slot.kill_at = None, slot.ran + 1, float("inf")
        self._report(held, entry)
        slot.state = IDLE
        worn = message.get("worn") or (self._o.max_rss and system.rss(slot.pid) > self._o.max_rss)
        if worn or (self._o.max_tasks and slot.ran >= self._o.max_tasks):
            self._close(slot)
        elif self._queue:
            self._run(slot, self._queue.popleft(), now)

    def _report(self, held: Held, entry: Dict[str, Any]) -> None:
        """Hand over the end of an attempt, unless its lease is gone."""
        if self._leases.get(held.id) is None:
            shutil.rmtree(held.spool, ignore_errors=True)
            return
        self._leases.finishing(held)
        if entry.pop("release", False):
            self._release(held.id, entry.get("delay", 0.0))
        elif entry:
            self._finish({"lease": held.id, **entry})
        else:
            self._leases.remove(held.id)
            shutil.rmtree(held.spool, ignore_errors=True)
        if self.room() > 0:
            self._leases.wake()

    def _end(self, lost: List[str], cancelled: List[str]) -> None:
        now = time.monotonic()
        for id in {*lost, *cancelled}:
            held = self._leases.get(id)
            if held is None:
                continue
            self._leases.remove(id)
            if held in self._queue:
                self._queue.remove(held)
            for slot in self._slots:
                if slot.held is held and slot.state == BUSY:
                    log.write("INFO", "ending an attempt", task=held.task, reason="lost" if id in lost else "cancelled")
                    slot.interrupt("cancelled")
                    slot.kill_at = now + _CANCEL_GRACE

    def _drain(self) -> None:
        self._draining = True
        while self._queue:
            held = self._queue.popleft()
            self._leases.finishing(held)
            self._release(held.id)

    def _stop(self) -> None:
        self._drain()
        now = time.monotonic()
        for slot in self._slots:
            if slot.held is not None:
                self._kill(slot, {"release": True}, now)

    # Processes

    def _open(self, slot: Slot, now: float) -> None:
        fds = slot.open(now)
        self._selector.register(slot.socket(), selectors.EVENT_READ, lambda: self._on_message(slot))
        self._selector.register(slot.output, selectors.EVENT_READ, lambda: self._on_output(slot))
        self._launcher.start(slot.number, fds)
        for fd in fds:
            os.close(fd)

    def _on_output(self, slot: Slot) -> None:
        if not slot.read_output() and slot.output >= 0:
            self._selector.unregister(slot.output)
            slot.close_output()

    def _on_message(self, slot: Slot) -> None:
        if slot.sock is None:
            return  # its end was handled in the same round of the selector
        messages = slot.read()
        if messages is None:
            # The process ends, or its application has closed the socket.
            self._selector.unregister(slot.socket())
            slot.close_socket()
            slot.kill_at = min(slot.kill_at, time.monotonic() + 5)
            return
        for message in messages:
            if "finish" in message:
                self._finished(slot, message)
            elif "progress" in message and slot.held is not None and message.get("lease") == slot.held.id:
                slot.held.report = message["progress"]
            elif "ready" in message and slot.state == STARTING:
                slot.state, slot.failures, self._restarts = IDLE, 0, 0
                self._leases.wake()

    def _close(self, slot: Slot) -> None:
        """Close the ends of a slot; an idle process ends by that."""
        for end in (slot.sock, slot.output if slot.output >= 0 else None):
            if end is not None:
                with contextlib.suppress(KeyError, ValueError):
                    self._selector.unregister(end)
        slot.close()
        slot.kill_at = time.monotonic() + 5 if slot.pid else float("inf")

    def _exited(self, slot: Slot, how: str) -> None:
        """Handle the end of a process."""
        held, state = slot.held, slot.state
        slot.read_output(1 << 22)
        verdict = slot.verdict
        if held is not None and verdict is None:
            for message in slot.drain():  # it may have ended right after its last message
                if message.get("finish", {}).get("lease") == held.id:
                    verdict = message["finish"]
        self._close(slot)
        slot.pid, slot.held, slot.kill_at, slot.killed_at = 0, None, float("inf"), float("inf")
        if state == STARTING:
            slot.failures += 1
            slot.start_at = time.monotonic() + min(0.2 * 2 ** min(slot.failures, 8), 30.0)
            log.write("ERROR", "a process ended before it was ready", slot=slot.number, how=how)
        if held is None:
            return
        if verdict is None:
            verdict = {"state": "lost", "error": f"the process of the attempt ended: {how}"}
        if verdict.get("state") == "lost" and self._leases.get(held.id) is not None:
            log.write("WARN", "the process of an attempt ended", task=held.task, how=how)
        self._report(held, dict(verdict))

    # The second process

    def _register_launcher(self) -> None:
        if self._launcher.control is not None:
            self._selector.register(self._launcher.control, selectors.EVENT_READ, self._on_reports)

    def _on_reports(self) -> None:
        reports = self._launcher.reports()
        if reports is None:
            self._launcher_ended()
            return
        for report in reports:
            if "started" in report:
                slot = self._slots[report["started"]]
                slot.pid = report["pid"]
                if slot.state in (EMPTY, ENDING):
                    system.kill_group(slot.pid)
            elif "refused" in report:
                log.write("ERROR", "cannot start a process", slot=report["refused"], error=report["error"])
                self._exited(self._slots[report["refused"]], report["error"])
            elif "exited" in report:
                slot = self._slots[report["exited"]]
                if slot.pid == report["pid"]:
                    self._exited(slot, report["how"])
                if report["left"]:
                    log.write("WARN", "killed processes that tasks had left running", pids=report["left"])
                self._launcher.reap(report["pid"])

    def _launcher_ended(self) -> None:
        """Kill what the second process has left behind, and start another one."""
        if self._launcher.control is None:
            return
        self._selector.unregister(self._launcher.control)
        status = self._launcher.close(0.5)
        for slot in self._slots:
            if slot.pid:
                system.kill_group(slot.pid)
            if slot.pid or slot.state != EMPTY:
                self._exited(slot, "the process that had started it ended")
        self._later("the process with the application has ended", status=status)

    def _later(self, message: str, **attributes: object) -> None:
        self._restarts += 1
        delay = min(0.25 * 2 ** min(self._restarts, 7), 30.0)
        self._restart_at = time.monotonic() + delay
        log.write("ERROR", message, restart_in=f"{delay:g}s", **attributes)

    def _restart(self) -> None:
        self._restart_at = float("inf")
        try:
            self._launcher.boot()
        except BootError as err:
            self._later(str(err))
            return
        self._register_launcher()
