"""Celery's names on Gale: replace celery by gale.celery in the imports of a module.

Tasks, calls, results, workflows, settings and schedules behave as in Celery 5, with these
differences: arguments and results are JSON, a task may run again when its worker died, and a
cancelled task ends also while it runs. What is not supported raises NotImplementedError with
what to use instead.
"""

from __future__ import annotations

from . import _state
from .app import Celery, shared_task
from .app.task import Task
from .canvas import Signature, chain, chord, chunks, group, maybe_signature, signature, subtask, xmap, xstarmap
from .local import Proxy
from .utils import uuid

#: The application that was made last.
current_app = Proxy(_state.get_current_app, name="current_app")

#: The task that this thread runs; false outside a task.
current_task = Proxy(_state.get_current_task, name="current_task")

__version__ = "5.2.6"

__all__ = [
    "Celery",
    "Signature",
    "Task",
    "chain",
    "chord",
    "chunks",
    "current_app",
    "current_task",
    "group",
    "maybe_signature",
    "shared_task",
    "signature",
    "subtask",
    "uuid",
    "xmap",
    "xstarmap",
]
