"""One attempt at a task: hooks, signals, and how it ends."""

from __future__ import annotations

import datetime
import functools
import inspect
import logging
import random
import socket
import time
from typing import TYPE_CHECKING, Any, Callable, Dict, NamedTuple, Optional, Tuple

from . import _state, signals, states
from ._errors import ExceptionInfo
from .app.context import Context
from .exceptions import Ignore, Reject, Retry
from .result import EagerResult

if TYPE_CHECKING:
    from .app.task import Task

_log = logging.getLogger("celery.app.trace")


class Ended(NamedTuple):
    """The end of an attempt. value is the result, or the exception of another state."""

    state: str
    value: Any
    info: Optional[ExceptionInfo]


def attempt(task: Task, context: Context, encode: Optional[Callable[[Any], Any]], throw: bool = False) -> Ended:
    """Runs the body of a task with its hooks and signals.

    encode, if given, checks the result; its exception fails the attempt. With throw, exceptions
    of the body are raised.
    """
    args, kwargs = context.args, context.kwargs
    began = time.monotonic()
    ended = Ended(states.FAILURE, None, None)
    _state.push_task(task)
    task.request_stack.push(context)
    try:
        signals.task_prerun.send(sender=task, task_id=context.id, task=task, args=args, kwargs=kwargs)
        ended = _body(task, context, encode, throw)
        _finish(task, context, ended, time.monotonic() - began)
        return ended
    finally:
        try:
            signals.task_postrun.send(
                sender=task, task_id=context.id, task=task, args=args, kwargs=kwargs, retval=ended.value, state=ended.state
            )
        finally:
            task.request_stack.pop()
            _state.pop_task()


def _body(task: Task, context: Context, encode: Optional[Callable[[Any], Any]], throw: bool) -> Ended:
    try:
        task.before_start(context.id, context.args, context.kwargs)
        value = task.run(*context.args, **context.kwargs) if _plain_call(task) else task(*context.args, **context.kwargs)
        if context.retry_requested is not None:
            return Ended(states.RETRY, context.retry_requested, ExceptionInfo(context.retry_requested))
        if encode is not None:
            encode(value)
        return Ended(states.SUCCESS, value, None)
    except Reject as exc:
        return Ended(states.REJECTED, exc, None)
    except Ignore as exc:
        return Ended(states.IGNORED, exc, None)
    except Retry as exc:
        if throw:
            raise
        return Ended(states.RETRY, exc, ExceptionInfo(exc))
    except Exception as exc:
        if throw:
            raise
        if context.retry_requested is not None:
            return Ended(states.RETRY, context.retry_requested, ExceptionInfo(exc))
        return Ended(states.FAILURE, exc, ExceptionInfo(exc))


def _plain_call(task: Task) -> bool:
    from .app.task import Task as Base

    return type(task).__call__ is Base.__call__


def _finish(task: Task, context: Context, ended: Ended, runtime: float) -> None:
    """Calls the hooks and signals that belong to the end, and logs it."""
    id, args, kwargs, info = context.id, context.args, context.kwargs, ended.info
    who = f"{task.name}[{id}]"
    if ended.state == states.SUCCESS:
        task.on_success(ended.value, id, args, kwargs)
        signals.task_success.send(sender=task, result=ended.value)
        _log.info("Task %s succeeded in %.6fs: %s", who, runtime, repr(ended.value)[:1024])
    elif ended.state == states.RETRY:
        reason = ended.value.exc or ended.value
        task.on_retry(reason, id, args, kwargs, info)
        signals.task_retry.send(sender=task, request=context, reason=ended.value, einfo=info)
        _log.info("Task %s retry: %s", who, ended.value)
        return
    elif ended.state == states.FAILURE:
        task.on_failure(ended.value, id, args, kwargs, info)
        signals.task_failure.send(
            sender=task, task_id=id, exception=ended.value, args=args, kwargs=kwargs,
            traceback=ended.value.__traceback__, einfo=info,
        )
        if isinstance(ended.value, tuple(task.throws or ())):
            _log.info("Task %s raised expected: %r", who, ended.value)
        else:
            _log.error("Task %s raised unexpected: %r\n%s", who, ended.value, info)
    else:
        _log.info("Task %s %s: %r", who, ended.state.lower(), ended.value)
        return
    task.after_return(ended.state, ended.value, id, args, kwargs, info)


