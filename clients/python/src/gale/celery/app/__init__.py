"""Applications and shared tasks."""

from __future__ import annotations

from typing import Any

from .. import _state
from .._state import app_or_default
from ..local import Proxy
from .base import Celery
from .task import Task

__all__ = ["Celery", "Task", "app_or_default", "shared_task"]


def shared_task(*args: Any, **options: Any) -> Any:
    """Makes a function a task of every application, those that exist and those to come.

    It is used as Celery.task. The result stands for the task of the current application.
    """

    def make(fun: Any) -> Any:
        def constructor(app: Celery) -> Any:
            return app._task_from_fun(fun, **options)

        _state.connect_constructor(constructor)

        def find() -> Any:
            app = _state.get_current_app()
            return app.tasks[options.get("name") or app.gen_task_name(fun.__name__, fun.__module__)]

        return Proxy(find, name=fun.__name__, doc=fun.__doc__ or "")

    for name in ("lazy", "shared"):
        options.pop(name, None)
    if args and callable(args[0]):
        return make(args[0])
    return make
