"""From a workflow to the body of POST /tasks.

The server knows a chain, whose elements are tasks and groups, and a group with a callback. A
task that follows others gets their results as Celery passes them on: before its own arguments,
and after a group as one list.
"""

from __future__ import annotations

from typing import Any, Dict, Iterator, List, Mapping, Optional

from ..app._publish import element, published, remember_child
from ..result import AsyncResult, GroupResult
from ..utils import uuid


def send_steps(app: Any, steps: List[Any], kwargs: Any, first: Mapping[str, Any]) -> Any:
    """Enqueues steps that follow one after the other and returns the result of the last.

    first has options of the first step, and task_id, which is that of the last one.
    """
    first = dict(first)
    last_id = first.pop("task_id", None)
    steps = list(_flat(steps))
    for step in steps:
        step.options.pop("task_id", None) if step is steps[-1] and last_id else None
    if first or kwargs:
        steps[0] = steps[0].clone((), kwargs, **first)
    if last_id:
        steps[-1].options["task_id"] = last_id
    if len(steps) == 1 and steps[0].subtask_type == "group":
        return send_group(app, steps[0].members(), steps[0].options)
    result = _results(app, steps)
    elements = [_step_element(app, step, steps[i - 1] if i else None, i + 1 < len(steps)) for i, step in enumerate(steps)]
    _post(app, elements)
    remember_child(result)
    return result


def _flat(steps: List[Any]) -> Iterator[Any]:
    """Yields the steps, with the header and the body of a chord as steps of their own."""
    for step in steps:
        if step.subtask_type == "chain":
            yield from _flat(step.steps())
        elif step.subtask_type == "chord":
            yield step.tasks.clone(step.args)
            yield from _flat([step.body.clone()])
        else:
            yield step


def _results(app: Any, steps: List[Any]) -> Any:
    """Gives all tasks ids and returns the result of the last, with those before it as parents."""
    last: Any = None
    for step in steps:
        result = step.freeze()
        result.parent, last = last, result
    return last


def _step_element(app: Any, step: Any, before: Any, more: bool) -> Dict[str, Any]:
    """Returns the JSON object of a step. before is the step before it; more says that one follows."""
    after_group = before is not None and before.subtask_type == "group"
    if step.subtask_type == "group":
        if after_group:
            raise NotImplementedError("a group after a group is not supported: put a task between them")
        return _group_element(app, step, before is not None, more)
    results = None if before is None else "list" if after_group else "prepend"
    return _task(app, step, follower=before is not None, workflow=more, results=results)


def _group_element(app: Any, step: Any, follower: bool, more: bool) -> Dict[str, Any]:
    """Returns the JSON object of a group. The server passes a result on to all members or to none."""
    signatures = step.members()
    members = [_task(app, m, follower=follower, workflow=more, group=step.id) for m in signatures]
    made: Dict[str, Any] = {"group": members, "id": step.id}
    if follower and all(m.immutable for m in signatures):
        made["immutable"] = True
    elif follower:
        made["results"] = "prepend"
        for sig, member in zip(signatures, members):
            if sig.immutable:
                member["headers"] = {**member.get("headers", {}), "skip_args": 1}
    return made


def _task(
    app: Any, sig: Any, *, follower: bool, workflow: bool, results: Optional[str] = None, group: Optional[str] = None
) -> Dict[str, Any]:
    if sig.subtask_type in ("chain", "group", "chord", "chunks"):
        raise NotImplementedError(
            f"a {sig.subtask_type} as a member of a chord or of a group inside a chain is not supported: "
            "make the member one task, or enqueue the workflow from a task"
        )
    task = app.tasks.get(sig["task"])
    if task is not None and task.typing and not follower:
        task.check_arguments(tuple(sig.args), dict(sig.kwargs))
    options = {**sig.options}
    if group:
        options["group_id"] = group
    body = element(app, sig["task"], sig.args, sig.kwargs, task, follower=follower, workflow=workflow, **options)
    if results and sig.immutable:
        body["immutable"] = True
    elif results:
        body["results"] = results
    return body


def _post(app: Any, elements: List[Dict[str, Any]]) -> None:
    """Posts a chain, or the only element of one."""
    tasks = [t for e in elements for t in e.get("group", [e])]
    body = elements[0] if len(elements) == 1 else {"chain": elements}
    app.backend.enqueue(body)
    for task in tasks:
        published(task)


def _linked(elements: List[Dict[str, Any]]) -> Dict[str, Any]:
    """Returns the first element, which has the second one as its link, which has the third one, and so on."""
    first, rest = elements[0], elements[1:]
    if not rest:
        return first
    if "group" in first or "group" in rest[0]:
        raise NotImplementedError("a group in link is not supported: enqueue the group from a task")
    return {**first, "link": [*first.get("link", []), _linked(rest)]}


def link_elements(app: Any, sig: Any, errback_of: Optional[str]) -> Iterator[Dict[str, Any]]:
    """Yields what a callback is in link or link_error: a task, or tasks."""
    steps = list(_flat([sig]))
    if errback_of is not None:
        if len(steps) != 1 or steps[0].subtask_type == "group":
            raise NotImplementedError("link_error takes tasks, not workflows: enqueue the workflow from a task")
        body = _task(app, steps[0], follower=True, workflow=False)
        if steps[0].immutable:
            body["immutable"] = True
        else:
            body["headers"] = {**body.get("headers", {}), "errback_of": errback_of}
        yield body
        return
    if steps[0].subtask_type == "group" and len(steps) == 1:
        for member in steps[0].members():
            yield _task(app, member, follower=True, workflow=False, results="prepend")
        return
    _results(app, steps)
    made = [
        _step_element(app, s, steps[i - 1] if i else _BEFORE, i + 1 < len(steps)) for i, s in enumerate(steps)
    ]
    yield _linked(made)


class _Before:
    subtask_type = None


_BEFORE = _Before()


def send_group(app: Any, members: List[Any], options: Mapping[str, Any]) -> GroupResult:
    """Enqueues tasks that run at the same time. Members that are workflows are enqueued alone."""
    id = options.get("task_id") or uuid()
    more = {k: v for k, v in options.items() if k not in ("task_id", "link_error")}
    members = [m.clone((), {}, **more) if more else m for m in members]
    errbacks = options.get("link_error") or []
    for m in members:
        for errback in errbacks if isinstance(errbacks, (list, tuple)) else [errbacks]:
            m.link_error(errback)
    if not members:
        return GroupResult(id, [], app=app)
    if any(m.subtask_type in ("chain", "group", "chord", "chunks") for m in members):
        return GroupResult(id, [m.apply_async() for m in members], app=app)
    results: List[AsyncResult] = [m.freeze() for m in members]
    tasks = [_task(app, m, follower=False, workflow=False, group=id) for m in members]
    app.backend.enqueue({"group": tasks, "id": id})
    for task in tasks:
        published(task)
    made = GroupResult(id, results, app=app)
    remember_child(made)
    return made
