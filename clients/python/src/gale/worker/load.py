"""Find the application in a module."""

import importlib
import os
import sys
from typing import Any, Callable, Dict, List, Optional, Protocol

from ..app import App, TaskFunction
from ..job import Job


class Application(Protocol):
    """What a worker needs of an application. App has these methods.

    gale.celery.Celery has them too, and so may an adapter for another library.
    """

    start_hooks: List[Callable[[], object]]
    stop_hooks: List[Callable[[], object]]

    def announcements(self) -> List[Dict[str, Any]]:
        """Return the entries "tasks" of POST /workers/announce."""

    def schedules(self) -> List[Dict[str, Any]]:
        """Return schedules as JSON objects for gale.celery.beat.run, or an empty list."""

    def handler(self, name: str) -> Optional[Callable[[Job], Any]]:
        """Return what runs a task with this name, or None if there is none.

        Its result must be JSON. Fail ends the task as failed. Release
        gives it back. Retry, and every other
        exception, runs it again as long as max_retries permits; then it has failed.
        """


def load(place: str) -> Application:
    """Import MODULE:APP, or MODULE with an attribute app, or all TaskFunctions of MODULE.

    The working directory is the first place where modules are searched. Errors of the import
    are passed on; LookupError: there is no application or it has no tasks.
    """
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    name, _, attribute = place.partition(":")
    module = importlib.import_module(name)
    app: Any = None
    if attribute:
        app = module
        for part in attribute.split("."):
            app = getattr(app, part, None)
        if app is None:
            raise LookupError(f"module {name} has no attribute {attribute}")
    else:
        app = getattr(module, "app", None)
    if app is None:
        app = App()
        for value in vars(module).values():
            if isinstance(value, TaskFunction) and value.name not in app.tasks:
                app.add(value)
        if not app.tasks:
            raise LookupError(f"module {name} has neither an attribute app nor tasks")
    for method in ("announcements", "handler", "schedules"):
        if not callable(getattr(app, method, None)):
            raise LookupError(f"{place} is not a gale.App: it has no method {method}")
    if not app.announcements():
        raise LookupError(f"{place} has no tasks")
    return app  # type: ignore[no-any-return]
