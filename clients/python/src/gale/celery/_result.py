"""Results of single tasks."""

from __future__ import annotations

import datetime
import time
from typing import Any, Callable, Dict, Iterator, List, NoReturn, Optional

from . import _errors, _state, states
from ._backend import LONGEST_WAIT
from .app.context import state_of
from .exceptions import ChordError, IncompleteStream, TaskRevokedError, TimeLimitExceeded, TimeoutError, WorkerLostError

#: Celery's words for the reasons of the server.
_REASONS = {"cancelled": "revoked", "expired before it started": "expired"}


def assert_will_not_block() -> None:
    """Raises RuntimeError inside a task, unless allow_join_result permits to wait."""
    if _state.get_current_task() is not None and not _state.joining_allowed():
        raise RuntimeError(
            "Never call result.get() within a task!\n"
            "See https://docs.celeryq.dev/en/latest/userguide/tasks.html#avoid-launching-synchronous-subtasks"
        )


def meta_of(task: Optional[Dict[str, Any]], id: str) -> Dict[str, Any]:
    """Returns a task object in the form of Celery's result backends."""
    if task is None:
        return {"status": states.PENDING, "result": None, "traceback": None, "task_id": id, "date_done": None}
    status = states.FROM_GALE.get(task["state"], states.PENDING)
    result: Any = None
    traceback: Optional[str] = None
    if status == states.SUCCESS:
        result = task.get("result")
    elif status == states.FAILURE:
        result, traceback = _failure(task)
        if isinstance(result, TaskRevokedError):  # it expired in the hands of a worker
            status, traceback = states.REVOKED, None
    elif status == states.REVOKED:
        result = TaskRevokedError(_REASONS.get(task.get("error") or "cancelled", task.get("error")))
    elif status == states.RETRY:
        result, traceback = _errors.parse(task.get("error") or "")
    elif status == states.STARTED:
        custom = state_of(task.get("note") or "")
        if custom is not None:
            status, result = custom
    return {
        "status": status, "result": result, "traceback": traceback, "task_id": id, "name": task.get("task"),
        "args": task.get("args"), "kwargs": task.get("kwargs"), "worker": task.get("worker"), "queue": task.get("queue"),
        "retries": len(task.get("failures") or []), "date_done": _time(task.get("finished")),
    }


def _failure(task: Dict[str, Any]) -> Any:
    text = task.get("error") or ""
    if task["state"] == "dead":
        return WorkerLostError(text), None
    if text.startswith("member ") and not task.get("attempts"):
        return ChordError(text), None
    if "timed out" in text and "\n" not in text:
        return TimeLimitExceeded(text), None
    return _errors.parse(text)


def _time(text: Optional[str]) -> Optional[datetime.datetime]:
    from ..task import parse_time

    return parse_time(text)


