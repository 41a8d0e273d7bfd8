"""Schedules of beat_schedule."""

from __future__ import annotations

import datetime
import re
from typing import Any, Dict, FrozenSet, List, NoReturn, Optional, Union

_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_DAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]


class ParseException(Exception):
    """A field of a crontab cannot be parsed."""


class schedule:
    """An interval: run_every is a timedelta or seconds."""

    relative = False

    def __init__(self, run_every: Any = None, relative: bool = False, nowfun: Any = None, app: Any = None) -> None:
        if not isinstance(run_every, datetime.timedelta):
            run_every = datetime.timedelta(seconds=run_every or 0)
        self.run_every = run_every
        self.relative = relative

    @property
    def seconds(self) -> float:
        """The interval in seconds."""
        return max(float(self.run_every.total_seconds()), 0.0)

    def spec(self) -> Dict[str, Any]:
        """Returns the schedule as JSON, for gale.celery.beat. Raises ValueError."""
        if self.seconds < 1:
            raise ValueError("an interval must be at least one second")
        return {"every": self.seconds}

    def __eq__(self, other: Any) -> Any:
        return self.run_every == other.run_every if isinstance(other, schedule) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.run_every)

    def __repr__(self) -> str:
        return f"<freq: {self.seconds:.2f} seconds>"


def _number(text: str, names: List[str], low: int, high: int) -> int:
    if text[:3].lower() in names and (text.isalpha()):
        return names.index(text[:3].lower()) + (1 if names is _MONTHS else 0)
    try:
        value = int(text)
    except ValueError:
        raise ParseException(f"Invalid weekday or month literal {text!r}.") from None
    if not low <= value <= high:
        raise ParseException(f"Invalid value {value}: the range is {low} to {high}.")
    return value


_PART = re.compile(r"(?:\*|(?P<first>\w+)(?:-(?P<last>\w+))?)(?:/(?P<step>\d+))?\Z")


def parse_field(value: Any, low: int, high: int, names: Optional[List[str]] = None) -> FrozenSet[int]:
    """Returns the numbers of a crontab field: a number, several, or a text like "*/15" or "1-5,7"."""
    if isinstance(value, bool) or value is None:
        raise TypeError(f"Argument cronspec needs to be of any of the following types: int, str, or an iterable type. {type(value)!r} was given.")
    if isinstance(value, int):
        value = str(value)
    if not isinstance(value, str):
        return frozenset().union(*(parse_field(one, low, high, names) for one in value))
    found = set()
    for part in value.split(","):
        match = _PART.match(part.strip())
        if match is None:
            raise ParseException(f"invalid filter: {part!r}")
        step = int(match["step"] or 1)
        if step < 1:
            raise ParseException("invalid filter: a step must be at least 1")
        if match["first"] is None:
            found.update(range(low, high + 1, step))
            continue
        first = _number(match["first"], names or [], low, high)
        last = first if match["last"] is None else _number(match["last"], names or [], low, high)
        if last < first:  # over the end, such as fri-mon
            found.update([*range(first, high + 1), *range(low, last + 1)][::step])
        else:
            found.update(range(first, last + 1, step))
    return frozenset(found)


class crontab:
    """Moments by minute, hour, day of week, day of month and month of year.

    A moment matches if all fields match. Times are in the time zone of the application.
    """

    def __init__(
        self,
        minute: Any = "*",
        hour: Any = "*",
        day_of_week: Any = "*",
        day_of_month: Any = "*",
        month_of_year: Any = "*",
        nowfun: Any = None,
        app: Any = None,
        **kwargs: Any,
    ) -> None:
        self._given = (minute, hour, day_of_week, day_of_month, month_of_year)
        self.app = app
        self.minute = parse_field(minute, 0, 59)
        self.hour = parse_field(hour, 0, 23)
        self.day_of_week = frozenset(d % 7 for d in parse_field(day_of_week, 0, 7 if "7" in str(day_of_week) else 6, _DAYS))
        self.day_of_month = parse_field(day_of_month, 1, 31)
        self.month_of_year = parse_field(month_of_year, 1, 12, _MONTHS)

    def spec(self) -> Dict[str, Any]:
        """Returns the schedule as JSON, for gale.celery.beat."""
        minute, hour = str(self._given[0]), str(self._given[1])
        return {
            "fixed": "*" not in minute + hour,
            "cron": [
                sorted(self.minute), sorted(self.hour), sorted(self.day_of_month), sorted(self.month_of_year),
                sorted(self.day_of_week),
            ]
        }

    def __eq__(self, other: Any) -> Any:
        return self.spec() == other.spec() if isinstance(other, crontab) else NotImplemented

    def __hash__(self) -> int:
        return hash((self.minute, self.hour, self.day_of_week, self.day_of_month, self.month_of_year))

    def __repr__(self) -> str:
        minute, hour, week, month, year = self._given
        return f"<crontab: {minute} {hour} {week} {month} {year} (m/h/d/dM/MY)>"

    def __reduce__(self) -> Any:
        return crontab, self._given


class solar:
    """Not supported."""

    def __init__(self, *args: Any, **kwargs: Any) -> NoReturn:  # type: ignore[misc]
        raise NotImplementedError("solar is not supported: use crontab, and compute the moment in the task")


def maybe_schedule(s: Any, relative: bool = False, app: Any = None) -> Union[schedule, crontab]:
    """Returns a number of seconds or a timedelta as a schedule, anything else as it is."""
    if isinstance(s, (int, float, datetime.timedelta)) and not isinstance(s, bool):
        return schedule(s, relative=relative)
    found: Union[schedule, crontab] = s
    return found
