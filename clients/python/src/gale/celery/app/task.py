"""Tasks: the class behind @app.task and @shared_task."""

from __future__ import annotations

import datetime
import inspect
from typing import Any, ClassVar, Dict, NoReturn, Optional, Tuple

from .. import _state
from .._run import run_eagerly
from ..exceptions import MaxRetriesExceededError, OperationalError, Retry
from ..result import AsyncResult, EagerResult
from ..utils import uuid
from ._publish import publish
from .context import Context

__all__ = ["Context", "Task"]


class Task:
    """A task. A class that inherits from it defines run; a decorator makes one of a function.

    Class attributes are defaults that a subclass or the decorator's options replace. Options
    that Gale does not know become attributes, as in Celery. There is one instance for each task,
    which all threads share.
    """

    abstract: ClassVar[bool] = True
    MaxRetriesExceededError: ClassVar[Any] = MaxRetriesExceededError
    OperationalError: ClassVar[Any] = OperationalError

    name: Any = None
    typing: bool = True
    max_retries: Optional[int] = 3
    default_retry_delay: float = 180
    autoretry_for: Tuple[Any, ...] = ()
    retry_kwargs: Dict[str, Any] = {}
    retry_backoff: Any = False
    retry_backoff_max: int = 600
    retry_jitter: bool = True
    rate_limit: Any = None
    ignore_result: Any = None
    queue: Any = None
    expires: Any = None
    time_limit: Optional[float] = None
    soft_time_limit: Optional[float] = None
    throws: Tuple[Any, ...] = ()
    priority: Any = None
    track_started: Any = None
    acks_late: Any = None
    trail: bool = True

    _app: Any = None

    def __init__(self) -> None:
        self.request_stack: _state.LocalStack[Context] = _state.LocalStack()
        self._default_request = Context()

    @property
    def app(self) -> Any:
        """The application of the task."""
        return self._app or _state.get_current_app()

    @classmethod
    def on_bound(cls, app: Any) -> None:
        """Called when the task becomes a task of app."""

    def run(self, *args: Any, **kwargs: Any) -> Any:
        """The body of the task."""
        raise NotImplementedError("Tasks must define the run method.")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Runs the body here and now, as a plain function call."""
        _state.push_task(self)
        self.request_stack.push(Context(args=args, kwargs=kwargs))
        try:
            return self.run(*args, **kwargs)
        finally:
            self.request_stack.pop()
            _state.pop_task()

    @property
    def request(self) -> Context:
        """The attempt that this thread runs."""
        return self.request_stack.top or self._default_request

    def push_request(self, *args: Any, **kwargs: Any) -> None:
        """Makes a Context of the arguments the current request; for tests."""
        self.request_stack.push(Context(*args, **kwargs))

    def pop_request(self) -> None:
        """Ends what push_request began."""
        self.request_stack.pop()

    # Calls

    def delay(self, *args: Any, **kwargs: Any) -> Any:
        """Enqueues the task with these arguments."""
        return self.apply_async(args, kwargs)

    def apply_async(
        self, args: Any = None, kwargs: Any = None, task_id: Optional[str] = None, **options: Any
    ) -> AsyncResult:
        """Enqueues the task and returns its result, which can be waited for.

        Options: countdown (seconds), eta (datetime), expires (seconds or datetime), queue,
        headers, link, link_error, ignore_result, time_limit (seconds). A naive datetime is
        in UTC, or in the setting timezone if enable_utc is off. Raises TypeError for arguments
        that the task does not take, and OperationalError if the server cannot be reached.
        """
        args, kwargs = tuple(args or ()), dict(kwargs or {})
        if self.typing:
            self.check_arguments(args, kwargs)
        if self.app.conf.task_always_eager:
            return self.apply(args, kwargs, task_id=task_id or uuid(), **options)
        return publish(self.app, self.name, args, kwargs, self, task_id=task_id, **options)

    def check_arguments(self, args: Tuple[Any, ...], kwargs: Dict[str, Any]) -> None:
        """Raises TypeError if the body cannot be called with these arguments."""
        try:
            signature = inspect.signature(self.run)
        except ValueError:
            return
        try:
            signature.bind(*args, **kwargs)
        except TypeError as err:
            raise TypeError(f"{getattr(self, '__name__', self.name)}() {err}") from None

    def apply(
        self,
        args: Any = None,
        kwargs: Any = None,
        link: Any = None,
        link_error: Any = None,
        task_id: Optional[str] = None,
        retries: int = 0,
        throw: Optional[bool] = None,
        **options: Any,
    ) -> EagerResult:
        """Runs the task here and now, retries included, and returns its result.

        With throw, by default the setting task_eager_propagates, its exception is raised.
        """
        return run_eagerly(
            self, tuple(args or ()), dict(kwargs or {}), task_id or uuid(), retries, throw, link, link_error, options
        )

    def AsyncResult(self, task_id: str, **kwargs: Any) -> AsyncResult:
        """Returns the result of the task with this id."""
        return AsyncResult(task_id, app=self.app, task_name=self.name, **kwargs)

    # Signatures

    def signature(self, args: Any = None, *starargs: Any, **starkwargs: Any) -> Any:
        """Returns a signature: a call that can be passed on and combined."""
        from ..canvas import signature

        starkwargs.setdefault("app", self.app)
        return signature(self, args, *starargs, **starkwargs)

    subtask = signature

    def s(self, *args: Any, **kwargs: Any) -> Any:
        """Returns a signature with these arguments. In a workflow results come before them."""
        return self.signature(args, kwargs)

    def si(self, *args: Any, **kwargs: Any) -> Any:
        """Returns an immutable signature: it takes no results of other tasks."""
        return self.signature(args, kwargs, immutable=True)

    def chunks(self, it: Any, n: int) -> Any:
        """Returns a group whose tasks run n calls each, one for each argument tuple of it."""
        from ..canvas import chunks

        return chunks(self.s(), it, n, app=self.app)

    def map(self, it: Any) -> Any:
        """Returns the signature of one task that calls this one for each element of it."""
        from ..canvas import xmap

        return xmap(self.s(), it, app=self.app)

    def starmap(self, it: Any) -> Any:
        """Returns the signature of one task that calls this one for each argument tuple of it."""
        from ..canvas import xstarmap

        return xstarmap(self.s(), it, app=self.app)

    # Inside an attempt

    def retry(
        self,
        args: Any = None,
        kwargs: Any = None,
        exc: Optional[BaseException] = None,
        throw: bool = True,
        eta: Optional[datetime.datetime] = None,
        countdown: Optional[float] = None,
        max_retries: Optional[int] = None,
        **options: Any,
    ) -> Retry:
        """Ends the attempt and runs the task again, by raising Retry.

        The next attempt starts after countdown seconds, by default default_retry_delay, or at
        eta. When no retries are left, exc is raised, or MaxRetriesExceededError without
        one. With throw=False the Retry is returned, the attempt goes on, and the task is run
        again whatever its end.

        The task keeps its arguments and its queue; others are a NotImplementedError.
        """
        request = self.request
        if request.called_directly:
            raise exc or Retry("Task can be retried", None)
        _check_unchanged(self, args, kwargs, options)
        if max_retries is not None:
            request.max_retries = max_retries
        limit = self.max_retries if max_retries is None else max_retries
        if limit is not None and request.retries + 1 > limit:
            if exc is not None:
                raise exc
            raise self.MaxRetriesExceededError(
                f"Can't retry {self.name}[{request.id}] args:{tuple(request.args)} kwargs:{request.kwargs}",
                task_args=request.args,
                task_kwargs=request.kwargs,
            )
        if eta is None and countdown is None:
            countdown = self.default_retry_delay
        again = Retry(exc=exc, when=countdown if eta is None else eta, is_eager=request.is_eager)
        if throw:
            raise again
        request.retry_requested = again
        return again

    def update_state(self, task_id: Optional[str] = None, state: Optional[str] = None, meta: Any = None) -> None:
        """Reports progress: a state of the application's own, such as "PROGRESS", and its meta.

        AsyncResult has them as state and info. A meta with the numbers current and total also
        sets the progress in percent.
        """
        request = self.request
        if task_id is not None and task_id != request.id:
            raise NotImplementedError("update_state: a task can only change its own state")
        request.set_state(state or "", meta)

    def replace(self, sig: Any) -> NoReturn:
        """Not supported."""
        raise NotImplementedError("replace is not supported: enqueue the signature and return its id, or use a chain")

    def add_to_chord(self, sig: Any, lazy: bool = False) -> NoReturn:
        """Not supported."""
        raise NotImplementedError("add_to_chord is not supported: make a chord of all members before it is enqueued")

    def send_event(self, type_: str, **fields: Any) -> NoReturn:
        """Not supported."""
        raise NotImplementedError("send_event is not supported: use update_state, or publish to a channel by gale.Client")

    # Hooks

    def before_start(self, task_id: str, args: Any, kwargs: Any) -> None:
        """Called before the body."""

    def on_success(self, retval: Any, task_id: str, args: Any, kwargs: Any) -> None:
        """Called when the body has returned."""

    def on_retry(self, exc: BaseException, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        """Called when the task will be run again; exc is the exception given to retry."""

    def on_failure(self, exc: BaseException, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        """Called when the task has failed."""

    def after_return(self, status: str, retval: Any, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        """Called after an attempt that succeeded or failed; einfo is None unless it failed."""

    def __repr__(self) -> str:
        return f"<@task: {self.name} of {self.app.main or 'default'}>"

    def __reduce__(self) -> Any:
        return _by_name, (self.name,)


def _by_name(name: str) -> Any:
    return _state.get_current_app().tasks[name]


def _check_unchanged(task: Task, args: Any, kwargs: Any, options: Dict[str, Any]) -> None:
    request = task.request
    if (args is not None and list(args) != list(request.args)) or (kwargs is not None and kwargs != request.kwargs):
        raise NotImplementedError(
            f"{task.name}: retry with other arguments is not supported: enqueue a new task with apply_async"
        )
    for name in ("queue", "routing_key", "link", "link_error", "time_limit", "soft_time_limit", "task_id"):
        if options.get(name) not in (None, getattr(request, "queue", None) if name == "queue" else None):
            raise NotImplementedError(f"{task.name}: retry with {name} is not supported: the task keeps its own")