class AsyncResult:
    """The result of a task: its state, and what it returned or raised.

    It asks the server each time until the task has ended. An unknown id is PENDING, as in Celery.
    parent is the result of the task or group before it in a chain; if that has failed, so has
    this one.
    """

    TimeoutError = TimeoutError

    def __init__(
        self, id: str, backend: Any = None, task_name: Any = None, app: Any = None, parent: Any = None
    ) -> None:
        if id is None:
            raise ValueError(f"AsyncResult requires valid id, not {type(id)}")
        self.id = id
        self.app = _state.app_or_default(app)
        self.parent = parent
        self.ignored = False
        self._backend = backend
        self._cache: Optional[Dict[str, Any]] = None

    @property
    def task_id(self) -> str:
        """The id of the task."""
        return self.id

    @property
    def backend(self) -> Any:
        """The server, as this package sees it."""
        return self._backend or self.app.backend

    def _meta(self, wait: float = 0) -> Dict[str, Any]:
        if self._cache is not None:
            return self._cache
        task = self.backend.task(self.id, wait)
        meta = meta_of(task, self.id)
        if task is None and isinstance(self.parent, AsyncResult):
            before = self.parent._meta()
            if before["status"] in states.PROPAGATE_STATES:  # it never starts
                meta = {**before, "task_id": self.id, "name": None, "args": None, "kwargs": None}
        if meta["status"] in states.READY_STATES:
            self._cache = meta
        return meta

    _get_task_meta = _meta

    @property
    def state(self) -> str:
        """PENDING, STARTED, a state of update_state, RETRY, SUCCESS, FAILURE or REVOKED."""
        return states.state(self._meta()["status"])

    status = state

    @property
    def result(self) -> Any:
        """What the task returned, the exception that it raised, or the meta of update_state."""
        return self._meta()["result"]

    info = result

    @property
    def traceback(self) -> Optional[str]:
        """The traceback of a failed task as text."""
        text: Optional[str] = self._meta()["traceback"]
        return text

    @property
    def date_done(self) -> Optional[datetime.datetime]:
        """The moment when the task ended, with its zone."""
        moment: Optional[datetime.datetime] = self._meta()["date_done"]
        return moment

    @property
    def name(self) -> Any:
        """The name of the task."""
        return self._meta().get("name")

    @property
    def args(self) -> Any:
        """The positional arguments of the task."""
        return self._meta().get("args")

    @property
    def kwargs(self) -> Any:
        """The keyword arguments of the task."""
        return self._meta().get("kwargs")

    @property
    def worker(self) -> Any:
        """The worker that ran the last attempt."""
        return self._meta().get("worker")

    @property
    def retries(self) -> Any:
        """The number of attempts that failed."""
        return self._meta().get("retries")

    @property
    def queue(self) -> Any:
        """The queue of the task."""
        return self._meta().get("queue")

    @property
    def children(self) -> None:
        """Always None: the server does not record which tasks a task enqueued."""
        return None

    def ready(self) -> bool:
        """Reports whether the task has ended."""
        return self._meta()["status"] in states.READY_STATES

    def successful(self) -> bool:
        """Reports whether the task has ended with a result."""
        return bool(self._meta()["status"] == states.SUCCESS)

    def failed(self) -> bool:
        """Reports whether the task has failed."""
        return bool(self._meta()["status"] == states.FAILURE)

    def get(
        self,
        timeout: Optional[float] = None,
        propagate: bool = True,
        interval: float = 0.5,
        no_ack: bool = True,
        follow_parents: bool = True,
        callback: Optional[Callable[[str, Any], Any]] = None,
        on_message: Any = None,
        on_interval: Any = None,
        disable_sync_subtasks: bool = True,
    ) -> Any:
        """Waits until the task has ended and returns its result, or raises its exception.

        Raises TimeoutError after timeout seconds; None waits without end. With
        propagate=False the exception is returned. A failed task before it in its chain raises its
        exception too. Inside a task it is a RuntimeError, see allow_join_result. interval is
        the time between requests for an id that the server does not know yet.
        """
        if self.ignored:
            return None
        if disable_sync_subtasks:
            assert_will_not_block()
        end = None if timeout is None else time.monotonic() + timeout
        for node in reversed(list(self._parents())) if follow_parents else ():
            node._join(end, interval, propagate)
        meta = self._wait(end, interval)
        if callback is not None:
            callback(self.id, meta["result"])
        return self._outcome(meta, propagate)

    wait = get

    def _join(self, end: Optional[float], interval: float, propagate: bool) -> None:
        """Waits for the task as a part of the chain of another one."""
        self._outcome(self._wait(end, interval), propagate)

    def _wait(self, end: Optional[float], interval: float) -> Dict[str, Any]:
        while True:
            left = LONGEST_WAIT if end is None else max(0.0, min(LONGEST_WAIT, end - time.monotonic()))
            began = time.monotonic()
            meta = self._meta(left)
            if meta["status"] in states.READY_STATES:
                return meta
            if end is not None and time.monotonic() >= end:
                raise TimeoutError("The operation timed out.")
            if time.monotonic() - began < left / 2:
                pause = interval if end is None else min(interval, max(0.0, end - time.monotonic()))
                time.sleep(pause)  # the id is unknown, or a process that leaves responds at once

    def _outcome(self, meta: Dict[str, Any], propagate: bool) -> Any:
        if propagate and meta["status"] in states.PROPAGATE_STATES and isinstance(meta["result"], BaseException):
            raise meta["result"]
        return meta["result"]

    def maybe_throw(self, propagate: bool = True, callback: Any = None) -> Any:
        """Raises the exception of a task that has failed; returns the result of another one."""
        meta = self._meta()
        if callback is not None:
            callback(self.id, meta["result"])
        return self._outcome(meta, propagate)

    maybe_reraise = maybe_throw

    def _parents(self) -> Iterator[Any]:
        node = self.parent
        while node is not None:
            yield node
            node = node.parent

    def revoke(
        self, connection: Any = None, terminate: bool = False, signal: Any = None, wait: bool = False, timeout: Any = None
    ) -> None:
        """Cancels the task, also while it runs. terminate makes no difference."""
        self.backend.cancel(self.id)

    def forget(self) -> None:
        """Forgets what this object knows. The server keeps results for seven days."""
        self._cache = None
        if self.parent is not None:
            self.parent.forget()

    def as_tuple(self) -> Any:
        """Returns the ids of the result and its parents; see result_from_tuple."""
        return (self.id, self.parent and self.parent.as_tuple()), None

    def as_list(self) -> List[str]:
        """Returns the id of the result and those of its parents."""
        return [self.id] + (self.parent.as_list() if self.parent is not None else [])

    def get_leaf(self) -> Any:
        """Returns the result of the last task."""
        return self.get()

    def collect(self, intermediate: bool = False, **kwargs: Any) -> Iterator[Any]:
        """Yields the result object and its value."""
        if not self.ready() and not intermediate:
            raise IncompleteStream()
        yield self, self.get(**kwargs)

    def then(self, callback: Any, on_error: Any = None, weak: bool = False) -> NoReturn:
        """Not supported."""
        raise NotImplementedError("then is not supported: use link and link_error, or get")

    def __str__(self) -> str:
        return str(self.id)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.id}>"

    def __hash__(self) -> int:
        return hash(self.id)

    def __eq__(self, other: Any) -> Any:
        if isinstance(other, AsyncResult):
            return other.id == self.id
        return other == self.id if isinstance(other, str) else NotImplemented

    def __reduce__(self) -> Any:
        return type(self), (self.id, None, None, None, self.parent)


