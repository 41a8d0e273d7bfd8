"""The worker's session with the server: announce, lease, extend."""

import contextlib
import random
import threading
import time
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple

from ..errors import ConnectionLost, GaleError, ResponseError
from ..transport import Transport
from . import log
from .calls import WaitingCall
from .held import RUNNING, Held, Leases

_WATCH_AFTER = 0.25  # an attempt that runs longer is watched for a cancellation


class Session:
    """Leases tasks and keeps the leases, in two threads.

    on_leases gets new leases, on_ended gets lists of lost and of cancelled leases, and on_gone is
    called with the session that the server does not know any more. room returns how many leases can
    be started now.
    """

    def __init__(
        self,
        transport: Transport,
        announcement: Mapping[str, Any],
        queues: Sequence[Tuple[str, int]],
        leases: Leases,
        *,
        room: Callable[[], int],
        on_leases: Callable[[List[Held]], None],
        on_ended: Callable[[List[str], List[str]], None],
        on_gone: Callable[[str], None],
    ) -> None:
        self._transport = transport
        self._announcement = announcement
        self._queues = queues
        self._leases = leases
        self._room = room
        self._on_leases = on_leases
        self._on_ended = on_ended
        self._on_gone = on_gone
        self._draining = threading.Event()
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._lease_call = WaitingCall(transport, "/workers/lease")
        self._extend_call = WaitingCall(transport, "/workers/extend")
        self._watched: List[str] = []  # leases of the extend call that waits
        self._extend_ends = 0.0
        self._interrupted_at = 0.0
        self.id = ""
        self.ttl = 30.0
        self.limits: Dict[str, Any] = {}

    def announce(self) -> None:
        """Begin a session. The one before, if any, is replaced."""
        body = dict(self._announcement)
        if self.id:
            body["replaces"] = self.id
        response = self._transport.call("POST", "/workers/announce", body)
        self.ttl, self.limits = float(response["ttl"]), response.get("limits") or {}
        self.id = response["session"]

    def drain(self) -> None:
        """Lease nothing more. The leases that are held are still extended."""
        self._draining.set()
        self._lease_call.interrupt()
        self._leases.wake()

    def stop(self) -> None:
        """End the threads."""
        self.drain()
        self._stopped.set()
        self._extend_call.interrupt()
        self._leases.wake()

    # Lease

    def lease_loop(self) -> None:
        """Lease tasks until drain."""
        failures = 0
        while not self._draining.is_set():
            room = self._room()
            if room <= 0:
                self._leases.wait(0.5)
                continue
            session = self.id
            try:
                self._lease(room, min(25.0, self.ttl / 2), self._draining)
                failures = 0
            except GaleError as err:
                if self._draining.is_set():
                    break
                failures = self._failed("lease", session, err, failures)
        # A response may have been lost when the call was interrupted: this one gives its leases back.
        with contextlib.suppress(GaleError):
            self._lease(1, 0.0)

    def _lease(self, room: int, wait: float, unless: Optional[threading.Event] = None) -> None:
        sent = time.monotonic()
        body = {
            "session": self.id,
            "queues": self._order(),
            "max": min(room, 500),
            "wait": wait,
            "holds": self._leases.ids(),
        }
        given = self._lease_call.send(body, wait, unless)["leases"]
        now = time.monotonic()
        held = [Held(entry, now, sent + self.ttl) for entry in given]
        for h in held:
            self._leases.add(h)
        if held:
            self._on_leases(held)

    def _order(self) -> List[str]:
        """Return the queues by priority; those with weights are in a random order."""
        if all(weight == 0 for _, weight in self._queues):
            return [name for name, _ in self._queues]
        return sorted((n for n, _ in self._queues), key=lambda n: random.random() ** (1 / self._weight(n)), reverse=True)

    def _weight(self, name: str) -> int:
        return max(1, dict(self._queues)[name])

    def _failed(self, call: str, session: str, err: GaleError, failures: int) -> int:
        """Handle an error of a call, and wait."""
        if isinstance(err, ResponseError) and err.status == 410:
            self._on_gone(session)
        elif failures in (2, 20, 200):
            log.write("WARN", f"cannot {call}: trying again", error=err)
        pause = min(0.1 * 2 ** min(failures, 5), 3.0) * (0.5 + random.random() / 2)
        self._stopped.wait(pause)
        return failures + 1

    # Extend

    def extend_loop(self) -> None:
        """Extend the leases until stop."""
        failures, wait = 0, 0.5
        previous: List[str] = []
        while not self._stopped.is_set():
            holds = self._leases.ids()
            if not holds:
                self._leases.wait(0.5)
                previous = []
                continue
            running = self._leases.ids(RUNNING, time.monotonic() - _WATCH_AFTER)
            if not running:
                wait = 0.0  # the server would report the ends of all the short attempts
            elif set(holds) <= set(previous):
                wait = min(max(wait, 0.25) * 2, self.ttl / 3)
            else:
                wait = 0.5
            previous = holds
            sent, session = time.monotonic(), self.id
            with self._lock:
                self._watched, self._extend_ends = holds, sent + wait
            try:
                ended = self._extend_call.send({"session": session, "holds": holds, "wait": wait}, wait, self._stopped)
            except GaleError as err:
                if isinstance(err, ConnectionLost) and self._interrupted():
                    # The server may have prolonged the leases; only a response proves it.
                    continue
                failures = self._failed("extend", session, err, failures)
                continue
            failures = 0
            self._leases.prolong(holds, sent + self.ttl)
            lost, cancelled = ended.get("lost") or [], ended.get("cancelled") or []
            if lost or cancelled:
                self._on_ended(lost, cancelled)
            elif time.monotonic() - sent < max(wait / 2, 0.1):
                self._stopped.wait(0.2)  # also after a process that leaves has responded at once

    def _interrupted(self) -> bool:
        return time.monotonic() - self._interrupted_at < 5

    def watch(self) -> None:
        """Make the extend call cover the attempts that run for longer than a moment.

        The parent calls it a few times a second.
        """
        now = time.monotonic()
        running = self._leases.ids(RUNNING, now - _WATCH_AFTER)
        with self._lock:
            stale = self._extend_ends - now > 0.3 and not set(running) <= set(self._watched)
        if stale:
            self._interrupted_at = now
            self._extend_call.interrupt()

