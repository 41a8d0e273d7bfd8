"""A Backend in memory: it follows the server's rules for tasks, workflows and retries.

Tasks run when run is called, in this thread, through the handlers that a worker uses. Every
body passes through JSON.
"""

from __future__ import annotations

import datetime
import json
from typing import Any, Dict, Iterator, List, Mapping, Optional

from gale import Fail, Job, Release, Retry
from gale.job import Channel

_TASK_KEYS = frozenset(
    ["task", "id", "args", "kwargs", "queue", "eta", "countdown", "expires", "timeout", "max_retries", "headers"]
    + ["link", "link_error", "results", "immutable", "wait_for_worker"]
)


class Memory:
    """The server and one worker. now is the clock, in seconds; delays advance it."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self.bodies: List[Dict[str, Any]] = []
        self.stored: Dict[str, Dict[str, Any]] = {}
        self.groups: Dict[str, Dict[str, Any]] = {}
        self.queue: List[str] = []
        self.delays: Dict[str, List[float]] = {}
        self.channels: Dict[str, Channel] = {}

    # Backend

    def enqueue(self, body: Mapping[str, Any]) -> None:
        body = json.loads(json.dumps(body, allow_nan=False))
        self.bodies.append(body)
        self._accept(body)

    def task(self, id: str, wait: float = 0) -> Optional[Dict[str, Any]]:
        if wait:
            self.run()
        found = self.stored.get(id)
        return None if found is None else dict(found["json"])

    def workflow(self, id: str) -> Optional[Dict[str, Any]]:
        found = self.groups.get(id)
        return found and {"id": id, "kind": "group", "tasks": [{"id": m} for m in found["members"]]}

    def cancel(self, id: str) -> None:
        task = self.stored.get(id)
        if task is not None and task["json"]["state"] in ("queued", "scheduled", "retrying", "running"):
            task["json"].update(state="cancelled", error="cancelled")

    def tasks(self, state: str) -> Iterator[Dict[str, Any]]:
        return (dict(t["json"]) for t in self.stored.values() if t["json"]["state"] == state)

    def types(self) -> List[Dict[str, Any]]:
        return [{"task": name} for name in self.app.tasks]

    # The server

    def _accept(self, body: Dict[str, Any], next: Any = None, group: Optional[str] = None) -> None:
        if "chain" in body:
            first, *rest = body["chain"]
            assert not {"results", "immutable"} & set(first), "the first task gets no results"
            self._accept(first, rest)
        elif "group" in body:
            self._accept_group(body, next or [], [])
        else:
            unknown = set(body) - _TASK_KEYS
            assert not unknown, f"the server refuses {unknown}"
            state = "scheduled" if body.get("eta") or body.get("countdown") else "queued"
            self.stored[body["id"]] = {
                "body": body, "next": next or [], "group": group, "retries": 0,
                "json": {
                    "id": body["id"], "task": body["task"], "state": state, "args": body.get("args", []),
                    "kwargs": body.get("kwargs", {}), "queue": body.get("queue", "default"), "attempts": 0,
                    "failures": [], "created": datetime.datetime.now(datetime.timezone.utc).isoformat(),
                },
            }
            self.queue.append(body["id"])

    def _accept_group(self, body: Dict[str, Any], next: List[Any], results: List[Any]) -> None:
        members = body["group"]
        assert not next or "group" not in next[0], "a group follows a group"
        self.groups[body["id"]] = {"members": [m["id"] for m in members], "next": next, "left": len(members)}
        for member in members:
            assert not {"results", "immutable"} & set(member), "they are keys of the group"
            passed_on = {k: body[k] for k in ("results", "immutable") if k in body}
            self._accept(_with_results({**member, **passed_on}, results), group=body["id"])

    def _follow(self, next: List[Any], results: List[Any]) -> None:
        if not next:
            return
        first, rest = next[0], next[1:]
        if "group" in first:
            self._accept_group(first, rest, results)
        else:
            self._accept(_with_results(first, results), rest)

    def _end(self, id: str, state: str, result: Any = None, error: str = "") -> None:
        task = self.stored[id]
        task["json"].update(
            state=state, result=result, error=error, finished=datetime.datetime.now(datetime.timezone.utc).isoformat()
        )
        if state == "success":
            for link in task["body"].get("link", []):
                assert "group" not in link, "link takes tasks"
                self._follow([link], [result])
            self._follow(task["next"], [result])
        else:
            for link in task["body"].get("link_error", []):
                self._accept(link if link.get("immutable") else {**link, "args": [error, *link.get("args", [])]})
        if task["group"]:
            self._count(self.groups[task["group"]], id, state, error)

    def _count(self, group: Dict[str, Any], id: str, state: str, error: str) -> None:
        group["left"] -= 1
        if state != "success" and group["next"]:
            callback = group["next"][0]
            group["next"] = []
            self._accept(callback)
            self._end(callback["id"], "failed", error=f"member {id} of the group did not succeed: {error}")
            self.queue.remove(callback["id"])
        if group["left"] == 0:
            self._follow(group["next"], [self.stored[m]["json"].get("result") for m in group["members"]])

    # The worker

    def run(self) -> None:
        """Runs all tasks, also those whose time has not come."""
        while self.queue:
            id = self.queue.pop(0)
            if self.stored[id]["json"]["state"] != "cancelled":
                self._attempt(id)

    def _attempt(self, id: str) -> None:
        task = self.stored[id]
        raw, body = task["json"], task["body"]
        raw.update(state="running", worker="w0", attempts=raw["attempts"] + 1)
        lease = {"task": raw, "headers": body.get("headers", {}), "retries": task["retries"]}
        channel = self.channels.setdefault(id, Channel())
        job = Job(json.loads(json.dumps(lease)), channel)
        handler = self.app.handler(raw["task"])
        assert handler is not None, raw["task"]
        try:
            result = handler(job)
        except Retry as again:
            raw["failures"].append({"error": again.reason})
            self.delays.setdefault(id, []).append(again.delay or 0)
            task["retries"] += 1
            if task["retries"] > body.get("max_retries", 0):
                self._end(id, "failed", error=again.reason)
                return
            raw.update(state="retrying", error=again.reason)
            self.queue.append(id)
        except Release as released:
            self.delays.setdefault(id, []).append(released.delay)
            raw["created"] = "2000-01-01T00:00:00Z"  # as if the delay were over
            body.get("headers", {}).pop("not_before", None)
            self.queue.append(id)
        except Fail as failed:
            self._end(id, "failed", error=str(failed))
        else:
            self._end(id, "success", json.loads(json.dumps(result, allow_nan=False)))


def _with_results(body: Dict[str, Any], results: List[Any]) -> Dict[str, Any]:
    if body.get("immutable") or not results:
        return body
    own, how = body.get("args", []), body.get("results", "append")
    args = {"append": [*own, *results], "prepend": [*results, *own], "list": [results, *own]}[how]
    return {**body, "args": args}
