"""What a worker needs of an application: announcements, schedules, and a handler for each task."""

from __future__ import annotations

import datetime
import logging
import socket
import sys
from typing import Any, Callable, Dict, List, Optional, Tuple

from ... import errors
from .. import _errors, beat, signals, states
from .._json import plain
from .._run import attempt, seconds_until, takes_failure
from ..exceptions import TaskRevokedError, TimeLimitExceeded
from .context import Context, of_headers

_HEADERS = ("countdown", "not_before", "expires_at", "errback_of", "skip_args")
#: How errors begin that a worker or the server reports for an attempt that took too long.
_TIMED_OUT = ("the attempt was killed after its time limit", "timed out")
_FORMAT = "[%(asctime)s: %(levelname)s/%(processName)s] %(message)s"
_TASK_FORMAT = "[%(asctime)s: %(levelname)s/%(processName)s] %(task_name)s[%(task_id)s]: %(message)s"


class Worker:
    """Runs the tasks of one application."""

    def __init__(self, app: Any) -> None:
        self.app = self._app = app
        self._imported = False

    def prepare(self) -> None:
        """Imports all modules of the application; once."""
        if not self._imported:
            self._imported = True
            self._app.import_default_modules()
            self._app.finalize()

    def process_started(self) -> None:
        """Prepares this process for tasks."""
        self.prepare()
        configure_logging()
        self._app._backend = None
        signals.worker_process_init.send(sender=self._app)

    def process_stopped(self) -> None:
        """Tells the application that this process ends."""
        import os

        signals.worker_process_shutdown.send(sender=self._app, pid=os.getpid(), exitcode=0)

    def announcements(self) -> List[Dict[str, Any]]:
        """Returns the tasks in the form of POST /workers/announce."""
        self.prepare()
        return [self._announcement(task) for _, task in sorted(self._app.tasks.items())]

    def _announcement(self, task: Any) -> Dict[str, Any]:
        conf = self._app.conf
        queue = getattr(task.queue, "name", task.queue) or conf.task_default_queue
        rate = task.rate_limit if task.rate_limit is not None else conf.task_default_rate_limit
        values = {
            "name": task.name, "queue": queue, "max_retries": 100, "rate": rate_text(rate),
            "timeout": task.time_limit or conf.task_time_limit,
            "soft_timeout": task.soft_time_limit or conf.task_soft_time_limit,
        }
        return {k: v for k, v in values.items() if v}

    def schedules(self) -> List[Dict[str, Any]]:
        """Returns beat_schedule as JSON objects.

        Only the process that imports the application for the whole worker asks for them, so it is
        the one that sends worker_init and worker_ready.
        """
        self.prepare()
        signals.worker_init.send(sender=self)
        found = beat.entries(self._app)
        signals.worker_ready.send(sender=self)
        return found

    def handler(self, name: str) -> Optional[Callable[[Any], Any]]:
        """Returns the function that runs a task in a worker, or None if there is no such task."""
        task = self._app.tasks.get(name)
        return None if task is None else lambda job: run(self._app, task, job)


def rate_text(rate: Any) -> Optional[str]:
    """Returns a rate_limit as text: 10 is "10/s". None and 0 are no limit."""
    if not rate:
        return None
    return rate if isinstance(rate, str) and "/" in rate else f"{rate}/s"


def run(app: Any, task: Any, job: Any) -> Any:
    """Runs one attempt for a worker.

    Returns the result, or raises gale.Retry, gale.Fail or gale.Release.
    """
    headers = dict(job.headers)
    _end_after_time_limit(job)
    _wait_for_time(job, headers)
    args, kwargs = tuple(job.args), dict(job.kwargs)
    args = args[int(headers.get("skip_args") or 0) :]
    if "errback_of" in headers:
        args = _errback_arguments(task, args, str(headers["errback_of"]))
    context = Context(
        of_headers(headers), id=job.id, task=task.name, args=args, kwargs=kwargs, retries=job.retries, queue=job.queue,
        headers={k: v for k, v in headers.items() if k not in _HEADERS}, called_directly=False, job=job,
        hostname=socket.gethostname(), correlation_id=job.id, timelimit=[job.timeout or None, job.soft_timeout or None],
        delivery_info={"exchange": "", "routing_key": job.queue, "priority": None, "redelivered": False},
    )
    context.root_id = context.root_id or job.id
    ended = attempt(task, context, plain)
    if ended.state == states.SUCCESS:
        return None if context.ignore_result else plain(ended.value)
    if ended.state == states.RETRY:
        reason = ended.value.exc or ended.value
        raise errors.Retry(_errors.describe(reason), seconds_until(ended.value.when, datetime.timezone.utc))
    if ended.state == states.REJECTED and ended.value.requeue:
        raise errors.Release(0)
    if ended.state == states.IGNORED and context.state != states.FAILURE:
        return None
    if ended.state == states.IGNORED and context.state_meta is not None:
        raise errors.Fail(str(context.state_meta))
    raise errors.Fail(_errors.describe(ended.value))


