"""From a call to the body of POST /tasks."""

from __future__ import annotations

import datetime
import logging
from typing import Any, Dict, Iterator, List, Mapping, Optional

from .. import _state, signals
from .._json import instant, plain
from ..result import AsyncResult
from ..utils import uuid
from .routes import queue_name, route

_log = logging.getLogger("celery")

#: Most retries that the server permits. Celery's own count decides before.
MAX_RETRIES = 100

#: Options of apply_async that change what the server gets.
_USED = frozenset(
    ["countdown", "eta", "expires", "queue", "routing_key", "headers", "link", "link_error", "ignore_result"]
    + ["time_limit", "root_id", "parent_id", "group_id", "shadow", "task_id"]
)
#: Options that describe Celery's messages. They have no meaning here.
_SILENT = frozenset(
    ["exchange", "retry", "retry_policy", "connection", "producer", "publisher", "add_to_parent", "delivery_mode"]
    + ["reply_to", "route_name", "task_type", "mandatory", "immediate", "app", "router", "result_cls", "retries"]
    + ["group_index", "chord", "chain", "interval", "max_retries", "propagate", "correlation_id", "argsrepr"]
    + ["kwargsrepr", "immutable"]
)

def publish(app: Any, name: str, args: Any, kwargs: Any, task: Any, *, task_id: Optional[str], **options: Any) -> AsyncResult:
    """Enqueues one task and returns its result."""
    body = element(app, name, args, kwargs, task, task_id=task_id, **options)
    app.backend.enqueue(body)
    published(body)
    result = AsyncResult(body["id"], app=app, task_name=name)
    result.ignored = bool(body.get("headers", {}).get("ignore_result"))
    remember_child(result, options.get("add_to_parent", True))
    return result


def remember_child(result: Any, wanted: bool = True) -> None:
    """Adds a result to the children of the task that this thread runs."""
    parent = _state.get_current_task()
    if wanted and parent is not None and parent.trail:
        parent.request.children.append(result)


def element(
    app: Any,
    name: str,
    args: Any,
    kwargs: Any,
    task: Any,
    *,
    task_id: Optional[str] = None,
    follower: bool = False,
    workflow: bool = False,
    **options: Any,
) -> Dict[str, Any]:
    """Returns the JSON object of one task, for POST /tasks or as an element of a workflow.

    follower says that the task starts after another one; workflow that its result is passed on.
    """
    options = {k: v for k, v in options.items() if v is not None}
    options = {**route(app.routers, name, args, kwargs, dict(options), task), **options}
    _mention(app, name, options)
    body: Dict[str, Any] = {"task": name, "id": task_id or uuid(), "args": plain(list(args)), "kwargs": plain(dict(kwargs))}
    body["wait_for_worker"] = True
    queue = queue_name(options) or queue_name({"queue": getattr(task, "queue", None)}) or app.conf.task_default_queue
    if queue:
        body["queue"] = queue
    headers = _headers(app, name, task, body, options, workflow)
    _times(app, task, options, headers, body, follower)
    if options.get("time_limit") is not None:
        body["timeout"] = options["time_limit"]
    if task is not None:
        body["max_retries"] = MAX_RETRIES
    if headers:
        body["headers"] = plain(headers)
    for key in ("link", "link_error"):
        links = list(_links(app, options.get(key), key, body["id"]))
        if links:
            body[key] = links
    return body


def _headers(
    app: Any, name: str, task: Any, body: Dict[str, Any], options: Mapping[str, Any], workflow: bool
) -> Dict[str, Any]:
    """Returns the headers of a task, after the receivers of before_task_publish have seen them."""
    parent = _state.get_current_task()
    request = parent.request if parent is not None else None
    ignore = options.get("ignore_result", getattr(task, "ignore_result", None))
    if ignore is None:
        ignore = app.conf.task_ignore_result
    standard = {
        "lang": "py", "task": name, "id": body["id"], "shadow": options.get("shadow"), "retries": 0,
        "root_id": options.get("root_id") or (request and request.root_id) or body["id"],
        "parent_id": options.get("parent_id") or (request and request.id), "group": options.get("group_id"),
        "argsrepr": repr(body["args"]), "kwargsrepr": repr(body["kwargs"]), "ignore_result": bool(ignore),
    }
    headers = {**standard, **(options.get("headers") or {})}
    signals.before_task_publish.send(
        sender=name, body=(body["args"], body["kwargs"], {}), exchange="", routing_key=body.get("queue"), headers=headers,
        properties={"correlation_id": body["id"]}, declare=[], retry_policy=None,
    )
    sent = {k: v for k, v in headers.items() if k not in standard}
    own = {k: standard[k] for k in ("parent_id", "group", "shadow") if standard[k]}
    if standard["root_id"] != body["id"]:
        own["root_id"] = standard["root_id"]
    if ignore and not workflow:
        own["ignore_result"] = True
    return {**sent, **own}


def published(body: Mapping[str, Any]) -> None:
    """Sends after_task_publish for one task."""
    signals.after_task_publish.send(
        sender=body["task"], body=(body["args"], body["kwargs"], {}), exchange="", routing_key=body.get("queue"),
        headers={"id": body["id"], "task": body["task"], **body.get("headers", {})},
    )


def _times(app: Any, task: Any, options: Mapping[str, Any], headers: Dict[str, Any], body: Dict[str, Any], follower: bool) -> None:
    """Sets the earliest and the latest start.

    The server has no times for a task that follows another one, and accepts none that expires
    before it may start. The worker honours the headers that such a task has instead.
    """
    now = start = datetime.datetime.now(datetime.timezone.utc)
    if options.get("eta") is not None:
        start = _aware(app, options["eta"])
        (headers if follower else body)["not_before" if follower else "eta"] = instant(start)
    elif options.get("countdown") is not None:
        seconds = max(0, options["countdown"])
        start = now + datetime.timedelta(seconds=seconds)
        (headers if follower else body)["countdown"] = seconds
    expires = options.get("expires", getattr(task, "expires", None))
    if expires is None:
        return
    if isinstance(expires, str):
        expires = datetime.datetime.fromisoformat(expires.replace("Z", "+00:00"))
    if isinstance(expires, datetime.datetime):
        end = _aware(app, expires)
    else:
        end = now + datetime.timedelta(seconds=float(expires))
    if follower or end <= max(start, now):
        headers["expires_at"] = instant(end)
    else:
        body["expires"] = instant(end) if isinstance(expires, datetime.datetime) else float(expires)


def _aware(app: Any, moment: datetime.datetime) -> datetime.datetime:
    if moment.tzinfo is not None:
        return moment
    return moment.replace(tzinfo=datetime.timezone.utc if app.conf.enable_utc else app.timezone)


def _links(app: Any, links: Any, key: str, id: str) -> Iterator[Dict[str, Any]]:
    from ..canvas import maybe_signature
    from ..canvas._send import link_elements

    if not links:
        return
    many: List[Any] = list(links) if isinstance(links, (list, tuple)) else [links]
    for one in many:
        yield from link_elements(app, maybe_signature(one, app), errback_of=id if key == "link_error" else None)


def _mention(app: Any, name: str, options: Mapping[str, Any]) -> None:
    if options.get("serializer") not in (None, "json"):
        raise ValueError(f"{name}: serializer={options['serializer']!r} is not supported: arguments are JSON")
    for option in options:
        if option not in _USED and option not in _SILENT and option != "serializer":
            app.mention(f"apply_async: option {option} has no effect")
