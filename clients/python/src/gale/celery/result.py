"""Results of tasks and groups."""

from __future__ import annotations

import contextlib
from typing import Any, Iterator

from . import _state
from ._groupresult import GroupResult, ResultSet
from ._result import AsyncResult, EagerResult, assert_will_not_block

ResultBase = AsyncResult

__all__ = [
    "AsyncResult",
    "EagerResult",
    "GroupResult",
    "ResultBase",
    "ResultSet",
    "allow_join_result",
    "assert_will_not_block",
    "denied_join_result",
    "result_from_tuple",
]


@contextlib.contextmanager
def allow_join_result() -> Iterator[None]:
    """Within this context, a task may wait for the result of another one."""
    before = _state.set_joining_allowed(True)
    try:
        yield
    finally:
        _state.set_joining_allowed(before)


@contextlib.contextmanager
def denied_join_result() -> Iterator[None]:
    """Within this context, a task may not wait for the result of another one."""
    before = _state.set_joining_allowed(False)
    try:
        yield
    finally:
        _state.set_joining_allowed(before)


def result_from_tuple(r: Any, app: Any = None) -> Any:
    """Returns the result that as_tuple described."""
    if isinstance(r, (AsyncResult, ResultSet)):
        return r
    (id, parent), nodes = r[0] if isinstance(r[0], (list, tuple)) else (r[0], None), r[1]
    above = result_from_tuple(parent, app) if parent else None
    if nodes is not None:
        return GroupResult(id, [result_from_tuple(child, app) for child in nodes], app=app, parent=above)
    return AsyncResult(id, app=app, parent=above)
