"""Exceptions, with Celery's names and hierarchy."""

from __future__ import annotations

import datetime
from typing import Any, Optional, Union

from ..errors import SoftTimeLimit


class CeleryWarning(UserWarning):
    """Base class of all warnings."""


class AlwaysEagerIgnored(CeleryWarning):
    """Kept for imports; never issued."""


class NotConfigured(CeleryWarning):
    """Kept for imports; never issued."""


class CeleryError(Exception):
    """Base class of all errors."""


class ImproperlyConfigured(CeleryError):
    """The configuration is wrong or asks for what Gale does not have."""


class SecurityError(CeleryError):
    """Kept for imports; never raised."""


class OperationalError(Exception):
    """The server could not be reached, or it does not accept tasks at the moment."""


class TaskPredicate(CeleryError):
    """Base class of exceptions that decide how an attempt ends."""


class Retry(TaskPredicate):
    """The task is to be run again. Raised by Task.retry.

    when is a number of seconds or the moment of the next attempt.
    """

    def __init__(
        self,
        message: Optional[str] = None,
        exc: Union[BaseException, str, None] = None,
        when: Union[float, datetime.datetime, None] = None,
        is_eager: bool = False,
        sig: Any = None,
        **kwargs: Any,
    ) -> None:
        self.message = message
        self.exc: Optional[BaseException] = None
        self.excs: Optional[str] = None
        if isinstance(exc, str):
            self.excs = exc
        elif exc is not None:
            self.exc, self.excs = exc, repr(exc)
        self.when = when
        self.is_eager = is_eager
        self.sig = sig
        super().__init__(message, exc, when, **kwargs)

    def humanize(self) -> str:
        """Returns the time of the next attempt as text."""
        return f"in {self.when}s" if isinstance(self.when, (int, float)) else f"at {self.when}"

    def __str__(self) -> str:
        if self.message:
            return self.message
        if self.excs:
            return f"Retry {self.humanize()}: {self.excs}"
        return f"Retry {self.humanize()}"

    def __reduce__(self) -> Any:
        return self.__class__, (self.message, self.exc, self.when)


RetryTaskError = Retry


class Ignore(TaskPredicate):
    """The task ends without a result. A state set by update_state before stays."""


class Reject(TaskPredicate):
    """The attempt is refused.

    With requeue the task is due again, and the attempt counts neither as failed nor as lost.
    Without it the task ends as failed.
    """

    def __init__(self, reason: Any = None, requeue: bool = False) -> None:
        self.reason = reason
        self.requeue = requeue
        super().__init__(reason, requeue)

    def __repr__(self) -> str:
        return f"reject requeue={self.requeue}: {self.reason}"


class TaskError(CeleryError):
    """A task failed, and its exception cannot be imported here."""


class QueueNotFound(KeyError, TaskError):
    """Kept for imports; a queue needs no declaration."""


class IncompleteStream(TaskError):
    """The end of a stream of results was found, but tasks are still running."""


class NotRegistered(KeyError, TaskError):
    """The application has no task with this name."""

    def __repr__(self) -> str:
        return f"Task of kind {self} never registered, please make sure it's imported."


class AlreadyRegistered(TaskError):
    """Kept for imports; never raised."""


class TimeoutError(TaskError):  # noqa: A001 (Celery's name)
    """A result did not arrive in time."""


class MaxRetriesExceededError(TaskError):
    """The task asked for a retry after its last one."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.task_args = kwargs.pop("task_args", [])
        self.task_kwargs = kwargs.pop("task_kwargs", {})
        super().__init__(*args, **kwargs)


class TaskRevokedError(TaskError):
    """The task was cancelled, so it has no result."""


class InvalidTaskError(TaskError):
    """The task has invalid data."""


class ChordError(TaskError):
    """A member of a chord failed, so its callback does not run."""


class BackendError(Exception):
    """Kept for imports; never raised."""


#: The soft time limit is over. Raised inside the task, which may clean up and return.
SoftTimeLimitExceeded = SoftTimeLimit


class TimeLimitExceeded(Exception):
    """The time limit was over, and the process of the task was killed."""


class WorkerLostError(Exception):
    """The processes of the task died again and again, so that the task is a dead letter."""


class Terminated(Exception):
    """The process of the task was ended on request."""


class WorkerTerminate(SystemExit):
    """Kept for imports; a worker ends by signals."""


class WorkerShutdown(SystemExit):
    """Kept for imports; a worker ends by signals."""


class CPendingDeprecationWarning(PendingDeprecationWarning):
    """Kept for imports; never issued."""


class CDeprecationWarning(DeprecationWarning):
    """Kept for imports; never issued."""


def reraise(tp: Any, value: BaseException, tb: Any = None) -> None:
    """Raises value with traceback tb."""
    raise value.with_traceback(tb)
