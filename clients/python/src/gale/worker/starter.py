"""The second process: it imports the application and starts the processes that run tasks.

Run as "python3 -m gale.worker.starter FD MODULE:APP METHOD LOGLEVEL". FD is a socket to the
parent. With METHOD spawn, the processes that run tasks are fresh interpreters, which are run
as "python3 -m gale.worker.starter FD MODULE:APP attempt LOGLEVEL".
"""

import contextlib
import gc
import json
import logging
import os
import random
import select
import signal
import socket
import subprocess
import sys
import time
import traceback
from typing import Any, Dict, List, NoReturn, Optional, Set

from . import system
from .attempt import Runner
from .load import Application, load


class Starter:
    """Starts processes when the parent says so, and reports their end."""

    def __init__(self, control: socket.socket, place: str, method: str, level: str) -> None:
        self._control = control
        self._place = place
        self._method = method
        self._level = level
        self._own_pid = os.getpid()
        self._pids: Dict[int, int] = {}  # slots by process id
        self._ended: Set[int] = set()  # reported, and kept as zombies until the parent permits to reap
        self._kept: Set[int] = set()  # processes that the application started when it was imported
        self._fds: List[int] = []
        self._app: Any = None
        self._until: Optional[float] = None  # when the last lease of the parent ends

    def run(self) -> None:
        """Import the application, and serve the parent until it closes the socket."""
        system.become_subreaper()
        self._app = _import(self._place, self._level)
        self._kept = set(system.children())
        self._say({"tasks": self._app.announcements(), "schedules": self._app.schedules(), "pid": os.getpid()})
        if self._method == "fork":
            gc.collect()
            gc.freeze()
        wake, woken = os.pipe()
        for end in (wake, woken):
            os.set_blocking(end, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.set_wakeup_fd(woken, warn_on_full_buffer=False)
        self._private = [wake, woken]
        buffer = b""
        while True:
            self._report_ended()
            patience = None if self._until is None else max(0.0, self._until - time.monotonic())
            ready = select.select([self._control, wake], [], [], patience)[0]
            if not ready and self._until is not None:
                print("gale: the parent does not run: killing the attempts", file=sys.stderr)
                self._until = None
                for pid in self._pids:
                    system.kill_group(pid)
            if wake in ready:
                with contextlib.suppress(BlockingIOError):
                    os.read(wake, 4096)
            if self._control in ready:
                data, fds, _flags, _address = socket.recv_fds(self._control, 65536, 8)
                if not data:
                    self._end()
                self._fds.extend(fds)
                *lines, buffer = (buffer + data).split(b"\n")
                for line in lines:
                    self._obey(json.loads(line))

    def _say(self, message: Any) -> None:
        self._control.sendall(json.dumps(message).encode() + b"\n")

    def _obey(self, order: Dict[str, Any]) -> None:
        if "start" in order:
            fds, self._fds = self._fds[:2], self._fds[2:]
            try:
                pid = self._start(fds[0], fds[1])
            except OSError as err:  # for example too many processes
                self._say({"refused": order["start"], "error": str(err)})
                return
            finally:
                for fd in fds:
                    os.close(fd)
            self._pids[pid] = order["start"]
            self._say({"started": order["start"], "pid": pid})
        elif "until" in order:
            self._until = order["until"]
        elif "reap" in order:
            pid = order["reap"]
            self._ended.discard(pid)
            del self._pids[pid]
            os.waitpid(pid, 0)

    def _start(self, sock: int, output: int) -> int:
        if self._method == "spawn":
            command = [sys.executable, "-m", "gale.worker.starter", str(sock), self._place, "attempt", self._level]
            child = subprocess.Popen(
                command, pass_fds=[sock], stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
            )
            child.returncode = 0  # this object must not reap it
            return child.pid
        _flush_all()
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                os.setpgid(0, 0)
                for fd in [*self._private, self._control.fileno()]:
                    os.close(fd)
                os.dup2(output, 1)
                os.dup2(output, 2)
                os.close(output)
                null = os.open(os.devnull, os.O_RDONLY)
                os.dup2(null, 0)
                os.close(null)
                signal.set_wakeup_fd(-1)
                attempt(self._app, socket.socket(fileno=sock), self._own_pid)
                status = 0
            except BaseException:
                traceback.print_exc()
            finally:
                _flush_all()
                os._exit(status)
        with contextlib.suppress(OSError):
            os.setpgid(pid, pid)
        return pid

    def _report_ended(self) -> None:
        for pid, slot in list(self._pids.items()):
            if pid in self._ended:
                continue
            result = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if result is None:
                continue
            self._ended.add(pid)
            system.kill_group(pid)
            left = system.kill_adopted({*self._pids, *self._kept})
            number = result.si_status
            text = f"exit status {number}" if result.si_code == os.CLD_EXITED else f"signal {_signal_name(number)}"
            self._say({"exited": slot, "pid": pid, "how": text, "left": left})

    def _end(self) -> NoReturn:
        """End all processes and this one: the parent has closed the socket or has ended."""
        for pid in self._pids:
            system.kill_group(pid)
        system.kill_adopted(self._kept)
        os._exit(0)


def attempt(app: Application, sock: socket.socket, parent: int) -> None:
    """Set up this process and run tasks in it until the parent closes sock."""
    system.die_with_parent(parent)
    system.become_subreaper()
    system.prefer_for_oom_kill()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    random.seed()
    # The objects of before may believe that they write to a file.
    sys.stdout = open(1, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False)
    sys.stderr = open(2, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False)
    Runner(app, sock).run()


def _import(place: str, level: str) -> Application:
    logging.basicConfig(level=level.upper(), format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    return load(place)


def _signal_name(number: int) -> str:
    with contextlib.suppress(ValueError):
        return f"{number} ({signal.Signals(number).name})"
    return str(number)


def _flush_all() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()


def main(args: List[str]) -> int:
    """Run the process that args describe, and return its exit status."""
    sock = socket.socket(fileno=int(args[0]))
    place, method, level = args[1], args[2], args[3]
    try:
        if method == "attempt":
            attempt(_import(place, level), sock, os.getppid())
        else:
            Starter(sock, place, method, level).run()
    except BaseException:
        print(f"gale: cannot run {place}", file=sys.stderr)
        traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
