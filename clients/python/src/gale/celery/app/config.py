"""Settings: the names of Celery, new and old, with the defaults that Gale has."""

from __future__ import annotations

import copy
import logging
import re
from typing import Any, Dict, Iterator, Mapping, MutableMapping, Optional

from ..exceptions import ImproperlyConfigured

_log = logging.getLogger("celery")

#: Settings that have an effect.
EFFECTIVE: Dict[str, Any] = {
    "accept_content": ["json"],
    "beat_schedule": {},
    "broker_url": None,
    "enable_utc": True,
    "imports": (),
    "include": (),
    "result_serializer": "json",
    "task_always_eager": False,
    "task_annotations": None,
    "task_default_queue": None,
    "task_default_rate_limit": None,
    "task_eager_propagates": False,
    "task_ignore_result": False,
    "task_routes": None,
    "task_serializer": "json",
    "task_soft_time_limit": None,
    "task_time_limit": None,
    "timezone": None,
}

#: Settings that Celery modules read, with Celery's default. They have no effect here.
_KNOWN: Dict[str, Any] = {
    "beat_max_loop_interval": 0,
    "broker_connection_retry": True,
    "broker_connection_retry_on_startup": None,
    "broker_transport_options": {},
    "result_backend": None,
    "result_expires": None,
    "result_extended": False,
    "task_acks_late": False,
    "task_create_missing_queues": True,
    "task_default_exchange": None,
    "task_default_priority": None,
    "task_default_routing_key": None,
    "task_publish_retry": True,
    "task_queues": None,
    "task_reject_on_worker_lost": None,
    "task_send_sent_event": False,
    "task_store_eager_result": False,
    "task_track_started": False,
    "worker_concurrency": None,
    "worker_hijack_root_logger": True,
    "worker_max_memory_per_child": None,
    "worker_max_tasks_per_child": None,
    "worker_prefetch_multiplier": 4,
    "worker_send_task_events": False,
}

_OLD = {
    "BROKER_HOST": "broker_host",
    "BROKER_POOL_LIMIT": "broker_pool_limit",
    "BROKER_TRANSPORT_OPTIONS": "broker_transport_options",
    "BROKER_URL": "broker_url",
    "CELERYBEAT_SCHEDULE": "beat_schedule",
    "CELERYBEAT_SCHEDULER": "beat_scheduler",
    "CELERYD_CONCURRENCY": "worker_concurrency",
    "CELERYD_HIJACK_ROOT_LOGGER": "worker_hijack_root_logger",
    "CELERYD_MAX_TASKS_PER_CHILD": "worker_max_tasks_per_child",
    "CELERYD_PREFETCH_MULTIPLIER": "worker_prefetch_multiplier",
    "CELERYD_TASK_SOFT_TIME_LIMIT": "task_soft_time_limit",
    "CELERYD_TASK_TIME_LIMIT": "task_time_limit",
    "CELERY_ACCEPT_CONTENT": "accept_content",
    "CELERY_ACKS_LATE": "task_acks_late",
    "CELERY_ALWAYS_EAGER": "task_always_eager",
    "CELERY_ANNOTATIONS": "task_annotations",
    "CELERY_CREATE_MISSING_QUEUES": "task_create_missing_queues",
    "CELERY_DEFAULT_QUEUE": "task_default_queue",
    "CELERY_DEFAULT_RATE_LIMIT": "task_default_rate_limit",
    "CELERY_EAGER_PROPAGATES": "task_eager_propagates",
    "CELERY_EAGER_PROPAGATES_EXCEPTIONS": "task_eager_propagates",
    "CELERY_ENABLE_UTC": "enable_utc",
    "CELERY_IGNORE_RESULT": "task_ignore_result",
    "CELERY_IMPORTS": "imports",
    "CELERY_INCLUDE": "include",
    "CELERY_QUEUES": "task_queues",
    "CELERY_RESULT_BACKEND": "result_backend",
    "CELERY_RESULT_SERIALIZER": "result_serializer",
    "CELERY_ROUTES": "task_routes",
    "CELERY_SEND_TASK_SENT_EVENT": "task_send_sent_event",
    "CELERY_TASK_RESULT_EXPIRES": "result_expires",
    "CELERY_TASK_SERIALIZER": "task_serializer",
    "CELERY_TIMEZONE": "timezone",
    "CELERY_TRACK_STARTED": "task_track_started",
}

