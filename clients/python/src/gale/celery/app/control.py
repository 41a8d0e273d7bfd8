"""app.control: what one process asks of all workers."""

from __future__ import annotations

from typing import Any, Dict, List, NoReturn, Optional

_INSTEAD = {
    "purge": "use: server tasks purge",
    "discard_all": "use: server tasks purge",
    "rate_limit": "change the task option rate_limit and reload the workers",
    "time_limit": "change the task options time_limit and soft_time_limit and reload the workers",
    "add_consumer": "use: server tasks queues resume NAME, and the worker flag -Q",
    "cancel_consumer": "use: server tasks queues pause NAME",
    "pool_grow": "start more workers, or change the worker flag -c",
    "pool_shrink": "change the worker flag -c",
    "pool_restart": "send HUP to the worker",
    "autoscale": "start more workers",
    "shutdown": "send TERM to the worker",
    "broadcast": "there is no channel from clients to workers",
    "enable_events": "use GET /tasks/{id}/watch",
    "disable_events": "use GET /tasks/{id}/watch",
    "election": "schedules need no leader",
    "revoke_by_stamped_headers": "use revoke with ids",
}


class Control:
    """Commands for tasks and workers. The server executes them, also if no worker is there."""

    def __init__(self, app: Any) -> None:
        self.app = app

    def revoke(self, task_id: Any, terminate: bool = False, signal: Any = None, **kwargs: Any) -> None:
        """Cancels a task, or each of several. It never starts, or ends if it runs.

        In Celery a running task ends only with terminate; here always.
        """
        for id in task_id if isinstance(task_id, (list, tuple, set)) else [task_id]:
            self.app.backend.cancel(str(id))

    def terminate(self, task_id: Any, signal: Any = None, **kwargs: Any) -> None:
        """Does what revoke does."""
        self.revoke(task_id)

    def ping(self, destination: Any = None, timeout: float = 1.0, **kwargs: Any) -> List[Dict[str, Any]]:
        """Returns an entry for the worker that took a task within timeout seconds, or nothing.

        The task is celery.ping, on the default queue.
        """
        found = self.inspect(destination, timeout).ping()
        return [{name: reply} for name, reply in (found or {}).items()]

    def inspect(self, destination: Any = None, timeout: float = 1.0, **kwargs: Any) -> "Inspect":
        """Returns an object that lists what the workers do."""
        return Inspect(self.app, destination, timeout)

    def __getattr__(self, name: str) -> NoReturn:
        if name in _INSTEAD:
            raise NotImplementedError(f"control.{name} is not supported: {_INSTEAD[name]}")
        raise AttributeError(name)


class Inspect:
    """Lists tasks by worker, as the server sees them.

    Tasks that no worker has started are listed under the name "gale". Methods return None if
    there is nothing to list, as in Celery when no worker responds.
    """

    def __init__(self, app: Any, destination: Any = None, timeout: float = 1.0) -> None:
        self.app = app
        wanted = [destination] if isinstance(destination, str) else destination
        self._wanted = set(wanted) if wanted else None
        self._timeout = timeout

    def active(self, safe: Any = None) -> Optional[Dict[str, List[Dict[str, Any]]]]:
        """Lists the tasks that run."""
        return self._list("running")

    def reserved(self, safe: Any = None) -> Optional[Dict[str, List[Dict[str, Any]]]]:
        """Lists the tasks that wait for a worker."""
        return self._list("queued")

    def scheduled(self, safe: Any = None) -> Optional[Dict[str, List[Dict[str, Any]]]]:
        """Lists the tasks that wait for their time."""
        found = self._list("scheduled")
        return found and {w: [{"eta": t["eta"], "priority": None, "request": t} for t in ts] for w, ts in found.items()}

    def revoked(self) -> Optional[Dict[str, List[str]]]:
        """Lists the ids of the tasks that were cancelled."""
        found = self._list("cancelled")
        return found and {w: [t["id"] for t in ts] for w, ts in found.items()}

    def registered(self, *taskinfoitems: Any) -> Optional[Dict[str, List[str]]]:
        """Lists the names of the tasks that the server knows."""
        names = sorted(str(t["task"]) for t in self.app.backend.types())
        return {"gale": names} if names else None

    registered_tasks = registered

    def ping(self, destination: Any = None) -> Optional[Dict[str, Dict[str, str]]]:
        """Returns the worker that took a task in time, or None. See Control.ping."""
        result = self.app.send_task("celery.ping", expires=max(self._timeout, 1.0), add_to_parent=False)
        try:
            result.get(timeout=self._timeout, disable_sync_subtasks=False)
        except Exception:
            result.revoke()
            return None
        name = str(result.worker)
        return {name: {"ok": "pong"}} if self._wanted is None or name in self._wanted else None

    def query_task(self, *ids: Any) -> Dict[str, Dict[str, Any]]:
        """Returns the state and the request of each id that the server knows."""
        flat = [i for one in ids for i in (one if isinstance(one, (list, tuple)) else [one])]
        found = {id: self.app.backend.task(id) for id in flat}
        return {"gale": {id: [t["state"], _request(t)] for id, t in found.items() if t is not None}}

    def _list(self, state: str) -> Optional[Dict[str, List[Dict[str, Any]]]]:
        found: Dict[str, List[Dict[str, Any]]] = {}
        for task in self.app.backend.tasks(state):
            worker = task.get("worker") or "gale"
            if self._wanted is None or worker in self._wanted:
                found.setdefault(worker, []).append(_request(task))
        return found or None

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("_"):
            raise AttributeError(name)
        raise NotImplementedError(f"inspect().{name} is not supported: see /console, server status and /metrics")


def _request(task: Dict[str, Any]) -> Dict[str, Any]:
    return {
        "id": task["id"], "name": task["task"], "type": task["task"], "args": task.get("args"),
        "kwargs": task.get("kwargs"), "hostname": task.get("worker"), "time_start": task.get("started"),
        "eta": task.get("eta"), "delivery_info": {"routing_key": task.get("queue")},
    }
