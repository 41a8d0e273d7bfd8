"""A place in which a process runs tasks, one at a time."""

import contextlib
import os
import signal
import socket
from typing import Any, Dict, List, Optional

from . import frames, system
from .held import Held

EMPTY, STARTING, IDLE, BUSY, ENDING = "empty", "starting", "idle", "busy", "ending"


class Slot:
    """The parent's side of a process that runs tasks."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.state = EMPTY
        self.pid = 0
        self.sock: Optional[socket.socket] = None
        self.output = -1  # the reading end of the process's output
        self.held: Optional[Held] = None
        self.started = 0.0
        self.ran = 0  # tasks that the process has run
        self.verdict: Optional[Dict[str, Any]] = None  # how the attempt ends when the process has
        self.kill_at = float("inf")
        self.killed_at = float("inf")
        self.failures = 0  # processes that ended before they were ready
        self.start_at = 0.0
        self._reader = frames.Reader()

    def open(self, now: float) -> List[int]:
        """Prepare a new process and return the ends that belong to it: a socket and a pipe."""
        self.sock, other = socket.socketpair()
        self.output, writing = os.pipe()
        os.set_blocking(self.output, False)
        self.sock.setblocking(False)
        self._reader = frames.Reader()
        self.state, self.pid, self.ran, self.started = STARTING, 0, 0, now
        self.held, self.verdict = None, None
        self.kill_at = self.killed_at = float("inf")
        return [other.detach(), writing]

    def close(self) -> None:
        """Close the parent's ends: the process ends after its task."""
        self.close_socket()
        self.close_output()
        self.state = EMPTY

    def close_socket(self) -> None:
        """Close the socket."""
        if self.sock is not None:
            self.sock.close()
            self.sock = None

    def close_output(self) -> None:
        """Close the pipe of the output."""
        if self.output >= 0:
            os.close(self.output)
            self.output = -1

    def socket(self) -> "socket.socket":
        """Return the socket of an open slot."""
        if self.sock is None:
            raise RuntimeError("the slot is closed")
        return self.sock

    def send(self, message: Any) -> bool:
        """Send a message. False: the process has ended, or does not read."""
        if self.sock is None:
            return False
        data = frames.encode(message)
        try:
            sent = self.sock.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            return False
        if sent == len(data):
            return True
        try:
            self.sock.settimeout(5.0)  # an idle process reads at once
            self.sock.sendall(data[sent:])
        except OSError:
            return False
        finally:
            with contextlib.suppress(OSError):
                self.sock.setblocking(False)
        return True

    def read(self) -> Optional[List[Any]]:
        """Return the messages that have arrived, or None at the end of the stream."""
        if self.sock is None:
            return None
        try:
            data = self.sock.recv(frames.BLOCK)
            return self._reader.feed(data) if data else None
        except BlockingIOError:
            return []
        except (OSError, ValueError):
            return None

    def drain(self) -> List[Any]:
        """Return the messages that a process has left at its end, at most 4 MiB."""
        messages: List[Any] = []
        for _ in range(64):
            got = self.read()
            if got is None:
                break
            messages += got
        return messages

    def read_output(self, limit: int = 1 << 18) -> bool:
        """Read output, and report whether the pipe is still open."""
        while limit > 0 and self.output >= 0:
            try:
                data = os.read(self.output, 1 << 16)
            except BlockingIOError:
                return True
            except OSError:
                return False
            if not data:
                return False
            limit -= len(data)
            if self.held is not None:
                self.held.output.add(data)
            else:
                with contextlib.suppress(OSError):
                    os.write(2, data)  # of hooks and imports
        return True

    def interrupt(self, what: str) -> None:
        """Raise an exception inside the attempt: "soft" or "cancelled"."""
        if self.held is not None and self.pid and self.send({"raise": what, "lease": self.held.id}):
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGUSR1)

    def kill(self, now: float) -> None:
        """Kill the process and its group. The starter reports its end.

        A process can be ready, and run a task, before its pid is known. It is then killed when the
        starter reports the pid.
        """
        self.kill_at = float("inf")
        if self.pid or self.state != EMPTY:
            self.state, self.killed_at = ENDING, min(self.killed_at, now)
            if self.pid:
                system.kill_group(self.pid)
