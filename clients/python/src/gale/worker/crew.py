"""One version of an application at work: its session, its processes, its threads."""

import threading
from typing import Any, Dict, List

from ..client import Client
from ..errors import GaleError, ResponseError
from ..transport import Transport
from . import log
from .courier import Courier
from .held import QUEUED, Held, Leases
from .options import Options
from .pool import Pool
from .session import Session

_LAST_WORDS = 10.0  # seconds in which the last ends are delivered
_LAST_LEASE = 2.0  # seconds in which the last lease call usually ends


class Crew:
    """Runs the tasks of an application until drain or stop.

    A reload makes a second one, and drains the first when the second has begun.
    """

    def __init__(self, options: Options) -> None:
        self._o = options
        self._transport = Transport(options.url, options.token, timeout=30.0, retry_time=5.0)
        self._leases = Leases()
        self._courier = Courier(self._transport, self._leases)
        self._pool = Pool(options, self._leases, finish=self._courier.finish, release=self._courier.release)
        self._stopping = threading.Event()
        self._draining = threading.Event()
        self._announcing = threading.Lock()
        self._threads: List[threading.Thread] = []
        self._session: Session
        self._hello: Dict[str, Any] = {}
        self.ended = threading.Event()

    def boot(self) -> None:
        """Import the application. BootError: it cannot be imported."""
        self._hello = self._pool.boot()

    def begin(self) -> None:
        """Announce the tasks and start to lease.

        GaleError: the server refused the announcement, or could not be reached for some seconds.
        """
        announcement = {"worker": self._o.name, "version": self._o.version, "tasks": self._hello["tasks"]}
        self._session = Session(
            self._transport,
            announcement,
            self._o.queues,
            self._leases,
            room=self._pool.room,
            on_leases=self._on_leases,
            on_ended=self._pool.end,
            on_gone=self._on_gone,
        )
        self._session.announce()
        log.write(
            "INFO",
            "worker is ready",
            worker=self._o.name,
            session=self._session.id,
            tasks=len(self._hello["tasks"]),
            concurrency=self._o.concurrency,
            queues=",".join(name for name, _ in self._o.queues),
        )
        for loop in (self._run, self._courier.loop, self._session.lease_loop, self._session.extend_loop, self._watch):
            thread = threading.Thread(target=loop, name=loop.__name__, daemon=True)
            self._threads.append(thread)
            thread.start()
        if self._hello["schedules"]:
            threading.Thread(target=self._schedule, name="schedule", daemon=True).start()

    def abandon(self) -> None:
        """End a crew that has been booted and has not begun."""
        self._pool.close()
        self._pool.remove_files()

    def drain(self) -> None:
        """Lease nothing more, and end when the running attempts have ended."""
        self._draining.set()
        self._session.drain()
        self._pool.drain()

    def stop(self) -> None:
        """Kill the running attempts and give their leases back."""
        self.drain()
        self._await_lease_loop(_LAST_LEASE)  # its last call must not lease what is given back
        self._pool.stop()

    # Threads

    def _run(self) -> None:
        """Run the pool. When it has ended, deliver what is left, and end the other threads."""
        try:
            self._pool.loop()
        except BaseException as err:
            log.write("ERROR", "the worker has failed", error=repr(err))
            self._session.drain()
            self._pool.close()
        self._session.drain()
        self._await_lease_loop(_LAST_WORDS)
        for id in self._leases.ids(QUEUED):  # came after the loop had ended
            self._courier.release(id)
        self._courier.stop(_LAST_WORDS)
        self._session.stop()
        self._stopping.set()
        self._pool.remove_files()
        self._transport.close()
        self.ended.set()

    def _await_lease_loop(self, seconds: float) -> None:
        for thread in self._threads:
            if thread.name == "lease_loop":
                thread.join(seconds)

    def _on_leases(self, held: List[Held]) -> None:
        if self._draining.is_set():
            for h in held:
                self._courier.release(h.id)
        else:
            self._pool.add(held)

    def _on_gone(self, session: str) -> None:
        """Handle a session that the server does not know: its leases are lost. Announce again."""
        with self._announcing:
            if session != self._session.id:
                return  # another thread has announced again
            log.write("WARN", "the server has forgotten the session: announcing again", session=session)
            self._pool.end(self._leases.ids(), [])
            try:
                self._session.announce()
            except GaleError as err:
                log.write("WARN", "cannot announce: trying again", error=err)

    def _watch(self) -> None:
        while not self._stopping.wait(0.1):
            self._session.watch()

    def _schedule(self) -> None:
        """Enqueue what is due. The module belongs to the package: it is no code of the application."""
        from ..celery import beat  # not needed by other applications

        client = Client(self._o.url, self._o.token)
        beat.run(client, self._hello["schedules"], self._draining)


def begin_patiently(crew: Crew, leaving: threading.Event) -> bool:
    """Begin, and try again while the server cannot be reached or has no time. False: leaving was set."""
    delay = 0.2
    while not leaving.is_set():
        try:
            crew.begin()
            return True
        except ResponseError as err:
            if err.status < 500 and err.status != 429:
                raise
            problem: GaleError = err
        except GaleError as err:
            problem = err
        log.write("WARN", "cannot announce the tasks: trying again", error=problem)
        leaving.wait(delay)
        delay = min(delay * 2, 5.0)
    return False

