"""The schedules of beat_schedule.

There is no beat process. Each worker enqueues each occurrence with the id NAME-MOMENT, which the
server takes once, so several workers may run the same schedule, and none of them is a leader.
Intervals count from 1970, so that all workers agree on the moments. A worker that starts, or
whose server is unavailable, makes up for the last ten seconds.

When the clocks change, a crontab without * in minute and hour runs once: a time that is skipped
runs right after the gap, one that occurs twice runs the first time.
"""

from __future__ import annotations

import datetime
import logging
import math
import re
import threading
import time
import zlib
from typing import Any, Dict, Iterator, List, Mapping, Optional, Tuple

from ..errors import ConnectionLost, GaleError, Unavailable
from .exceptions import ImproperlyConfigured
from .schedules import crontab, maybe_schedule, schedule

_log = logging.getLogger("gale.beat")

#: How far back missed occurrences are made up for, in seconds.
CATCH_UP = 10.0


def entries(app: Any) -> List[Dict[str, Any]]:
    """Returns the beat_schedule of an application as JSON objects.

    Raises ImproperlyConfigured for an entry that cannot be run.
    """
    from .app.config import zone

    name = app.conf.timezone
    zone(name)
    return [_entry(app, key, entry, str(name) if name else "UTC") for key, entry in sorted(app.conf.beat_schedule.items())]


def _entry(app: Any, name: str, entry: Mapping[str, Any], zone_name: str) -> Dict[str, Any]:
    from .app._publish import element

    if "task" not in entry or "schedule" not in entry:
        raise ImproperlyConfigured(f"beat_schedule[{name!r}]: an entry needs task and schedule")
    plan = maybe_schedule(entry["schedule"])
    if not isinstance(plan, (schedule, crontab)):
        raise ImproperlyConfigured(
            f"beat_schedule[{name!r}]: {type(plan).__name__} is not supported: use crontab, a timedelta or seconds"
        )
    options = dict(entry.get("options") or {})
    if options.get("link_error"):
        raise ImproperlyConfigured(f"beat_schedule[{name!r}]: link_error is not supported: use on_failure of the task")
    try:
        spec = plan.spec()
        task = app.tasks.get(entry["task"])
        body = element(app, entry["task"], entry.get("args") or (), entry.get("kwargs") or {}, task, **options)
    except (TypeError, ValueError) as err:
        raise ImproperlyConfigured(f"beat_schedule[{name!r}]: {err}") from err
    del body["id"]
    return {"name": name, "prefix": _prefix(name), "zone": zone_name, "body": body, **spec}


def _prefix(name: str) -> str:
    """Returns the first part of the ids of a schedule: its name, with what an id may not have replaced."""
    safe = re.sub(r"[^A-Za-z0-9._-]", "-", name)[:90]
    return safe if safe == name else f"{safe}-{zlib.crc32(name.encode()):08x}"


def occurrences(entry: Mapping[str, Any], after: float, until: float) -> Iterator[Tuple[float, str]]:
    """Yields moment and id of each occurrence later than after and not later than until.

    Moments are seconds since 1970.
    """
    for moment in _moments(entry, after, until):
        text = datetime.datetime.fromtimestamp(moment, datetime.timezone.utc).strftime("%Y%m%dT%H%M%S")
        part = f".{round(moment % 1 * 1000):03d}" if moment % 1 else ""
        yield moment, f"{entry['prefix']}-{text}{part}Z"


def _moments(entry: Mapping[str, Any], after: float, until: float) -> Iterator[float]:
    if "every" in entry:
        every = float(entry["every"])
        for i in range(math.floor(after / every) + 1, math.floor(until / every) + 1):
            yield i * every
        return
    tz = _zone(entry["zone"])
    for minute in range(math.floor(after / 60) + 1, math.floor(until / 60) + 1):
        walls = _walls(tz, minute * 60, bool(entry.get("fixed")))
        for i, _ in enumerate(wall for wall in walls if _matches(entry["cron"], wall)):
            yield minute * 60 + i  # an id has a second of its own


def _walls(tz: datetime.tzinfo, moment: int, fixed: bool) -> Iterator[datetime.datetime]:
    """Yields the local times that belong to a minute.

    For fixed times these are also those that the clock skipped just before, and none if the
    clock shows this minute for the second time.
    """
    now = datetime.datetime.fromtimestamp(moment, tz)
    if not fixed:
        yield now
        return
    if now.fold:
        return
    before = datetime.datetime.fromtimestamp(moment - 60, tz)
    wall = before.replace(tzinfo=None) + datetime.timedelta(minutes=1)
    while wall < now.replace(tzinfo=None):
        yield wall
        wall += datetime.timedelta(minutes=1)
    yield now


def _matches(cron: Any, wall: datetime.datetime) -> bool:
    minute, hour, day, month, week = cron
    return (
        wall.minute in minute and wall.hour in hour and wall.day in day and wall.month in month
        and wall.isoweekday() % 7 in week
    )


def _zone(name: str) -> datetime.tzinfo:
    from .app.config import zone

    found: datetime.tzinfo = zone(name)
    return found


def run(client: Any, schedules: List[Dict[str, Any]], stop: threading.Event) -> None:
    """Enqueues the occurrences of schedules, made by entries, until stop is set.

    client is a gale.Client. It blocks; run it in a thread. A server that is unavailable is
    tried again; an entry that it refuses is logged and goes on with its next occurrence.
    """
    if not schedules:
        return
    done = {entry["name"]: time.time() - CATCH_UP for entry in schedules}
    while not stop.is_set():
        now = time.time()
        for entry in schedules:
            done[entry["name"]] = _enqueue_due(entry, client, max(done[entry["name"]], now - CATCH_UP), now)
        stop.wait(max(0.05, min(_next(entry, time.time()) for entry in schedules) - time.time()))


def _enqueue_due(entry: Dict[str, Any], client: Any, after: float, until: float) -> float:
    """Enqueues what is due and returns the moment up to which everything is enqueued."""
    for moment, id in occurrences(entry, after, until):
        try:
            client.transport.call("POST", "/tasks", {**entry["body"], "id": id})
            _log.debug("schedule %s: enqueued %s", entry["name"], id)
        except (ConnectionLost, Unavailable) as err:
            _log.warning("schedule %s: %s is not enqueued yet: %s", entry["name"], id, err)
            return after
        except GaleError as err:
            _log.error("schedule %s: %s is refused: %s", entry["name"], id, err)
        after = moment
    return until


def _next(entry: Mapping[str, Any], now: float) -> float:
    """Returns the next moment at which something may be due."""
    step: Optional[float] = entry.get("every")
    step = float(step) if step else 60.0
    return (math.floor(now / step) + 1) * step
