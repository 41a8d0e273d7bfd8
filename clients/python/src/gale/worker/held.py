"""The leases that a worker holds."""

import threading
import time
from typing import Any, Callable, Dict, List, Mapping, Optional

from .output import Output

QUEUED, RUNNING, FINISHING = "queued", "running", "finishing"


class Held:
    """A lease and what is known of its attempt. Moments are those of time.monotonic."""

    def __init__(self, lease: Mapping[str, Any], now: float, safe_until: float) -> None:
        self.id: str = lease["lease"]
        self.lease = lease
        self.state = QUEUED
        self.since = now
        self.safe_until = safe_until  # by then the attempt must have ended
        timeout = lease.get("timeout") or 0
        self.hard_at = now + timeout if timeout else float("inf")
        self.soft_at = float("inf")
        self.output = Output()
        self.report: Optional[Dict[str, Any]] = None  # newest progress that was not sent
        self.spool = ""

    @property
    def task(self) -> str:
        """The id of the task."""
        return str((self.lease.get("task") or {}).get("id", ""))


class Leases:
    """All leases that a session holds. Its methods may be called by any thread."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self._all: Dict[str, Held] = {}
        self.active = 0  # how many are queued or running

    def add(self, held: Held) -> None:
        """Add a lease."""
        with self.changed:
            self._all[held.id] = held
            self.active += 1

    def finishing(self, held: Held) -> None:
        """Record that the attempt has ended, and its end is to be delivered."""
        with self.changed:
            if held.id in self._all and held.state != FINISHING:
                self.active -= 1
            held.state = FINISHING

    def remove(self, id: str) -> None:
        """Forget a lease: the server knows its end, or it is lost."""
        with self.changed:
            held = self._all.pop(id, None)
            if held is not None and held.state != FINISHING:
                self.active -= 1

    def get(self, id: str) -> Optional[Held]:
        """Return a lease, or None if it is not held."""
        with self.changed:
            return self._all.get(id)

    def ids(self, state: Optional[str] = None, before: float = float("inf")) -> List[str]:
        """Return the ids of the leases in a state, or of all, that began before a moment."""
        with self.changed:
            return [h.id for h in self._all.values() if (state is None or h.state == state) and h.since <= before]

    def select(self, wanted: Callable[[Held], bool]) -> List[Held]:
        """Return the leases that a function wants."""
        with self.changed:
            return [h for h in self._all.values() if wanted(h)]

    def prolong(self, ids: List[str], until: float) -> None:
        """Record a successful extend."""
        with self.changed:
            for id in ids:
                held = self._all.get(id)
                if held is not None:
                    held.safe_until = max(held.safe_until, until)

    def wake(self) -> None:
        """Wake the threads that wait for a change."""
        with self.changed:
            self.changed.notify_all()

    def wait(self, seconds: float) -> None:
        """Wait for a change, at most so many seconds."""
        with self.changed:
            self.changed.wait(seconds)


def now() -> float:
    """Return time.monotonic()."""
    return time.monotonic()
