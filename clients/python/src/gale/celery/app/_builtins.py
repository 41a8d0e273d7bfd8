"""Tasks that every application has, because workflows are made of them."""

from __future__ import annotations

from typing import Any, List


def register(app: Any) -> None:
    """Adds the tasks to an application."""
    from ..canvas import maybe_signature

    def map_(task: Any, it: Any) -> List[Any]:
        call = maybe_signature(task, app).type
        return [call(item) for item in it]

    def starmap(task: Any, it: Any) -> List[Any]:
        call = maybe_signature(task, app).type
        return [call(*item) for item in it]

    def accumulate(*args: Any, **kwargs: Any) -> Any:
        index = kwargs.get("index")
        return args[index] if index is not None else list(args)

    def ping() -> str:
        return "pong"

    for name, fun in (("ping", ping), ("map", map_), ("starmap", starmap), ("accumulate", accumulate)):
        app._task_from_fun(fun, name=f"celery.{name}")
