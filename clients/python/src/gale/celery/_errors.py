"""The error text of a failed task, and the exception that it stands for.

A worker reports an exception as text: a line "module.Class: message", the traceback, and, if
the message alone does not give the arguments of the exception, a last line with them as JSON.
The text is what users read in the log and in the console, and AsyncResult.get makes an
exception of the same class from it where that class can be imported.
"""

from __future__ import annotations

import importlib
import json
import re
import traceback as tb_module
from typing import Any, List, NamedTuple, Optional, Tuple

from . import exceptions
from ._json import plain

#: Largest length of an error text in bytes. The worker cuts longer ones at the front.
MAX_ERROR = 59_000

_HEAD = re.compile(r"(?P<name>[A-Za-z_][\w.<>]*)(?:: (?P<message>.*))?\Z", re.S)
_ARGS = "arguments of the exception: "
_TRACE = "\nTraceback (most recent call last):\n"


class Failure(NamedTuple):
    """What an error text says."""

    exception: BaseException
    traceback: Optional[str]


class ExceptionInfo:
    """An exception with its traceback as text, as the hooks on_failure and on_retry get it."""

    def __init__(self, exception: BaseException) -> None:
        self.exception = exception
        self.type = type(exception)
        self.tb = exception.__traceback__
        self.traceback = "".join(tb_module.format_exception(type(exception), exception, exception.__traceback__))
        self.internal = False

    @property
    def exc_info(self) -> Tuple[Any, BaseException, Any]:
        return self.type, self.exception, self.tb

    def __str__(self) -> str:
        return self.traceback

    def __repr__(self) -> str:
        return f"<ExceptionInfo: {self.exception!r}>"


def class_name(cls: type) -> str:
    """Returns the name of an exception's class, with its module unless it is a built-in one."""
    if cls.__module__ == "builtins":
        return cls.__qualname__
    return f"{cls.__module__}.{cls.__qualname__}"


def describe(exception: BaseException) -> str:
    """Returns the error text of an exception, cut in the middle of the traceback if it is long."""
    message = str(exception)
    head = class_name(type(exception)) + (f": {message[: MAX_ERROR // 4]}" if message else "")
    trace, last = "", ""
    if exception.__traceback__ is not None:
        trace = "".join(tb_module.format_exception(type(exception), exception, exception.__traceback__)).rstrip()
    if list(exception.args) != ([message] if message else []):
        try:
            text = json.dumps(plain(list(exception.args)))
        except (TypeError, ValueError):
            text = ""
        if text and len(text) < MAX_ERROR // 4:
            last = f"\n{_ARGS}{text}"
    room = MAX_ERROR - len(head.encode("utf-8", "replace")) - len(last.encode("utf-8", "replace")) - 40
    raw = trace.encode("utf-8", "replace")
    if len(raw) > room:
        half = room // 2
        trace = raw[:half].decode("utf-8", "ignore") + "\n  …\n" + raw[-half:].decode("utf-8", "ignore")
    return head + (f"\n\n{trace}" if trace else "") + last


def parse(text: str) -> Failure:
    """Returns the exception that an error text stands for.

    Its class is imported if it is an exception and can be made from the arguments. Otherwise
    the exception is a TaskError of the same text.
    """
    arguments: Optional[List[Any]] = None
    before, found, last = text.rpartition("\n" + _ARGS)
    if found:
        try:
            arguments = json.loads(last)
            text = before
        except ValueError:
            pass
    head, sep, trace = text.partition("\n" + _TRACE)
    match = _HEAD.match(head)
    if match is None or not (sep or _is_exception(match["name"])):
        return Failure(exceptions.TaskError(text), None)
    if arguments is None:
        arguments = [match["message"]] if match["message"] is not None else []
    return Failure(_make(match["name"], arguments, head), _TRACE.lstrip() + trace if sep else None)


def _is_exception(name: str) -> bool:
    return isinstance(_find(name), type)


def _find(name: str) -> Any:
    module, _, attribute = name.rpartition(".")
    while True:
        try:
            found: Any = importlib.import_module(module or "builtins")
            break
        except Exception:
            module, _, outer = module.rpartition(".")
            if not module:
                return None
            attribute = f"{outer}.{attribute}"
    for part in attribute.split("."):
        found = getattr(found, part, None)
    return found if isinstance(found, type) and issubclass(found, BaseException) else None


def _make(name: str, arguments: List[Any], head: str) -> BaseException:
    cls = _find(name)
    if cls is None or not issubclass(cls, Exception):
        # Celery makes a class of this name; it is of no use in an except clause either.
        short = name.rpartition(".")[2]
        cls = type(short, (exceptions.TaskError,), {"__module__": name.rpartition(".")[0] or "builtins"})
    try:
        return cls(*arguments)  # type: ignore[no-any-return]
    except Exception:
        return exceptions.TaskError(head)