def run_eagerly(
    task: Task,
    args: Tuple[Any, ...],
    kwargs: Dict[str, Any],
    id: str,
    retries: int,
    throw: Optional[bool],
    link: Any,
    link_error: Any,
    options: Dict[str, Any],
) -> EagerResult:
    """Runs a task, its retries and its callbacks in this thread. Nothing is waited for."""
    if throw is None:
        throw = bool(task.app.conf.task_eager_propagates)
    while True:
        context = Context(
            id=id, task=task.name, args=args, kwargs=kwargs, retries=retries, is_eager=True, called_directly=False,
            headers=options.get("headers"), hostname=socket.gethostname(), correlation_id=id, root_id=id,
            delivery_info={"is_eager": True, "exchange": None, "routing_key": options.get("queue"), "priority": None},
        )
        ended = attempt(task, context, None, throw)
        if ended.state != states.RETRY:
            break
        retries += 1
    for callback in _signatures(link) if ended.state == states.SUCCESS else []:
        callback.apply_async((ended.value,))
    for callback in _signatures(link_error) if ended.state == states.FAILURE else []:
        call_errback(callback, context, ended.value, str(ended.info))
    return EagerResult(id, ended.value, ended.state, traceback=str(ended.info) if ended.info else None, app=task.app)


def _signatures(value: Any) -> Any:
    from .canvas import maybe_signature

    if not value:
        return []
    many = value if isinstance(value, (list, tuple)) else [value]
    return [maybe_signature(one) for one in many]


def call_errback(callback: Any, request: Context, exc: Any, traceback: Optional[str]) -> None:
    """Runs a callback of link_error in this thread, with the arguments that Celery gives it."""
    task = callback.type
    if takes_failure(task):
        callback(request, exc, traceback)
    else:
        callback.apply((request.id,))


def takes_failure(task: Any) -> bool:
    """Reports whether an error callback takes (request, exc, traceback) instead of a task id.

    As in Celery, a bound task or one with a single parameter takes the id of the failed task.
    """
    if getattr(task, "bound", False):
        return False
    try:
        parameters = inspect.signature(task.run).parameters.values()
    except (TypeError, ValueError):
        return False
    if any(p.kind == p.VAR_POSITIONAL for p in parameters):
        return True
    return sum(p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in parameters) > 1


def add_autoretry(task: Any) -> None:
    """Makes exceptions of autoretry_for call retry, if the task has such exceptions."""
    expected = tuple(task.autoretry_for or ())
    if not expected:
        return
    body = task.run

    @functools.wraps(body)
    def run(*args: Any, **kwargs: Any) -> Any:
        try:
            return body(*args, **kwargs)
        except (Ignore, Retry):
            raise
        except expected as exc:
            options = dict(task.retry_kwargs or {})
            if task.retry_backoff:
                options["countdown"] = backoff(
                    int(task.retry_backoff), task.request.retries, int(task.retry_backoff_max), bool(task.retry_jitter)
                )
            if task.request.max_retries is not None:
                options["max_retries"] = task.request.max_retries
            raise task.retry(exc=exc, **options)

    task.run = run


def backoff(factor: int, retries: int, maximum: int, jitter: bool) -> int:
    """Returns the seconds before the next attempt: factor doubled for each retry, up to maximum.

    With jitter it is a random number from 0 to that.
    """
    delay = min(maximum, factor * 2 ** min(retries, 64))
    return max(0, random.randrange(delay + 1) if jitter else delay)


def seconds_until(when: Any, default: datetime.tzinfo) -> float:
    """Returns the delay of a Retry in seconds. default is the zone of a naive moment."""
    if isinstance(when, datetime.datetime):
        if when.tzinfo is None:
            when = when.replace(tzinfo=default)
        return max(0.0, (when - datetime.datetime.now(datetime.timezone.utc)).total_seconds())
    return max(0.0, float(when or 0))