class EagerResult(AsyncResult):
    """The result of a task that ran in this process."""

    def __init__(self, id: str, ret_value: Any, state: str, traceback: Optional[str] = None, app: Any = None) -> None:
        super().__init__(id, app=app)
        self._cache = {
            "status": state, "result": ret_value, "traceback": traceback, "task_id": id,
            "date_done": datetime.datetime.now(datetime.timezone.utc),
        }

    def _meta(self, wait: float = 0) -> Dict[str, Any]:
        assert self._cache is not None
        return self._cache

    _get_task_meta = _meta

    def ready(self) -> bool:
        """Returns True."""
        return True

    def get(self, timeout: Any = None, propagate: bool = True, disable_sync_subtasks: bool = True, **kwargs: Any) -> Any:
        """Returns the result, or raises the exception."""
        if disable_sync_subtasks:
            assert_will_not_block()
        meta = self._meta()
        if meta["status"] == states.SUCCESS:
            return meta["result"]
        if meta["status"] in states.PROPAGATE_STATES:
            return self._outcome(meta, propagate)
        return None

    wait = get

    def _join(self, end: Optional[float], interval: float, propagate: bool) -> None:
        self._outcome(self._meta(), propagate)

    def revoke(self, *args: Any, **kwargs: Any) -> None:
        """Makes the state REVOKED."""
        self._meta()["status"] = states.REVOKED

    def forget(self) -> None:
        """Does nothing."""

    def __reduce__(self) -> Any:
        meta = self._meta()
        return EagerResult, (self.id, meta["result"], meta["status"], meta["traceback"])
