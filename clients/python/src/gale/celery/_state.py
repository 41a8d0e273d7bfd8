"""Current application and current task.

Celery's programming model has both: shared_task, current_app and current_task refer to
whatever application the process has. This module is the only one that keeps such state.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Callable, Generic, List, Optional, TypeVar

if TYPE_CHECKING:
    from .app.base import Celery
    from .app.task import Task

T = TypeVar("T")


class LocalStack(threading.local, Generic[T]):
    """A stack of which each thread has its own."""

    def __init__(self) -> None:
        self.items: List[T] = []

    def push(self, item: T) -> None:
        self.items.append(item)

    def pop(self) -> T:
        return self.items.pop()

    @property
    def top(self) -> Optional[T]:
        return self.items[-1] if self.items else None


class _State:
    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.current: Optional[Celery] = None
        self.apps: List[Celery] = []
        self.constructors: List[Callable[[Celery], Task]] = []
        self.tasks: LocalStack[Task] = LocalStack()
        self.local = threading.local()


_state = _State()


def add_app(app: Celery, current: bool) -> None:
    """Records a new application and makes it the current one if asked."""
    with _state.lock:
        _state.apps.append(app)
        if current:
            _state.current = app


def set_current_app(app: Celery) -> None:
    """Makes app the application that shared tasks belong to."""
    _state.current = app


def get_current_app() -> Celery:
    """Returns the application that was made last; if there is none, a default one."""
    if _state.current is None:
        from .app.base import Celery

        with _state.lock:
            if _state.current is None:
                Celery("default")
    assert _state.current is not None
    return _state.current


def get_current_task() -> Optional[Task]:
    """Returns the task that this thread runs, or None."""
    return _state.tasks.top


def push_task(task: Task) -> None:
    """Makes task the current task of this thread."""
    _state.tasks.push(task)


def pop_task() -> None:
    """Ends what push_task began."""
    _state.tasks.pop()


def connect_constructor(constructor: Callable[[Celery], Task]) -> None:
    """Records a shared task. Every application gets it, those that exist and those to come."""
    with _state.lock:
        _state.constructors.append(constructor)
        apps = [app for app in _state.apps if app.finalized]
    for app in apps:
        constructor(app)


def construct(app: Celery) -> None:
    """Adds all shared tasks to an application and marks it as finalized.

    One that is recorded meanwhile is added by connect_constructor.
    """
    with _state.lock:
        for constructor in _state.constructors:
            constructor(app)
        app.finalized = True


def joining_allowed() -> bool:
    """Reports whether this thread may wait for a result inside a task."""
    return bool(getattr(_state.local, "allow_join", False))


def set_joining_allowed(allowed: bool) -> bool:
    """Changes what joining_allowed returns for this thread, and returns what it was."""
    before = joining_allowed()
    _state.local.allow_join = allowed
    return before


def app_or_default(app: Optional[Celery] = None) -> Celery:
    """Returns app, or the current application if app is None."""
    return get_current_app() if app is None else app
