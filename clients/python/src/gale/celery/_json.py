"""Arguments and results as JSON, with the texts that Celery's serializer makes.

Dates, times, UUIDs, decimals and lazy strings of Django become texts; an object with a
method __json__ becomes what that returns. A NaN or an infinite number is an error, because
JSON has none.
"""

from __future__ import annotations

import datetime
import decimal
import json
import uuid
from typing import Any


def _default(value: Any) -> Any:
    reducer = getattr(value, "__json__", None)
    if reducer is not None:
        return reducer()
    if isinstance(value, datetime.datetime):
        return _iso(value)
    if isinstance(value, datetime.date):
        return _iso(datetime.datetime(value.year, value.month, value.day))
    if isinstance(value, datetime.time):
        return value.isoformat()
    if isinstance(value, (decimal.Decimal, uuid.UUID)):
        return str(value)
    if any(c.__module__ == "django.utils.functional" and c.__name__ == "Promise" for c in type(value).__mro__):
        return str(value)
    raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")


def _iso(moment: datetime.datetime) -> str:
    text = moment.isoformat()
    return text[:-6] + "Z" if text.endswith("+00:00") else text


def encode(value: Any) -> str:
    """Returns value as JSON text. Raises TypeError or ValueError for what JSON cannot hold."""
    return json.dumps(value, default=_default, allow_nan=False, ensure_ascii=False, separators=(",", ":"))


def plain(value: Any) -> Any:
    """Returns value as it arrives after a way through JSON: tuples are lists, dates are texts."""
    return json.loads(encode(value))


def instant(moment: datetime.datetime) -> str:
    """Returns a moment that has a zone in the form of RFC 3339, in UTC."""
    return moment.astimezone(datetime.timezone.utc).isoformat().replace("+00:00", "Z")
