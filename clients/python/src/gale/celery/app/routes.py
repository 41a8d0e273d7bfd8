"""Routing: which queue a task gets, from the setting task_routes."""

from __future__ import annotations

import fnmatch
import re
from typing import Any, Callable, Dict, List, Mapping, Optional, Tuple

from ..utils.imports import symbol_by_name

Router = Callable[..., Optional[Any]]


class MapRoute:
    """Routes by name: a mapping, or pairs, of task name, pattern with * or compiled pattern."""

    def __init__(self, routes: Any) -> None:
        pairs = routes.items() if isinstance(routes, Mapping) else routes
        self.names: Dict[str, Any] = {}
        self.patterns: List[Tuple[Any, Any]] = []
        for key, route in pairs:
            if isinstance(key, re.Pattern):
                self.patterns.append((key, route))
            elif "*" in key or "?" in key:
                self.patterns.append((re.compile(fnmatch.translate(key)), route))
            else:
                self.names[key] = route

    def __call__(self, name: str, *args: Any, **kwargs: Any) -> Optional[Any]:
        """Returns the route of the task with this name, or None."""
        if name in self.names:
            return self.names[name]
        for pattern, route in self.patterns:
            if pattern.match(name):
                return route
        return None


def routers(setting: Any) -> List[Router]:
    """Returns the routers of a value of task_routes."""
    if not setting:
        return []
    if isinstance(setting, Mapping):
        return [MapRoute(setting)]
    if isinstance(setting, (list, tuple)) and all(isinstance(r, tuple) and len(r) == 2 for r in setting):
        return [MapRoute(setting)]
    many = setting if isinstance(setting, (list, tuple)) else [setting]
    return [_router(one) for one in many]


def _router(one: Any) -> Router:
    if isinstance(one, (Mapping, list, tuple)):
        return MapRoute(one)
    if isinstance(one, str):
        one = symbol_by_name(one)
        if isinstance(one, type):
            one = one()
    if hasattr(one, "route_for_task"):
        method = one.route_for_task
        return lambda name, args, kwargs, options, task=None: method(name, args, kwargs)
    return one  # type: ignore[no-any-return]


def route(
    routes: List[Router], name: str, args: Any, kwargs: Any, options: Dict[str, Any], task: Any
) -> Dict[str, Any]:
    """Returns what the first router that knows the task says, as options of apply_async."""
    for router in routes:
        found = router(name, args, kwargs, options, task=task)
        if found is None:
            continue
        if isinstance(found, str):
            return {"queue": found}
        return dict(found)
    return {}


def queue_name(options: Mapping[str, Any]) -> Optional[str]:
    """Returns the queue of some options: queue, a name or an object with one, or routing_key."""
    queue = options.get("queue") or options.get("routing_key")
    if queue is None:
        return None
    return str(getattr(queue, "name", queue))