def _end_after_time_limit(job: Any) -> None:
    """Fails a task whose last attempt took too long: in Celery that is final.

    The worker and the server report it as an attempt that may be repeated.
    """
    failures = job.raw.get("failures") or []
    last = str(failures[-1].get("error") or "") if failures else ""
    if last.startswith(_TIMED_OUT):
        raise errors.Fail(_errors.describe(TimeLimitExceeded(job.timeout or 0)))


def _wait_for_time(job: Any, headers: Dict[str, Any]) -> None:
    """Gives a task that follows another one back until its countdown or eta is over.

    Its countdown counts from the moment when it was accepted, which is the end of the task
    before it.
    """
    now = datetime.datetime.now(datetime.timezone.utc)
    if headers.get("expires_at") and now > _parse(headers["expires_at"]):
        raise errors.Fail(_errors.describe(TaskRevokedError("expired")))
    start: Optional[datetime.datetime] = None
    if headers.get("not_before"):
        start = _parse(headers["not_before"])
    elif headers.get("countdown") and job.raw.get("created"):
        start = _parse(job.raw["created"]) + datetime.timedelta(seconds=float(headers["countdown"]))
    if start is not None and start > now and not job.retries:
        raise errors.Release((start - now).total_seconds())


def _parse(text: str) -> datetime.datetime:
    from ...task import parse_time

    moment = parse_time(text)
    assert moment is not None
    return moment


def _errback_arguments(task: Any, args: Tuple[Any, ...], failed: str) -> Tuple[Any, ...]:
    """Returns the arguments of an error callback: the server puts the error text first."""
    if not args:
        return args
    if not takes_failure(task):
        return (failed, *args[1:])
    error = _errors.parse(str(args[0]))
    return (Context(id=failed, called_directly=False), error.exception, error.traceback, *args[1:])


def annotate(app: Any) -> None:
    """Applies the setting task_annotations: attributes by task name, or "*" for all."""
    setting = app.conf.task_annotations
    for one in [setting] if isinstance(setting, dict) else setting or ():
        for task in app._tasks.values() if isinstance(one, dict) else ():
            for name in ("*", task.name):
                for attribute, value in (one.get(name) or {}).items():
                    if attribute.startswith("@"):
                        raise NotImplementedError(f"task_annotations: {attribute} is not supported: use a base class")
                    setattr(task, attribute, value)


def configure_logging() -> None:
    """Prepares logging to standard error, which the worker puts into the log of the task.

    Receivers of the signal setup_logging do it instead. Else the root logger gets a handler
    if it has none, and the task logger one whose lines name the task.
    """
    from ..utils.log import TaskFormatter, task_logger

    level = logging.root.level if logging.root.handlers else logging.INFO
    fields = {"loglevel": level, "logfile": None, "colorize": False}
    if signals.setup_logging.send(sender=None, format=_FORMAT, **fields):
        return
    if not logging.root.handlers:
        logging.basicConfig(level=level, format=_FORMAT, stream=sys.stderr)
    signals.after_setup_logger.send(sender=None, logger=logging.root, format=_FORMAT, **fields)
    if not task_logger.handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(TaskFormatter(_TASK_FORMAT))
        task_logger.addHandler(handler)
        task_logger.propagate = False
    signals.after_setup_task_logger.send(sender=None, logger=task_logger, format=_TASK_FORMAT, **fields)
