"""Client and task worker of the Gale server.

Client enqueues tasks, stores files and uses channels. App defines tasks, and
"python3 -m gale worker MODULE:APP" runs them.
"""

from .app import App, TaskFunction, task
from .channels import Message
from .client import Client
from .errors import (
    BadRequest,
    Cancelled,
    Conflict,
    ConnectionLost,
    Fail,
    GaleError,
    NotFound,
    Release,
    ResponseError,
    Retry,
    SoftTimeLimit,
    TaskFailed,
    TooLarge,
    Unauthorized,
    Unavailable,
    WaitTimeout,
)
from .job import Job
from .task import Call, Task, Workflow

__version__ = "0.1.0"

__all__ = [
    "App",
    "BadRequest",
    "Call",
    "Cancelled",
    "Client",
    "Conflict",
    "ConnectionLost",
    "Fail",
    "GaleError",
    "Job",
    "Message",
    "NotFound",
    "Release",
    "ResponseError",
    "Retry",
    "SoftTimeLimit",
    "Task",
    "TaskFailed",
    "TaskFunction",
    "TooLarge",
    "Unauthorized",
    "Unavailable",
    "WaitTimeout",
    "Workflow",
    "task",
]