_SETTING = re.compile(r"[a-z][a-z0-9_]*\Z")


class Settings(MutableMapping[str, Any]):
    """Settings by name, as items and as attributes.

    Names are the lower-case ones of Celery; the old upper-case names are accepted too. A
    name that Celery does not know is kept, so that an application can have settings of its own.
    """

    def __init__(self) -> None:
        object.__setattr__(self, "_values", {})

    def __getitem__(self, name: str) -> Any:
        name = new_name(name)
        if name not in self._values:
            default = EFFECTIVE[name] if name in EFFECTIVE else _KNOWN[name]
            if not isinstance(default, (dict, list)):
                return default
            self._values[name] = copy.copy(default)  # it may be changed in place
        return self._values[name]

    def __setitem__(self, name: str, value: Any) -> None:
        name = new_name(name)
        _check(name, value)
        self._values[name] = value

    def __delitem__(self, name: str) -> None:
        del self._values[new_name(name)]

    def __iter__(self) -> Iterator[str]:
        return iter({**_KNOWN, **EFFECTIVE, **self._values})

    def __len__(self) -> int:
        return len({**_KNOWN, **EFFECTIVE, **self._values})

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"settings have no {name}") from None

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value

    def load(self, source: Any, namespace: Optional[str]) -> None:
        """Takes over the settings of a mapping or of an object's attributes.

        With a namespace, only names that begin with it and an underscore are settings:
        with "CELERY", CELERY_TASK_ALWAYS_EAGER is task_always_eager.
        """
        names = list(source) if isinstance(source, Mapping) else dir(source)
        for name in names:
            if not isinstance(name, str) or name.startswith("_"):
                continue
            setting = name
            if namespace:
                prefix = namespace.rstrip("_") + "_"
                if not name.startswith(prefix):
                    continue
                setting = name if name in _OLD else name[len(prefix) :].lower()
            if not _SETTING.match(new_name(setting)):
                continue
            self[setting] = source[name] if isinstance(source, Mapping) else getattr(source, name)

    def humanize(self) -> str:
        """Returns the settings that were made, one a line, without secrets."""
        hidden = re.compile("url|password|secret|token|key", re.I)
        return "\n".join(
            f"{k}: {'********' if hidden.search(k) else repr(v)}" for k, v in sorted(self._values.items())
        )


def new_name(name: str) -> str:
    """Returns the lower-case name of a setting."""
    if name in _OLD:
        return _OLD[name]
    lower = name.lower()
    return lower if name.isupper() and (lower in EFFECTIVE or lower in _KNOWN) else name


def _check(name: str, value: Any) -> None:
    if name in ("task_serializer", "result_serializer") and value not in (None, "json", "application/json"):
        raise ImproperlyConfigured(f"{name}={value!r} is not supported: arguments and results are JSON, use 'json'")
    if name == "accept_content" and value is not None:
        content = [value] if isinstance(value, str) else list(value)
        if not {"json", "application/json"} & set(content):
            raise ImproperlyConfigured(f"accept_content={content!r} is not supported: it must contain 'json'")
        other = [c for c in content if c not in ("json", "application/json")]
        if other:
            raise ImproperlyConfigured(f"accept_content={content!r} is not supported: remove {', '.join(other)}")
    if name == "timezone" and isinstance(value, str):
        zone(value)


def zone(name: Any) -> Any:
    """Returns the time zone with this name; None is UTC. Raises ImproperlyConfigured."""
    import datetime

    if name is None or name in ("UTC", "utc"):
        return datetime.timezone.utc
    if isinstance(name, datetime.tzinfo):
        return name
    import zoneinfo

    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError):
        raise ImproperlyConfigured(f"timezone={name!r}: there is no such time zone") from None
