"""The attempt that a task runs in."""

import os
import re
import shutil
import tempfile
from typing import Any, BinaryIO, Dict, List, Mapping, Optional, Union

from .task import Element, element_body

NAME = re.compile(r"[A-Za-z0-9._-]{1,128}")


class Job:
    """One attempt at a task, handed to its function. Its methods may be called by any thread.

    id, name, queue, args, kwargs are those of the task; headers are those of POST /tasks.
    With tracing on, headers["traceparent"] is the span of this attempt, and the environment
    variable TRACEPARENT too. Requests of a Client in the task pass it on.
    retries counts the attempts that failed before, not those that were lost with a process.
    timeout and soft_timeout are in seconds, 0 is none. raw is the task object.
    """

    def __init__(self, lease: Mapping[str, Any], channel: "Channel") -> None:
        raw = lease.get("task") or {}
        self.raw: Dict[str, Any] = raw
        self.id: str = raw.get("id", "")
        self.name: str = raw.get("task", "")
        self.queue: str = raw.get("queue", "")
        self.args: List[Any] = raw.get("args") or []
        self.kwargs: Dict[str, Any] = raw.get("kwargs") or {}
        self.headers: Dict[str, Any] = lease.get("headers") or {}
        self.retries: int = lease.get("retries") or 0
        self.timeout: float = lease.get("timeout") or 0
        self.soft_timeout: float = lease.get("soft_timeout") or 0
        self.next_tasks: List[Dict[str, Any]] = []
        self.artifact_names: List[str] = []
        self._channel = channel

    def progress(self, percent: float, note: str = "", meta: Optional[Mapping[str, Any]] = None) -> None:
        """Report progress: 0 to 100, a text and an object, both of at most 4 KiB.

        The newest report wins; the worker sends up to two a second.
        """
        if not 0 <= percent <= 100:
            raise ValueError(f"progress {percent} is not between 0 and 100")
        self._channel.progress({"progress": int(percent), "note": note, "meta": dict(meta) if meta else None})

    def log(self, text: str) -> None:
        """Write a line to the task's log, as print does."""
        self._channel.log(text)

    def artifact(self, name: str, source: Union[bytes, str, "os.PathLike[str]", BinaryIO]) -> None:
        """Store a file with the task: bytes, the path of a file, or an open binary file.

        It is copied at once, and sent to the server when this attempt has succeeded. If the
        server refuses it, the task fails.
        """
        if not NAME.fullmatch(name) or name.startswith("."):
            raise ValueError(f"artifact name {name!r}: use letters, digits, '.', '_' and '-'")
        if isinstance(source, (str, os.PathLike)):
            self._channel.artifact(name, os.path.abspath(source))
        else:
            with tempfile.NamedTemporaryFile(prefix="gale-artifact-") as copy:
                if isinstance(source, bytes):
                    copy.write(source)
                else:
                    shutil.copyfileobj(source, copy)
                copy.flush()
                self._channel.artifact(name, copy.name)
        if name not in self.artifact_names:
            self.artifact_names.append(name)

    def next(self, element: Element) -> None:
        """Enqueue a Call, or a body of POST /tasks, in the same step as the end of this attempt.

        It is enqueued only if this attempt succeeds.
        """
        self.next_tasks.append(element_body(element))


class Channel:
    """What a Job needs of the process around it. This one keeps everything, for tests."""

    def __init__(self) -> None:
        self.reports: List[Dict[str, Any]] = []
        self.lines: List[str] = []
        self.artifacts: Dict[str, bytes] = {}

    def progress(self, report: Dict[str, Any]) -> None:
        """Handle Job.progress."""
        self.reports.append(report)

    def log(self, text: str) -> None:
        """Handle Job.log."""
        self.lines.append(text)

    def artifact(self, name: str, path: str) -> None:
        """Handle Job.artifact: path is a file that exists until this returns."""
        with open(path, "rb") as file:
            self.artifacts[name] = file.read()
