"""Signals: functions that are called when something happens, as in Celery.

Signals of tasks are sent in the process that runs the task, before_task_publish and
after_task_publish in the process that enqueues. worker_init and worker_ready are sent in the
process that imports the application, by a sender with the attribute app;
worker_process_init and worker_process_shutdown in each process that runs tasks. These names
exist so that modules can connect to them, and are never sent: task_sent, task_received,
task_internal_error, task_revoked, task_rejected, task_unknown, worker_shutting_down,
worker_shutdown, celeryd_init, celeryd_after_setup, heartbeat_sent, beat_init,
beat_embedded_init, user_preload_options.
"""

from __future__ import annotations

import logging
import weakref
from typing import Any, Callable, List, Optional, Tuple

_log = logging.getLogger("celery")


class Signal:
    """A list of receivers.

    A receiver is called as receiver(signal=…, sender=…, **fields). An exception of a receiver is
    logged and does not reach the sender.
    """

    def __init__(self, name: str = "", providing_args: Any = None, use_caching: bool = False) -> None:
        self.name = name
        self._receivers: List[Tuple[Callable[[], Any], Any, Any]] = []

    def connect(self, *args: Any, **kwargs: Any) -> Any:
        """Adds a receiver; also a decorator, with or without arguments.

        sender limits the calls to one sender (for task_* signals the task or its name). By
        default the signal holds a weak reference; weak=False keeps the receiver alive.
        dispatch_uid is a key that prevents a second connection of the same receiver.
        """

        def add(fun: Any) -> Any:
            self._connect(fun, **kwargs)
            return fun

        if args and callable(args[0]):
            if len(args) > 1:
                kwargs.setdefault("sender", args[1])
            return add(args[0])
        return add

    def _connect(
        self, fun: Any, sender: Any = None, weak: bool = True, dispatch_uid: Any = None, retry: bool = False
    ) -> None:
        key = dispatch_uid or _identity(fun)
        if any(k == key and s == sender for _, s, k in self._live()):
            return
        reference: Callable[[], Any]
        if not weak:
            reference = _strong(fun)
        elif hasattr(fun, "__self__") and hasattr(fun, "__func__"):
            reference = weakref.WeakMethod(fun)
        else:
            reference = weakref.ref(fun)
        self._receivers.append((reference, sender, key))

    def disconnect(
        self, receiver: Any = None, sender: Any = None, weak: Optional[bool] = None, dispatch_uid: Any = None
    ) -> bool:
        """Removes a receiver. Returns whether it was connected."""
        key = dispatch_uid or _identity(receiver)
        before = len(self._receivers)
        self._receivers = [r for r in self._receivers if not (r[2] == key and r[1] == sender)]
        return len(self._receivers) < before

    def _live(self) -> List[Tuple[Callable[[], Any], Any, Any]]:
        self._receivers = [r for r in self._receivers if r[0]() is not None]
        return self._receivers

    @property
    def receivers(self) -> List[Any]:
        """The connected receivers."""
        return [r[0]() for r in self._live()]

    def has_listeners(self, sender: Any = None) -> bool:
        """Reports whether send would call a receiver."""
        return any(_same(s, sender) for _, s, _ in self._live())

    def send(self, sender: Any, **named: Any) -> List[Tuple[Any, Any]]:
        """Calls the receivers. Returns pairs of receiver and its result, or its exception."""
        results: List[Tuple[Any, Any]] = []
        for reference, wanted, _ in list(self._live()):
            receiver = reference()
            if receiver is None or not _same(wanted, sender):
                continue
            try:
                results.append((receiver, receiver(signal=self, sender=sender, **named)))
            except Exception as exc:
                _log.exception("signal handler %r raised: %r", receiver, exc)
                results.append((receiver, exc))
        return results

    send_robust = send

    def __repr__(self) -> str:
        return f"<Signal: {self.name}>"


def _strong(fun: Any) -> Callable[[], Any]:
    return lambda: fun


def _identity(fun: Any) -> Any:
    if hasattr(fun, "__self__") and hasattr(fun, "__func__"):
        return id(fun.__self__), id(fun.__func__)
    return id(fun)


def _same(wanted: Any, sender: Any) -> bool:
    return wanted is None or wanted is sender or _name(wanted) == _name(sender)


def _name(sender: Any) -> Any:
    return getattr(sender, "name", None) or sender


before_task_publish = Signal("before_task_publish")
after_task_publish = Signal("after_task_publish")
task_sent = Signal("task_sent")
task_received = Signal("task_received")
task_prerun = Signal("task_prerun")
task_postrun = Signal("task_postrun")
task_success = Signal("task_success")
task_retry = Signal("task_retry")
task_failure = Signal("task_failure")
task_internal_error = Signal("task_internal_error")
task_revoked = Signal("task_revoked")
task_rejected = Signal("task_rejected")
task_unknown = Signal("task_unknown")
import_modules = Signal("import_modules")
worker_init = Signal("worker_init")
worker_ready = Signal("worker_ready")
worker_process_init = Signal("worker_process_init")
worker_process_shutdown = Signal("worker_process_shutdown")
worker_shutting_down = Signal("worker_shutting_down")
worker_shutdown = Signal("worker_shutdown")
celeryd_init = Signal("celeryd_init")
celeryd_after_setup = Signal("celeryd_after_setup")
heartbeat_sent = Signal("heartbeat_sent")
setup_logging = Signal("setup_logging")
after_setup_logger = Signal("after_setup_logger")
after_setup_task_logger = Signal("after_setup_task_logger")
beat_init = Signal("beat_init")
beat_embedded_init = Signal("beat_embedded_init")
user_preload_options = Signal("user_preload_options")
