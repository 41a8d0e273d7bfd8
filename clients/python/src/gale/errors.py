"""Exceptions of package gale."""

from typing import Optional


class GaleError(Exception):
    """Base class of the errors of this package."""


class ConnectionLost(GaleError):
    """The server could not be reached, or the connection ended before the response did.

    Requests that may be repeated have been repeated before this is raised.
    """


class ResponseError(GaleError):
    """The server refused a request.

    status is the HTTP status. code and reason are those of the response's JSON object; code
    is the HTTP status if the response has none.
    """

    def __init__(self, status: int, code: int, reason: str, retry_after: Optional[float] = None) -> None:
        super().__init__(status, code, reason)
        self.status = status
        self.code = code
        self.reason = reason
        self.retry_after = retry_after

    def __str__(self) -> str:
        return f"{self.reason} (status {self.status}, code {self.code})"


class BadRequest(ResponseError):
    """Status 400: wrong arguments, names or options."""


class Unauthorized(ResponseError):
    """Status 401 or 403: the token is missing, wrong or not sufficient."""


class NotFound(ResponseError):
    """Status 404: there is no such task, file, route or task name."""


class Conflict(ResponseError):
    """Status 409: the file exists, the task has ended, or the id is taken."""


class TooLarge(ResponseError):
    """Status 413: the body, file or result exceeds a limit of the server."""


class Unavailable(ResponseError):
    """Status 429, 502, 503, 504 or 507: the server is busy, or lacks something it needs."""


class TaskFailed(GaleError):
    """A task ended in another state than success. task is its last task object."""

    def __init__(self, task: "object", message: str) -> None:
        super().__init__(task, message)
        self.task = task
        self.message = message

    def __str__(self) -> str:
        return self.message


class WaitTimeout(GaleError, TimeoutError):
    """A task or workflow did not end within the given time. It continues."""


class Retry(Exception):
    """Raised by a task: end this attempt and run the task again.

    The next attempt starts after delay seconds, or after the server's backoff if delay is
    None. If no retries are left, the task fails with this reason.
    """

    def __init__(self, reason: str = "retry", delay: Optional[float] = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.delay = delay


class Fail(Exception):
    """Raised by a task: fail now, also if retries are left."""


class Release(Exception):
    """Raised by a task: end this attempt and run the task again after delay seconds.

    The attempt counts neither as failed nor as lost.
    """

    def __init__(self, delay: float = 0.0) -> None:
        super().__init__(delay)
        self.delay = delay


class SoftTimeLimit(Exception):
    """Raised inside a task when its soft time limit has passed."""


class Cancelled(BaseException):
    """Raised inside a task that has been cancelled, or whose lease is lost.

    Half a second later the process is killed. It is a BaseException, so that
    "except Exception" does not catch it.
    """


_BY_STATUS = {
    400: BadRequest,
    401: Unauthorized,
    403: Unauthorized,
    404: NotFound,
    409: Conflict,
    413: TooLarge,
    429: Unavailable,
    502: Unavailable,
    503: Unavailable,
    504: Unavailable,
    507: Unavailable,
}


def response_error(status: int, code: int, reason: str, retry_after: Optional[float] = None) -> ResponseError:
    """Return the exception of a response with this status."""
    return _BY_STATUS.get(status, ResponseError)(status, code, reason, retry_after)
