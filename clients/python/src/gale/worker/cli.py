"""The command line of the worker."""

import argparse
import os
import queue
import re
import signal
import socket
import sys
import threading
from typing import List, Optional, Sequence, Tuple

from ..errors import GaleError
from . import log, system
from .crew import Crew, begin_patiently
from .launcher import BootError
from .options import Options

_NAME = re.compile(r"[A-Za-z0-9._-]{1,128}")


def parse_queues(text: str) -> List[Tuple[str, int]]:
    """Parse "high,low" (in order of priority, weight 0) or "high=6,low=1"."""
    queues: List[Tuple[str, int]] = []
    weighted = "=" in text
    for part in text.split(","):
        name, equals, weight = part.strip().partition("=")
        if not _NAME.fullmatch(name):
            raise argparse.ArgumentTypeError(f"queue {name!r}: use letters, digits, '.', '_' and '-'")
        if equals and not (weight.isdigit() and 1 <= int(weight) <= 1000):
            raise argparse.ArgumentTypeError(f"queue {name}: weight {weight!r} is not a number from 1 to 1000")
        if name in dict(queues):
            raise argparse.ArgumentTypeError(f"queue {name} is given twice")
        queues.append((name, int(weight or 1) if weighted else 0))
    return queues


def _number(low: float, unit: int = 1) -> "type[int]":
    def parse(text: str) -> int:
        value = int(text)
        if value < low:
            raise argparse.ArgumentTypeError(f"{text} is less than {low:g}")
        return value * unit

    parse.__name__ = "number"
    return parse  # type: ignore[return-value]


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 <= value < 1e9:
        raise argparse.ArgumentTypeError(f"{text} is not a number of seconds")
    return value


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    top = argparse.ArgumentParser(prog="python3 -m gale")
    p = top.add_subparsers(dest="verb", required=True).add_parser(
        "worker", help="run the tasks of an application", formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    env = os.environ
    p.add_argument("application", metavar="MODULE[:APP]", help="the application; the default of APP is app")
    p.add_argument("-c", "--concurrency", type=_number(1), default=os.cpu_count() or 1, help="number of tasks that run at the same time")
    p.add_argument("-Q", "--queues", type=parse_queues, default=env.get("GALE_QUEUES") or "default", help="queues in order of priority (high,low), or with weights (high=6,low)")
    p.add_argument("-P", "--pool", choices=("fork", "spawn"), default="fork" if sys.platform == "linux" else "spawn", help="how processes start: forks of one that has imported the application, or fresh interpreters")
    p.add_argument("-n", "--name", default=env.get("GALE_WORKER") or f"{socket.gethostname()}:{os.getpid()}", help="name of the worker")
    p.add_argument("--app-version", default=env.get("GALE_APP_VERSION", ""), help="version of the application, shown with the worker")
    p.add_argument("-l", "--log-level", default="info", choices=("debug", "info", "warning", "error"), help="level of the root logger of the application")
    p.add_argument("--url", default=env.get("GALE_URL", ""), help="server: http://host, https://host or unix:/path; environment GALE_URL")
    p.add_argument("--max-tasks", type=_number(0), default=0, help="replace a process after so many tasks; 0 is never")
    p.add_argument("--max-rss", type=_number(0, 1 << 20), default=0, metavar="MIB", help="replace a process after a task that leaves it with more memory; 0 is never")
    p.add_argument("--kill-rss", type=_number(0, 1 << 20), default=0, metavar="MIB", help="kill a process whose task needs more memory: the attempt is lost; 0 is never")
    p.add_argument("--boot-timeout", type=_seconds, default=60.0, metavar="SECONDS", help="time to import the application")
    p.add_argument("--grace", type=_seconds, default=0.0, metavar="SECONDS", help="time for running tasks after TERM; then they are given back; 0 is no limit")
    return top


def options(args: Sequence[str]) -> Options:
    """Parse the command line. Errors end the process with status 2."""
    top = parser()
    a = top.parse_args(args)
    if not a.url:
        top.error("no server: set --url or GALE_URL")
    return Options(
        place=a.application, concurrency=a.concurrency, queues=a.queues, method=a.pool, name=a.name, version=a.app_version,
        level=a.log_level, max_tasks=a.max_tasks, max_rss=a.max_rss, kill_rss=a.kill_rss, boot_timeout=a.boot_timeout,
        grace=a.grace, url=a.url, token=os.environ.get("GALE_TOKEN", ""),
    )  # fmt: skip


class _Worker:
    """The parent: it handles signals, and replaces the crew when the application is reloaded."""

    def __init__(self, o: Options) -> None:
        self._o = o
        self._signals: "queue.SimpleQueue[int]" = queue.SimpleQueue()
        self._leaving = threading.Event()
        self._old: List[Crew] = []
        self._crew: Optional[Crew] = None

    def run(self) -> int:
        """Run until TERM or INT, and return the exit status."""
        system.become_subreaper()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._on_signal)
        try:
            crew = self._boot()
            if not begin_patiently(crew, self._leaving):
                crew.abandon()
                return 0
        except (BootError, GaleError, ValueError) as err:
            log.write("ERROR", "cannot start the worker", error=err)
            return 1
        self._crew = crew
        return self._serve()

    def _on_signal(self, number: int, _frame: object) -> None:
        if number != signal.SIGHUP:
            self._leaving.set()
        self._signals.put(number)

    def _boot(self) -> Crew:
        crew = Crew(self._o)
        crew.boot()
        return crew

    def _serve(self) -> int:
        crew = self._crew
        assert crew is not None
        while not crew.ended.is_set():
            number = self._next(0.2)
            if number == signal.SIGHUP:
                self._reload()
                crew = self._crew or crew
            elif number:
                return self._leave()
        log.write("ERROR", "the worker has ended by itself")
        return 1

    def _next(self, seconds: float) -> int:
        try:
            return self._signals.get(timeout=seconds)
        except queue.Empty:
            return 0

    def _reload(self) -> None:
        """Import the application again; keep the old one if that fails."""
        log.write("INFO", "reloading the application")
        crew = None
        try:
            crew = self._boot()
            crew.begin()
        except (BootError, GaleError) as err:
            log.write("ERROR", "reload failed: the old application stays", error=err)
            if crew is not None:
                crew.abandon()
            return
        old, self._crew = self._crew, crew
        self._old = [c for c in self._old if not c.ended.is_set()]
        if old is not None:
            old.drain()
            self._old.append(old)
        log.write("INFO", "reloaded the application")

    def _leave(self) -> int:
        """Drain; after the grace period or a second signal, give back what still runs."""
        crews = [*self._old, *([self._crew] if self._crew else [])]
        log.write("INFO", "draining")
        for crew in crews:
            crew.drain()
        limit = self._o.grace or float("inf")
        waited = 0.0
        while not all(c.ended.is_set() for c in crews):
            number = self._next(0.1)
            waited += 0.1
            if number in (signal.SIGTERM, signal.SIGINT) or waited >= limit:
                log.write("WARN", "giving back the tasks that still run", reason="signal" if number else "grace")
                for crew in crews:
                    crew.stop()
                limit = float("inf")
        log.write("INFO", "worker has ended")
        return 0


def main(args: Sequence[str]) -> int:
    """Run the command line and return the exit status."""
    return _Worker(options(args)).run()
