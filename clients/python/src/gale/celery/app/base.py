"""The application."""

from __future__ import annotations

import inspect
import os
import sys
from typing import Any, Callable, Dict, List, NoReturn, Optional

from .. import _state, signals
from .._backend import Server
from .._run import add_autoretry
from ..exceptions import ImproperlyConfigured, NotRegistered
from ..utils.imports import add_working_directory, import_if_present, symbol_by_name
from . import _builtins, _worker
from ._publish import publish
from .configured import Configured
from .control import Control
from .task import Task

_NO_EFFECT = ("acks_late", "track_started", "priority", "compression")


class Registry(Dict[str, Any]):
    """Tasks by name."""

    def __missing__(self, key: str) -> NoReturn:
        raise NotRegistered(key)

    def regular(self) -> Any:
        """Returns names and tasks."""
        return self.items()


class Celery(Configured):
    """An application: tasks, settings, and the server that they are enqueued on.

    The server is that of the setting broker_url if it is an http, https or unix URL, else that of
    the environment variable GALE_URL; the token is that of GALE_TOKEN. A broker_url of Celery
    and the other settings of brokers and result backends have no effect.

    A worker runs the application with "python3 -m gale worker MODULE:APP".
    """

    task_cls: Any = Task
    steps: Any = {"worker": set(), "consumer": set()}
    user_options: Any = {"worker": set(), "preload": set()}

    def __init__(
        self,
        main: Optional[str] = None,
        *,
        broker: Optional[str] = None,
        include: Any = None,
        config_source: Any = None,
        namespace: Optional[str] = None,
        task_cls: Any = None,
        tasks: Any = None,
        changes: Any = None,
        set_as_current: bool = True,
        strict_typing: bool = True,
        **settings: Any,
    ) -> None:
        super().__init__()
        self.main = main
        self.finalized = self._finalizing = False
        self.strict_typing = strict_typing
        self.on_after_finalize = signals.Signal("app.on_after_finalize")
        self.on_after_fork = signals.Signal("app.on_after_fork")
        self.control = Control(self)
        self._tasks = Registry()
        self._discover: List[Callable[[], None]] = []
        if task_cls is not None:
            self.task_cls = task_cls
        self._explicit(broker_url=broker, include=include, **settings, **(changes or {}))
        if config_source is not None:
            self.config_from_object(config_source, namespace=namespace)
        _builtins.register(self)
        for made in tasks or ():
            self.register_task(made)
        self._fixups = _fixups(self)
        self._worker = _worker.Worker(self)
        _state.add_app(self, set_as_current)

    # Tasks

    @property
    def tasks(self) -> Registry:
        """The tasks by name."""
        self.finalize()
        return self._tasks

    @property
    def Task(self) -> Any:
        """The base class of tasks."""
        return symbol_by_name(self.task_cls)

    def task(self, *args: Any, **options: Any) -> Any:
        """Makes a function a task; a decorator, with or without options.

        Options: name, bind (the function gets the task first), base, queue, max_retries (default
        3; None is 100), default_retry_delay, autoretry_for, retry_kwargs, retry_backoff,
        retry_backoff_max, retry_jitter, time_limit, soft_time_limit (seconds), rate_limit
        ("10/m", over all workers), expires, ignore_result, throws, typing. Any other option
        becomes an attribute.
        """
        for name in ("lazy", "shared", "filter"):
            options.pop(name, None)
        if args and callable(args[0]):
            return self._task_from_fun(args[0], **options)
        if args:
            raise TypeError("@task() takes keyword arguments only")
        return lambda fun: self._task_from_fun(fun, **options)

    def _task_from_fun(
        self, fun: Any, name: Optional[str] = None, base: Any = None, bind: bool = False, **options: Any
    ) -> Any:
        name = name or self.gen_task_name(fun.__name__, fun.__module__)
        if name in self._tasks:
            return self._tasks[name]
        attributes = {
            "name": name, "run": fun if bind else staticmethod(fun), "bound": bind, "__doc__": fun.__doc__,
            "__module__": fun.__module__, "__wrapped__": staticmethod(fun), "abstract": False,
        }
        if not self.strict_typing:
            options.setdefault("typing", False)
        made = type(fun.__name__, (base or self.Task,), {**attributes, **options})()
        made.__name__, made.__qualname__ = fun.__name__, getattr(fun, "__qualname__", fun.__name__)
        return self._add(made, options)

    def register_task(self, task: Any, **options: Any) -> Any:
        """Adds a task made by hand, an instance or a class, and returns it."""
        made = task() if inspect.isclass(task) else task
        if not made.name:
            made.name = self.gen_task_name(type(made).__name__, type(made).__module__)
        vars(made).update(options)
        return self._add(made, options)

    def _add(self, made: Any, options: Any) -> Any:
        serializer = getattr(made, "serializer", None)
        if serializer not in (None, "json"):
            raise ImproperlyConfigured(
                f"task {made.name}: serializer={serializer!r} is not supported: arguments and results are JSON"
            )
        for option in _NO_EFFECT:
            if options.get(option) is not None:
                self.mention(f"task option {option} has no effect")
        made._app = self
        add_autoretry(made)
        self._tasks[made.name] = made
        made.on_bound(self)
        return made

    def gen_task_name(self, name: str, module: str) -> str:
        """Returns the name that a function has as a task: its module and its name."""
        if module == "__main__":
            module = self.main or _main_module()
        return f"{module}.{name}" if module else name

    def finalize(self, auto: bool = False) -> None:
        """Adds the shared tasks and applies the setting task_annotations."""
        if self.finalized:
            return
        with self._lock:
            if self.finalized or self._finalizing:
                return
            self._finalizing = True
            _state.construct(self)
            _worker.annotate(self)
        self.on_after_finalize.send(sender=self)

    def autodiscover_tasks(self, packages: Any = None, related_name: Optional[str] = "tasks", force: bool = False) -> None:
        """Imports the module tasks of each package, when a worker starts or at once with force.

        packages is a list, or a function that returns one. Without it the packages are the
        applications of Django.
        """

        def discover() -> None:
            found = packages() if callable(packages) else packages
            if not found:
                found = [name for fixup in self._fixups for name in fixup.packages()]
            for package in found or ():
                import_if_present(f"{package}.{related_name}" if related_name else package)

        if force:
            discover()
        else:
            self._discover.append(discover)

    def import_default_modules(self) -> None:
        """Imports what the settings imports and include name, and what autodiscover_tasks finds."""
        add_working_directory()
        signals.import_modules.send(sender=self)
        for setting in (self.conf.imports, self.conf.include):
            for name in [setting] if isinstance(setting, str) else setting or ():
                symbol_by_name(name + ":")
        for discover in self._discover:
            discover()

    # Calls

    def send_task(self, name: str, args: Any = None, kwargs: Any = None, task_id: Optional[str] = None, **options: Any) -> Any:
        """Enqueues a task by name; the options are those of Task.apply_async.

        It waits for a worker that has the task, as in Celery.
        """
        if self.conf.task_always_eager:
            self.mention("send_task ignores task_always_eager, as in Celery")
        return publish(self, name, tuple(args or ()), dict(kwargs or {}), self._tasks.get(name), task_id=task_id, **options)

    def signature(self, *args: Any, **kwargs: Any) -> Any:
        """Returns a signature of this application."""
        from ..canvas import signature

        kwargs["app"] = self
        return signature(*args, **kwargs)

    def AsyncResult(self, id: str, **kwargs: Any) -> Any:
        """Returns the result of the task with this id."""
        from ..result import AsyncResult

        return AsyncResult(id, app=self, **kwargs)

    def GroupResult(self, id: Optional[str] = None, results: Any = None, **kwargs: Any) -> Any:
        """Returns the result of a group."""
        from ..result import GroupResult

        return GroupResult(id, results, app=self, **kwargs)

    def ResultSet(self, results: Any) -> Any:
        """Returns several results as one."""
        from ..result import ResultSet

        return ResultSet(results, app=self)

    # Schedules

    def add_periodic_task(
        self, schedule: Any, sig: Any, args: Any = (), kwargs: Any = None, name: Optional[str] = None, **options: Any
    ) -> str:
        """Adds an entry to beat_schedule and returns its name."""
        name = name or repr(sig)
        entry = {
            "task": sig["task"], "schedule": schedule, "args": tuple(sig.args) + tuple(args),
            "kwargs": {**sig.kwargs, **(kwargs or {})}, "options": {**sig.options, **options},
        }
        self.conf.beat_schedule = {**self.conf.beat_schedule, name: entry}
        return name

    # What a worker of package gale needs

    @property
    def start_hooks(self) -> List[Callable[[], object]]:
        """Functions that each worker process calls before its first task."""
        return [self._worker.process_started]

    @property
    def stop_hooks(self) -> List[Callable[[], object]]:
        """Functions that each worker process calls at its end."""
        return [self._worker.process_stopped]

    def announcements(self) -> List[Dict[str, Any]]:
        """Returns the tasks in the form of POST /workers/announce, after all modules are imported."""
        return self._worker.announcements()

    def schedules(self) -> List[Dict[str, Any]]:
        """Returns beat_schedule as JSON objects, for gale.celery.beat."""
        return self._worker.schedules()

    def handler(self, name: str) -> Optional[Callable[[Any], Any]]:
        """Returns the function that runs a task with this name in a worker, or None."""
        return self._worker.handler(name)

    # The rest of Celery's surface

    def set_current(self) -> None:
        """Makes this the current application."""
        _state.set_current_app(self)

    set_default = set_current

    def close(self) -> None:
        """Closes idle connections to the server."""
        backend, self._backend = self._backend, None
        if isinstance(backend, Server):
            backend.client.close()

    def __enter__(self) -> "Celery":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self, argv: Any = None) -> NoReturn:
        """Not supported."""
        raise NotImplementedError("start a worker with: python3 -m gale worker MODULE:APP")

    worker_main = start

    @property
    def current_task(self) -> Any:
        """The task that this thread runs."""
        return _state.get_current_task()

    def __getattr__(self, name: str) -> NoReturn:
        if name in _UNSUPPORTED:
            raise NotImplementedError(f"app.{name} is not supported: {_UNSUPPORTED[name]}")
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __repr__(self) -> str:
        return f"<Celery {self.main or '__main__'} at {id(self):#x}>"


_UNSUPPORTED = {
    "amqp": "tasks are enqueued over HTTP; set queues by task_routes",
    "events": "use GET /tasks/{id}/watch, or the signals of this package",
    "Beat": "workers run beat_schedule",
    "Worker": "use python3 -m gale worker MODULE:APP",
    "connection": "there is no broker; use app.client",
    "connection_for_read": "there is no broker; use app.client",
    "connection_for_write": "there is no broker; use app.client",
    "connection_or_acquire": "there is no broker; use app.client",
    "pool": "there is no broker; use app.client",
    "producer_pool": "there is no broker; use app.client",
    "setup_security": "use -token and TLS of the server",
}


def _main_module() -> str:
    path = getattr(sys.modules.get("__main__"), "__file__", "") or ""
    return os.path.splitext(os.path.basename(path))[0] or "__main__"


def _fixups(app: Celery) -> List[Any]:
    if not os.environ.get("DJANGO_SETTINGS_MODULE"):
        return []
    from ..fixups.django import DjangoFixup

    return [DjangoFixup(app)]
