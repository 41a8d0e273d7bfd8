"""Loggers of tasks."""

from __future__ import annotations

import logging

from .. import _state

base_logger = logging.getLogger("celery")
task_logger = logging.getLogger("celery.task")

__all__ = ["base_logger", "get_logger", "get_task_logger", "task_logger"]


class TaskFormatter(logging.Formatter):
    """A formatter whose records have task_id and task_name, "???" outside a task."""

    def format(self, record: logging.LogRecord) -> str:
        task = _state.get_current_task()
        record.__dict__.setdefault("task_id", task.request.id if task else "???")
        record.__dict__.setdefault("task_name", task.name if task else "???")
        return super().format(record)


def get_logger(name: str) -> logging.Logger:
    """Returns the logger with this name, below the logger "celery"."""
    logger = logging.getLogger(name)
    if logger.parent in (None, logging.root) and logger is not base_logger:
        logger.parent = base_logger
    return logger


def get_task_logger(name: str) -> logging.Logger:
    """Returns the logger of a task module, below the logger "celery.task".

    What a task logs goes to the log of that task.
    """
    if name in ("celery", "celery.task"):
        raise RuntimeError(f"Logger name {name!r} is reserved!")
    logger = get_logger(name)
    if logger.parent is base_logger:
        logger.parent = task_logger
    return logger
