"""What the rest of this package needs of a server."""

from __future__ import annotations

import contextlib
import urllib.parse
from typing import Any, Dict, Iterator, List, Mapping, Optional, Protocol

from ..client import Client
from ..errors import Conflict, ConnectionLost, NotFound, Unavailable
from .exceptions import OperationalError

#: Longest time in seconds that one request waits for the end of a task.
LONGEST_WAIT = 30.0


class Backend(Protocol):
    """Enqueues tasks and reads them again. Server is the one of production."""

    def enqueue(self, body: Mapping[str, Any]) -> None:
        """Accepts the body of POST /tasks. An id that exists already is no error."""

    def task(self, id: str, wait: float = 0) -> Optional[Dict[str, Any]]:
        """Returns a task object, or None if there is none.

        With wait it is returned when the task has ended, or after that many seconds.
        """

    def workflow(self, id: str) -> Optional[Dict[str, Any]]:
        """Returns a workflow object, or None if there is none."""

    def cancel(self, id: str) -> None:
        """Cancels a task. One that has ended or does not exist is no error."""

    def tasks(self, state: str) -> Iterator[Dict[str, Any]]:
        """Yields the tasks in a state."""

    def types(self) -> List[Dict[str, Any]]:
        """Returns the tasks that workers have announced."""


class Server:
    """A Backend on a server of Gale.

    A server that cannot be reached, or that accepts no tasks at the moment, is an
    OperationalError, after the client has repeated the request.
    """

    def __init__(self, client: Client) -> None:
        self.client = client

    def enqueue(self, body: Mapping[str, Any]) -> None:
        with _operational():
            self.client.transport.call("POST", "/tasks", body)

    def task(self, id: str, wait: float = 0) -> Optional[Dict[str, Any]]:
        options: Dict[str, Any] = {}
        if wait > 0:
            wait = min(wait, LONGEST_WAIT)
            options = {"query": {"wait": f"{wait:.3f}s"}, "timeout": self.client.transport.timeout + wait}
        return self._get("/tasks/" + _segment(id), **options)

    def workflow(self, id: str) -> Optional[Dict[str, Any]]:
        return self._get("/workflows/" + _segment(id))

    def _get(self, path: str, **options: Any) -> Optional[Dict[str, Any]]:
        with _operational():
            try:
                found: Dict[str, Any] = self.client.transport.call("GET", path, **options)
            except NotFound:
                return None
        return found

    def cancel(self, id: str) -> None:
        with _operational(), contextlib.suppress(NotFound, Conflict):
            self.client.cancel(id)

    def tasks(self, state: str) -> Iterator[Dict[str, Any]]:
        with _operational():
            for task in self.client.list(state=state):
                yield task.raw

    def types(self) -> List[Dict[str, Any]]:
        with _operational():
            return self.client.types()


@contextlib.contextmanager
def _operational() -> Iterator[None]:
    try:
        yield
    except (ConnectionLost, Unavailable) as err:
        raise OperationalError(str(err)) from err


def _segment(text: str) -> str:
    return urllib.parse.quote(text, safe="")
