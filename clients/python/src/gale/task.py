"""Objects of the server: tasks, workflows, and calls of tasks that can be enqueued."""

import datetime
import re
from dataclasses import dataclass, field, replace
from typing import Any, Dict, List, Mapping, Optional, Sequence, Union

FINAL_STATES = ("success", "failed", "cancelled", "dead")

Moment = Union[datetime.datetime, datetime.timedelta, float, int, str]


def parse_time(text: Optional[str]) -> Optional[datetime.datetime]:
    """Parse a time of the server (RFC 3339); None stays None. Nanoseconds are cut."""
    if not text:
        return None
    text = re.sub(r"(\.\d{6})\d+", r"\1", text)
    text = re.sub(r"\.(\d{1,5})(?=[Z+-])", lambda m: "." + m.group(1).ljust(6, "0"), text)
    return datetime.datetime.fromisoformat(text[:-1] + "+00:00" if text.endswith("Z") else text)


def format_time(moment: datetime.datetime) -> str:
    """Format a time as RFC 3339. A time without a zone is a ValueError."""
    if moment.tzinfo is None or moment.utcoffset() is None:
        raise ValueError(f"{moment!r} has no time zone: use datetime.now(timezone.utc) or add tzinfo")
    return moment.isoformat()


def seconds(value: Union[datetime.timedelta, float, int]) -> float:
    """Return a duration in seconds."""
    return value.total_seconds() if isinstance(value, datetime.timedelta) else value


@dataclass
class Task:
    """A task object, as GET /tasks/{id} returns it. raw is the whole object."""

    id: str
    task: str
    state: str
    queue: str = ""
    args: List[Any] = field(default_factory=list)
    kwargs: Dict[str, Any] = field(default_factory=dict)
    progress: int = 0
    note: str = ""
    attempts: int = 0
    worker: str = ""
    created: Optional[datetime.datetime] = None
    started: Optional[datetime.datetime] = None
    finished: Optional[datetime.datetime] = None
    result: Any = None
    error: str = ""
    failures: List[Dict[str, Any]] = field(default_factory=list)
    artifacts: List[str] = field(default_factory=list)
    raw: Dict[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> "Task":
        """Build a task from its JSON object. Unknown keys are kept in raw."""
        return cls(
            id=raw["id"],
            task=raw.get("task", ""),
            state=raw["state"],
            queue=raw.get("queue", ""),
            args=raw.get("args") or [],
            kwargs=raw.get("kwargs") or {},
            progress=raw.get("progress") or 0,
            note=raw.get("note") or "",
            attempts=raw.get("attempts") or 0,
            worker=raw.get("worker") or "",
            created=parse_time(raw.get("created")),
            started=parse_time(raw.get("started")),
            finished=parse_time(raw.get("finished")),
            result=raw.get("result"),
            error=raw.get("error") or "",
            failures=raw.get("failures") or [],
            artifacts=raw.get("artifacts") or [],
            raw=dict(raw),
        )

    @property
    def ended(self) -> bool:
        """Whether the state is final."""
        return self.state in FINAL_STATES


@dataclass
class Workflow:
    """A chain, group or chord, as GET /workflows/{id} returns it. raw is the whole object."""

    id: str
    kind: str
    state: str
    progress: int = 0
    tasks: List[Any] = field(default_factory=list)
    result: Any = None
    error: str = ""
    raw: Dict[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> "Workflow":
        """Build a workflow from its JSON object. Unknown keys are kept in raw."""
        return cls(
            id=raw["id"],
            kind=raw.get("kind", ""),
            state=raw["state"],
            progress=raw.get("progress") or 0,
            tasks=raw.get("tasks") or [],
            result=raw.get("result"),
            error=raw.get("error") or "",
            raw=dict(raw),
        )

    @property
    def ended(self) -> bool:
        """Whether the state is final."""
        return self.state in FINAL_STATES


@dataclass(frozen=True)
class Call:
    """A call of a task that can be enqueued, or be an element of a chain or group.

    options are the keyword arguments of Client.enqueue.
    """

    task: str
    args: Sequence[Any] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)

    def with_options(self, **options: Any) -> "Call":
        """Return a copy with more options."""
        return replace(self, options={**self.options, **options})

    def body(self) -> Dict[str, Any]:
        """Return the body of POST /tasks."""
        return task_body(self.task, self.args, self.kwargs, **self.options)


Element = Union[Call, Mapping[str, Any]]


def element_body(element: Element) -> Dict[str, Any]:
    """Return the JSON object of an element of a workflow."""
    return element.body() if isinstance(element, Call) else dict(element)


def _elements(value: Union[None, Element, Sequence[Element]]) -> Optional[List[Dict[str, Any]]]:
    if value is None:
        return None
    if isinstance(value, (Call, Mapping)):
        value = [value]
    return [element_body(e) for e in value]


def task_body(
    task: str,
    args: Sequence[Any] = (),
    kwargs: Optional[Mapping[str, Any]] = None,
    *,
    id: Optional[str] = None,
    queue: Optional[str] = None,
    eta: Optional[datetime.datetime] = None,
    countdown: Union[None, float, datetime.timedelta] = None,
    expires: Union[None, datetime.datetime, datetime.timedelta, float] = None,
    timeout: Union[None, float, datetime.timedelta] = None,
    max_retries: Optional[int] = None,
    unique: Optional[str] = None,
    unique_for: Union[None, float, datetime.timedelta] = None,
    headers: Optional[Mapping[str, Any]] = None,
    link: Union[None, Element, Sequence[Element]] = None,
    link_error: Union[None, Element, Sequence[Element]] = None,
    results: Optional[str] = None,
    immutable: Optional[bool] = None,
    wait_for_worker: Optional[bool] = None,
) -> Dict[str, Any]:
    """Return the body of POST /tasks; see Client.enqueue for the options."""
    when: Any = expires
    if isinstance(expires, datetime.datetime):
        when = format_time(expires)
    elif expires is not None:
        when = seconds(expires)
    values: Dict[str, Any] = {
        "task": task,
        "args": list(args) or None,
        "kwargs": dict(kwargs) if kwargs else None,
        "id": id,
        "queue": queue,
        "eta": None if eta is None else format_time(eta),
        "countdown": None if countdown is None else seconds(countdown),
        "expires": when,
        "timeout": None if timeout is None else seconds(timeout),
        "max_retries": max_retries,
        "unique": unique,
        "unique_for": None if unique_for is None else seconds(unique_for),
        "headers": dict(headers) if headers else None,
        "link": _elements(link),
        "link_error": _elements(link_error),
        "results": results,
        "immutable": immutable,
        "wait_for_worker": wait_for_worker,
    }
    return {k: v for k, v in values.items() if v is not None}
