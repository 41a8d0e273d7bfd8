"""Client of a server: tasks, workflows, files and channels."""

import os
import ssl
import time
import urllib.parse
import uuid
from typing import Any, Dict, Iterator, List, Mapping, Optional, Sequence, Union

from . import _websocket
from .channels import Message, events
from .errors import ConnectionLost, ResponseError, TaskFailed, WaitTimeout
from .files import Files
from .task import Call, Element, Task, Workflow, element_body, task_body
from .transport import Transport

_LONGEST_WAIT = 30.0  # of one request, in seconds; the server permits 60


def _path(*segments: str) -> str:
    return "/" + "/".join(urllib.parse.quote(s, safe="") for s in segments)


class Client(Files):
    """A client of one server. It may be used by several threads, and after a fork.

    url is http://host, https://host or unix:/path; the default is the environment variable
    GALE_URL. token is that of the server's -token; the default is GALE_TOKEN. timeout is the
    longest silence of the server in seconds. A request that may be repeated is repeated for up
    to retry_time seconds when the connection is lost or the server responds 502, 503 or 504;
    Retry-After is honoured. ssl_context replaces the default verification of https.

    All methods raise ResponseError if the server refuses the request, and ConnectionLost if
    it cannot be reached.
    """

    def __init__(
        self,
        url: Optional[str] = None,
        token: Optional[str] = None,
        *,
        timeout: float = 30.0,
        retry_time: float = 30.0,
        ssl_context: Optional[ssl.SSLContext] = None,
    ) -> None:
        url = url or os.environ.get("GALE_URL")
        if not url:
            raise ValueError("no server: give url, or set GALE_URL")
        token = token if token is not None else os.environ.get("GALE_TOKEN")
        self.transport = Transport(url, token, timeout=timeout, retry_time=retry_time, ssl_context=ssl_context)

    def close(self) -> None:
        """Close idle connections."""
        self.transport.close()

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # Tasks

    def enqueue(
        self,
        task: Union[str, Call],
        args: Sequence[Any] = (),
        kwargs: Optional[Mapping[str, Any]] = None,
        **options: Any,
    ) -> Task:
        """Enqueue a task and return it, once it is stored durably.

        task is a name with args and kwargs, or a Call. Options:

        - id: an id of your own. Without it a random one is made here, so that a request whose
          response was lost can be repeated.
        - queue, timeout (seconds), max_retries: instead of those of the task's definition.
        - countdown (seconds) or eta (datetime with a zone): the earliest start.
        - expires (seconds or datetime): the latest start; after it the task is cancelled.
        - unique, unique_for: a key; for this many seconds only one such task is accepted.
        - headers: an object of at most 8 KiB, handed to the worker.
        - link, link_error: calls accepted when the task has succeeded, or failed.
        - results: how a workflow hands results on: append, prepend or list.
        - immutable: in a workflow, do not take the result of the task before.
        - wait_for_worker: accept a name that no worker has announced; without it, NotFound.

        If a task with this id or unique key exists, it is returned.
        """
        if isinstance(task, Call):
            if args or kwargs:
                raise TypeError("enqueue: a Call has arguments of its own")
            body = task.with_options(**options).body()
        else:
            body = task_body(task, args, kwargs, **options)
        body.setdefault("id", str(uuid.uuid4()))
        return Task.from_json(self.transport.call("POST", "/tasks", body))

    def get(self, id: str) -> Task:
        """Return a task. NotFound: there is none with this id."""
        return Task.from_json(self.transport.call("GET", _path("tasks", id)))

    def wait(self, id: str, timeout: Optional[float] = None, *, check: bool = True) -> Task:
        """Wait until a task has ended, and return it.

        timeout is in seconds; None waits without end. After it WaitTimeout is raised and the task
        continues. With check, a task that did not succeed raises TaskFailed.
        """
        task = Task.from_json(self._wait(_path("tasks", id), timeout, f"task {id}"))
        if check and task.state != "success":
            raise TaskFailed(task, f"task {id} ({task.task}) is {task.state}: {task.error}")
        return task

    def _wait(self, path: str, timeout: Optional[float], what: str) -> Dict[str, Any]:
        limit = None if timeout is None else time.monotonic() + timeout
        while True:
            left = _LONGEST_WAIT if limit is None else max(0.0, min(_LONGEST_WAIT, limit - time.monotonic()))
            began = time.monotonic()
            raw: Dict[str, Any] = self.transport.call(
                "GET", path, query={"wait": f"{left:.3f}s"}, timeout=self.transport.timeout + left
            )
            if raw["state"] in ("success", "failed", "cancelled", "dead"):
                return raw
            if limit is not None and time.monotonic() >= limit:
                raise WaitTimeout(f"{what} is still {raw['state']} after {timeout} s")
            if time.monotonic() - began < left / 2:
                time.sleep(0.1)  # a process that leaves responds at once

    def watch(self, id: str) -> Iterator[Task]:
        """Yield a task now and after every change of its state or progress, until it has ended.

        Intermediate states may be missed, the final one is not. A lost connection is replaced
        for up to retry_time seconds.
        """
        since = time.monotonic()
        while True:
            try:
                for text in _websocket.messages(self.transport, _path("tasks", id, "watch")):
                    since = time.monotonic()
                    task = Task.from_json(text)
                    yield task
                    if task.ended:
                        return
            except ConnectionLost:
                if time.monotonic() - since > self.transport.retry_time:
                    raise
            except ResponseError as err:
                if err.status != 503 or time.monotonic() - since > self.transport.retry_time:
                    raise
            time.sleep(0.2)

    def cancel(self, id: str) -> Task:
        """Cancel a task. Conflict: it has ended in another state than cancelled."""
        return Task.from_json(self.transport.call("DELETE", _path("tasks", id)))

    def retry(self, id: str) -> Task:
        """Run a failed, cancelled or dead task again. Conflict: it has another state."""
        return Task.from_json(self.transport.call("POST", _path("tasks", id, "retry"), repeat=False))

    def list(
        self, *, state: Optional[str] = None, task: Optional[str] = None, queue: Optional[str] = None, limit: int = 50
    ) -> Iterator[Task]:
        """Yield tasks, the newest first. limit is the size of a page; all pages are fetched."""
        query: Optional[Dict[str, Any]] = {"state": state, "task": task, "queue": queue, "limit": limit}
        path = "/tasks"
        while True:
            page = self.transport.call("GET", path, query=query)
            for raw in page["tasks"]:
                yield Task.from_json(raw)
            if not page.get("next"):
                return
            following = urllib.parse.urlsplit(page["next"])
            path, query = "/tasks?" + following.query, None

    def types(self) -> List[Dict[str, Any]]:
        """Return the registered tasks, with a JSON Schema of their arguments."""
        types = self.transport.call("GET", "/tasks/types")
        return types["types"] if isinstance(types, dict) else types

    def log(self, id: str) -> str:
        """Return the log of a task: the last 64 KiB of all attempts."""
        with self.transport.open("GET", _path("tasks", id, "log")) as response:
            return response.read().decode("utf-8", "replace")

    # Workflows

    def chain(self, *elements: Element, id: Optional[str] = None) -> Workflow:
        """Enqueue tasks that run one after the other; each gets the result of the one before."""
        return self._workflow({"chain": [element_body(e) for e in elements]}, id)

    def group(self, *elements: Element, callback: Optional[Element] = None, id: Optional[str] = None) -> Workflow:
        """Enqueue tasks that run at the same time. callback runs last and gets all results."""
        body: Dict[str, Any] = {"group": [element_body(e) for e in elements]}
        if callback is not None:
            body["callback"] = element_body(callback)
        return self._workflow(body, id)

    def _workflow(self, body: Dict[str, Any], id: Optional[str]) -> Workflow:
        body["id"] = id or str(uuid.uuid4())
        self.transport.call("POST", "/tasks", body)
        return self.workflow(body["id"])

    def workflow(self, id: str) -> Workflow:
        """Return a workflow. NotFound: there is none with this id."""
        return Workflow.from_json(self.transport.call("GET", _path("workflows", id)))

    def wait_workflow(self, id: str, timeout: Optional[float] = None, *, check: bool = True) -> Workflow:
        """Wait until a workflow has ended, as wait does for a task."""
        flow = Workflow.from_json(self._wait(_path("workflows", id), timeout, f"workflow {id}"))
        if check and flow.state != "success":
            raise TaskFailed(flow, f"workflow {id} is {flow.state}: {flow.error}")
        return flow

    def cancel_workflow(self, id: str) -> None:
        """Cancel all tasks of a workflow. Conflict: it has ended in another state."""
        self.transport.open("DELETE", _path("workflows", id)).read()

    # Channels

    def publish(self, channel: str, message: Union[str, bytes]) -> int:
        """Publish a message, UTF-8, and return its number.

        The request is not repeated after it may have been sent: the message would be there
        twice.
        """
        body = message.encode() if isinstance(message, str) else message
        with self.transport.open("POST", _path("publish", channel), body=body, repeat=False) as response:
            return int(response.json()["seq"])

    def subscribe(self, channel: str, since: Optional[int] = None) -> Iterator[Message]:
        """Yield the messages of a channel, without end.

        since is the number of the last message that was received; the later ones follow, as far
        as the server keeps them. A lost connection is replaced, and continues after the last
        message that was yielded; a message that the server no longer keeps is reported by a
        Message with gap set.
        """
        return events(self.transport, _path("events", channel), channel, since)

    def download_artifact(self, id: str, name: str, target: Union[str, "os.PathLike[str]"]) -> int:
        """Store an artifact of a task in the file target, and return its size."""
        return self._download(_path("tasks", id, "artifacts", name), target)


