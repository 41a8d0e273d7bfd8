"""The parent's side of the second process, which imports the application."""

import contextlib
import json
import os
import socket
import subprocess
import sys
from typing import Any, Dict, List, Optional

from .options import Options


class BootError(Exception):
    """The application cannot be imported."""


class Launcher:
    """Starts the second process, and starts processes through it."""

    def __init__(self, options: Options) -> None:
        self._o = options
        self._process: "Optional[subprocess.Popen[bytes]]" = None
        self._rest = b""
        self.permitted = float("inf")  # see permit
        self.control: Optional[socket.socket] = None

    def boot(self) -> Dict[str, Any]:
        """Start the process and wait until it has imported the application.

        It returns what the process says: tasks and schedules. BootError: it could not.
        """
        ours, theirs = socket.socketpair()
        command = [sys.executable, "-m", "gale.worker.starter", str(theirs.fileno())]
        command += [self._o.place, self._o.method, self._o.level]
        self._process = subprocess.Popen(
            command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, start_new_session=True, env=_environment()
        )
        theirs.close()
        ours.settimeout(self._o.boot_timeout)
        data = b""
        try:
            while b"\n" not in data:
                more = ours.recv(1 << 16)
                if not more:
                    raise BootError(f"cannot import {self._o.place}")
                data += more
        except OSError as err:
            self._give_up(ours)
            raise BootError(f"{self._o.place} was not imported within {self._o.boot_timeout:g} s") from err
        except BootError:
            self._give_up(ours)
            raise
        line, _, self._rest = data.partition(b"\n")
        ours.setblocking(False)
        self.control, self.permitted = ours, float("inf")
        hello: Dict[str, Any] = json.loads(line)
        return hello

    def _give_up(self, control: socket.socket) -> None:
        control.close()
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    @property
    def pid(self) -> int:
        """The id of the second process, 0 if there is none."""
        return self._process.pid if self._process is not None else 0

    def start(self, slot: int, fds: List[int]) -> None:
        """Start a process with a socket and the writing end of a pipe."""
        self._say({"start": slot}, fds)

    def permit(self, until: float) -> None:
        """Permit attempts to run until a moment of time.monotonic; inf when there are none.

        After it the second process kills them: the parent may have been stopped.
        """
        if self.control is not None and until != self.permitted:
            self.permitted = until
            self._say({"until": until if until != float("inf") else None}, [])

    def reap(self, pid: int) -> None:
        """Permit to reap a process whose end was reported: its id is not used here any more."""
        self._say({"reap": pid}, [])

    def _say(self, order: Dict[str, Any], fds: List[int]) -> None:
        if self.control is None:
            return
        with contextlib.suppress(OSError):
            self.control.settimeout(5.0)  # a process that does not read is stuck
            socket.send_fds(self.control, [json.dumps(order).encode() + b"\n"], fds)
        self.control.setblocking(False)

    def reports(self) -> Optional[List[Dict[str, Any]]]:
        """Return the reports that have arrived, or None if the process has ended."""
        if self.control is None:
            return None
        try:
            data = self.control.recv(1 << 16)
        except BlockingIOError:
            return []
        except OSError:
            data = b""
        if not data:
            return None
        *lines, self._rest = (self._rest + data).split(b"\n")
        return [json.loads(line) for line in lines]

    def close(self, seconds: float = 10.0) -> int:
        """End the process and all that it started, and return its exit status."""
        if self.control is not None:
            self.control.close()  # the process kills what it has started
            self.control = None
        if self._process is None:
            return 0
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()


def _environment() -> Dict[str, str]:
    """Return the environment: this package is found however the parent has found it."""
    source = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    path = os.environ.get("PYTHONPATH", "")
    if source in sys.path and source not in path.split(os.pathsep):
        path = f"{path}{os.pathsep}{source}" if path else source
    return {**os.environ, **({"PYTHONPATH": path} if path else {})}
