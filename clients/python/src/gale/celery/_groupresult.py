"""Results of several tasks."""

from __future__ import annotations

import time
from typing import Any, Callable, Iterable, Iterator, List, Optional

from . import _state
from ._result import AsyncResult, assert_will_not_block


class ResultSet:
    """Several results, in order."""

    def __init__(self, results: Iterable[Any], app: Any = None) -> None:
        self._app = app
        self.results: List[Any] = list(results)

    @property
    def app(self) -> Any:
        """The application of the results."""
        return self._app or (self.results[0].app if self.results else _state.get_current_app())

    def add(self, result: Any) -> None:
        """Adds a result unless it is there."""
        if result not in self.results:
            self.results.append(result)

    def remove(self, result: Any) -> None:
        """Removes a result, given itself or its id. KeyError: it is not there."""
        if result not in self.results:
            raise KeyError(result)
        self.results.remove(result)

    def discard(self, result: Any) -> None:
        """Removes a result if it is there."""
        if result in self.results:
            self.results.remove(result)

    def update(self, results: Iterable[Any]) -> None:
        """Adds several results."""
        for result in results:
            self.add(result)

    def clear(self) -> None:
        """Removes all results."""
        self.results.clear()

    def successful(self) -> bool:
        """Reports whether all tasks have succeeded."""
        return all(r.successful() for r in self.results)

    def failed(self) -> bool:
        """Reports whether a task has failed."""
        return any(r.failed() for r in self.results)

    def waiting(self) -> bool:
        """Reports whether a task has not ended."""
        return any(not r.ready() for r in self.results)

    def ready(self) -> bool:
        """Reports whether all tasks have ended."""
        return all(r.ready() for r in self.results)

    def completed_count(self) -> int:
        """Returns how many tasks have succeeded."""
        return sum(bool(r.successful()) for r in self.results)

    def maybe_throw(self, callback: Any = None, propagate: bool = True) -> None:
        """Raises the exception of the first task that has failed."""
        for r in self.results:
            r.maybe_throw(callback=callback, propagate=propagate)

    maybe_reraise = maybe_throw

    def revoke(self, connection: Any = None, terminate: bool = False, signal: Any = None, **kwargs: Any) -> None:
        """Cancels all tasks."""
        for r in self.results:
            r.revoke(terminate=terminate, signal=signal)

    def forget(self) -> None:
        """Forgets what the results know."""
        for r in self.results:
            r.forget()

    def get(
        self,
        timeout: Optional[float] = None,
        propagate: bool = True,
        interval: float = 0.5,
        callback: Optional[Callable[[str, Any], Any]] = None,
        no_ack: bool = True,
        on_message: Any = None,
        disable_sync_subtasks: bool = True,
        on_interval: Any = None,
    ) -> Optional[List[Any]]:
        """Waits until all tasks have ended and returns their results in order.

        timeout is for all of them together, in seconds. With a callback, it is called with the
        id and the result of each, and None is returned.
        """
        if disable_sync_subtasks:
            assert_will_not_block()
        end = None if timeout is None else time.monotonic() + timeout
        values: List[Any] = []
        for r in self.results:
            left = None if end is None else max(0.0, end - time.monotonic())
            value = r.get(timeout=left, propagate=propagate, interval=interval, disable_sync_subtasks=False)
            if callback is not None:
                callback(r.id, value)
            else:
                values.append(value)
        return None if callback is not None else values

    join = get
    join_native = get

    def iterate(self, timeout: Optional[float] = None, propagate: bool = True, interval: float = 0.5) -> Iterator[Any]:
        """Yields the results in the order in which the tasks end."""
        waiting = list(self.results)
        end = None if timeout is None else time.monotonic() + timeout
        while waiting:
            ended = [r for r in waiting if r.ready()]
            for r in ended:
                waiting.remove(r)
                yield r.get(propagate=propagate)
            if waiting and not ended:
                if end is not None and time.monotonic() >= end:
                    raise AsyncResult.TimeoutError("The operation timed out")
                time.sleep(interval)

    @property
    def supports_native_join(self) -> bool:
        """True."""
        return True

    def __len__(self) -> int:
        return len(self.results)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.results)

    def __getitem__(self, index: Any) -> Any:
        return self.results[index]

    def __eq__(self, other: Any) -> Any:
        return other.results == self.results if isinstance(other, ResultSet) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: [{', '.join(r.id for r in self.results)}]>"


class GroupResult(ResultSet):
    """The result of a group. id is that of the group."""

    def __init__(
        self, id: Optional[str] = None, results: Any = None, parent: Any = None, app: Any = None, **kwargs: Any
    ) -> None:
        super().__init__(results or [], app=app)
        self.id = id
        self.parent = parent

    def _join(self, end: Optional[float], interval: float, propagate: bool) -> None:
        """Waits for the members as a part of the chain of another task.

        Their exceptions are not raised: the callback of the group has a ChordError.
        """
        for r in self.results:
            for node in reversed(list(getattr(r, "_parents", tuple)())):
                node._join(end, interval, False)
            r._join(end, interval, False)

    @property
    def children(self) -> List[Any]:
        """The results of the members."""
        return self.results

    def save(self, backend: Any = None) -> "GroupResult":
        """Does nothing: the server stores groups."""
        return self

    def delete(self, backend: Any = None) -> None:
        """Does nothing: the server removes groups seven days after their end."""

    @classmethod
    def restore(cls, id: str, backend: Any = None, app: Any = None) -> Optional["GroupResult"]:
        """Returns the result of a group that was enqueued before, or None if there is none."""
        app = _state.app_or_default(app)
        found = (backend or app.backend).workflow(id)
        if found is None or found.get("kind") == "chain":
            return None
        ids = [t["id"] if isinstance(t, dict) else t for t in found.get("tasks") or []]
        return cls(id, [AsyncResult(one, app=app) for one in ids], app=app)

    def as_tuple(self) -> Any:
        """Returns the ids of the result; see result_from_tuple."""
        return (self.id, self.parent and self.parent.as_tuple()), [r.as_tuple() for r in self.results]

    def as_list(self) -> List[Any]:
        """Returns the id of the group."""
        return [self.id]

    def _parents(self) -> Iterator[Any]:
        node = self.parent
        while node is not None:
            yield node
            node = node.parent

    def __bool__(self) -> bool:
        return bool(self.id or self.results)

    def __eq__(self, other: Any) -> Any:
        if isinstance(other, GroupResult):
            return other.id == self.id and other.results == self.results and other.parent == self.parent
        return other == self.id if isinstance(other, str) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __str__(self) -> str:
        return str(self.id)

    def __repr__(self) -> str:
        return f"<GroupResult: {self.id} [{', '.join(r.id for r in self.results)}]>"

    def __reduce__(self) -> Any:
        return type(self), (self.id, self.results, self.parent)
