"""The request of a task: what self.request holds."""

from __future__ import annotations

import json
import re
from typing import Any, Dict, Optional, Tuple

from .._json import encode

#: Largest size in bytes of a custom state with its meta as JSON. It is the server's limit of a note.
MAX_NOTE = 4096

_NOTE = re.compile(r"([A-Z][A-Z0-9_-]*)(?: (.*))?\Z", re.S)
_RESERVED = frozenset(
    ["id", "task", "args", "kwargs", "retries", "headers", "called_directly", "is_eager", "delivery_info", "hostname"]
)


class Context:
    """Data of the attempt that is running.

    headers are those of the call; each is also an attribute, as in Celery. called_directly is
    true outside an attempt.
    """

    id: Any = None
    task: Any = None
    args: Any = None
    kwargs: Any = None
    retries: int = 0
    queue: Optional[str] = None
    headers: Any = None
    called_directly: bool = True
    is_eager: bool = False
    ignore_result: Any = False
    correlation_id: Any = None
    root_id: Any = None
    parent_id: Any = None
    group: Any = None
    group_index: Any = None
    chord: Any = None
    chain: Any = None
    callbacks: Any = None
    errbacks: Any = None
    eta: Any = None
    expires: Any = None
    hostname: Any = None
    delivery_info: Any = None
    reply_to: Any = None
    origin: Any = None
    shadow: Any = None
    timelimit: Any = None
    utc: bool = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.max_retries: Optional[int] = None
        self.retry_requested: Any = None
        self.state: Any = None
        self.state_meta: Any = None
        self.job: Any = None
        self.children: Any = []
        self.update(*args, **kwargs)

    def update(self, *args: Any, **kwargs: Any) -> None:
        """Sets attributes, from a mapping or keywords."""
        self.__dict__.update(dict(*args, **kwargs))

    def get(self, key: str, default: Any = None) -> Any:
        """Returns the attribute key, or default."""
        return getattr(self, key, default)

    def set_state(self, state: str, meta: Any) -> None:
        """Records a custom state and reports it to the server if a worker runs the attempt."""
        self.state, self.state_meta = state, meta
        if self.job is not None:
            self.job.progress(_percent(meta), note_of(state, meta))

    def __repr__(self) -> str:
        shown = {k: v for k, v in vars(self).items() if k != "job"}
        return f"<Context: {shown!r}>"


def note_of(state: str, meta: Any) -> str:
    """Returns the note that holds a custom state. state_of is the reverse."""
    note = state if meta is None else f"{state} {encode(meta)}"
    if len(note.encode()) > MAX_NOTE:
        raise ValueError(f"update_state: state and meta have more than {MAX_NOTE} bytes")
    return note


def state_of(note: str) -> Optional[Tuple[str, Any]]:
    """Returns the custom state and the meta of a note, or None if it has none."""
    match = _NOTE.match(note)
    if match is None:
        return None
    try:
        return match[1], json.loads(match[2]) if match[2] else None
    except ValueError:
        return None


def of_headers(headers: Dict[str, Any]) -> Dict[str, Any]:
    """Returns the attributes that the headers of a task give its Context."""
    return {k: v for k, v in headers.items() if k not in _RESERVED}


def _percent(meta: Any) -> float:
    if isinstance(meta, dict):
        current, total = meta.get("current"), meta.get("total")
        if _number(current) and _number(total) and total > 0:
            return float(min(100, max(0, 100 * current / total)))
    return 0


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
