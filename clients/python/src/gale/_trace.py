"""The trace that the running code belongs to, as W3C Trace Context defines it.

It is in the environment variables TRACEPARENT and TRACESTATE: a worker sets them for the time
of an attempt, the server sets them for the program of a command task. Nothing here depends on
a library for traces.
"""

import contextlib
import os
import re
from typing import Any, Dict, Iterator, Mapping

_FIELDS = ("traceparent", "tracestate")
_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_TRACESTATE = re.compile(r"[ -~]{1,512}")


def _valid(values: Mapping[str, Any]) -> Dict[str, str]:
    """Return the fields of a trace in values, none if its traceparent is not valid."""
    parent, state = (values.get(field) for field in _FIELDS)
    if not isinstance(parent, str) or not _TRACEPARENT.fullmatch(parent):
        return {}
    if not isinstance(state, str) or not _TRACESTATE.fullmatch(state):
        return {"traceparent": parent}
    return {"traceparent": parent, "tracestate": state}


def fields() -> Dict[str, str]:
    """Return the header fields for a request of the running code; none outside of a trace."""
    return _valid({field: os.environ.get(field.upper()) for field in _FIELDS})


@contextlib.contextmanager
def of_attempt(headers: Mapping[str, Any]) -> Iterator[None]:
    """Set the environment variables to the trace in the headers of a task.

    Without one the variables do not exist meanwhile. Afterwards they are as before.
    """
    before = {field: os.environ.get(field.upper()) for field in _FIELDS}
    _set(_valid(headers))
    try:
        yield
    finally:
        _set(before)


def _set(values: Mapping[str, Any]) -> None:
    for field in _FIELDS:
        if values.get(field) is not None:
            os.environ[field.upper()] = values[field]
        else:
            os.environ.pop(field.upper(), None)
