"""Groups and chords."""

from __future__ import annotations

from typing import Any, List, Mapping, Optional

from ..result import GroupResult, allow_join_result
from ..utils import uuid
from . import _send
from ._signature import Signature, maybe_signature, register


@register("group")
class group(Signature):
    """Tasks that run at the same time: group(a, b), or group of an iterable."""

    def __init__(self, *tasks: Any, app: Any = None, **options: Any) -> None:
        if len(tasks) == 1 and not isinstance(tasks[0], Mapping):
            tasks = tuple(tasks[0])
        elif len(tasks) == 1 and isinstance(tasks[0], group):
            tasks = tuple(tasks[0].tasks)
        members: List[Any] = []
        for one in tasks:
            one = maybe_signature(one, app, clone=True)
            if type(one) is group:
                members.extend(one.members())
            else:
                members.append(one)
        if app is None and members:
            app = members[0]._app
        super().__init__("celery.group", (), {"tasks": members}, options, subtask_type="group", app=app)

    @classmethod
    def _restore(cls, d: Mapping[str, Any], app: Any = None) -> Any:
        made = group(list(d["kwargs"]["tasks"]), app=app)
        made.update(args=tuple(d.get("args") or ()), options=dict(d.get("options") or {}))
        made["immutable"] = d.get("immutable", False)
        return made

    @property
    def tasks(self) -> List[Any]:
        """The members."""
        found: List[Any] = self.kwargs["tasks"]
        return found

    def members(self, args: Any = None, kwargs: Any = None) -> List[Any]:
        """Returns copies of the members with the arguments given so far."""
        before = tuple(args or ()) + tuple(self.args)
        return [m.clone(before, kwargs) for m in self.tasks]

    def clone(self, args: Any = None, kwargs: Any = None, **options: Any) -> Any:
        """Returns a copy whose members have further arguments."""
        return group._restore(
            {**self, "args": tuple(args or ()) + tuple(self.args), "options": {**self.options, **options}}, self._app
        )

    def __call__(self, *args: Any, **options: Any) -> Any:
        """Enqueues the group."""
        return self.apply_async(args, **options)

    def delay(self, *args: Any, **kwargs: Any) -> Any:
        """Enqueues the group; the arguments come before those of each member."""
        return self.apply_async(args, kwargs)

    def apply_async(self, args: Any = None, kwargs: Any = None, **options: Any) -> Any:
        """Enqueues the group and returns its GroupResult. Options are those of each member."""
        if options.get("link") is not None:
            raise TypeError("Cannot add link to group: use a chord")
        if self.app.conf.task_always_eager:
            with allow_join_result():
                return self.apply(args, kwargs, **options)
        return _send.send_group(self.app, self.members(args, kwargs), {**self.options, **options})

    def apply(self, args: Any = None, kwargs: Any = None, **options: Any) -> Any:
        """Runs the members here and now, one after the other."""
        results = [m.apply(**options) for m in self.members(args, kwargs)]
        return GroupResult(options.get("task_id") or uuid(), results, app=self.app)

    def freeze(self, _id: Optional[str] = None, **kwargs: Any) -> Any:
        """Gives the group and its members ids and returns the GroupResult."""
        id = self.options.setdefault("task_id", _id or uuid())
        return GroupResult(id, [m.freeze() for m in self.tasks], app=self.app)

    def link(self, sig: Any) -> Any:
        """Adds a task after the first member, as Celery does. A chord waits for all members."""
        return self.tasks[0].link(sig.clone().set(immutable=True))

    def link_error(self, sig: Any) -> Any:
        """Adds a task that is enqueued when a member fails, for each of them."""
        for m in self.tasks:
            m.link_error(sig.clone().set(immutable=True))
        return sig

    def set_immutable(self, immutable: bool) -> None:
        """Makes the members refuse results of other tasks."""
        for m in self.tasks:
            m.set_immutable(immutable)

    def skew(self, start: float = 1.0, stop: Any = None, step: float = 1.0) -> Any:
        """Gives the members increasing countdowns and returns the group."""
        delay = start
        for m in self.tasks:
            m.set(countdown=delay)
            delay += step
            if stop is not None and delay > stop:
                delay = start
        return self

    def __len__(self) -> int:
        return len(self.tasks)

    def __bool__(self) -> bool:
        return True

    def __repr__(self) -> str:
        return f"group({self.tasks!r})"


@register("chord")
class chord(Signature):
    """A group, the header, and a task, the body, that gets the list of the group's results.

    chord(header)(body) and chord(header, body) are the same. If a member fails, the body ends
    with ChordError.
    """

    def __init__(self, header: Any, body: Any = None, task: Any = None, app: Any = None, **options: Any) -> None:
        if not isinstance(header, group):
            header = group(header, app=app)
        body = maybe_signature(body, app, clone=True)
        super().__init__(
            "celery.chord", (), {"header": header, "body": body}, options, subtask_type="chord", app=app or header._app
        )

    @classmethod
    def _restore(cls, d: Mapping[str, Any], app: Any = None) -> Any:
        made = chord(maybe_signature(d["kwargs"]["header"], app, clone=True), d["kwargs"].get("body"), app=app)
        made.update(args=tuple(d.get("args") or ()), options=dict(d.get("options") or {}))
        made["immutable"] = d.get("immutable", False)
        return made

    @property
    def tasks(self) -> Any:
        """The header."""
        return self.kwargs["header"]

    header = tasks

    @property
    def body(self) -> Any:
        """The body."""
        return self.kwargs["body"]

    def clone(self, args: Any = None, kwargs: Any = None, **options: Any) -> Any:
        """Returns a copy; further arguments are those of the header's members."""
        return chord._restore(
            {**self, "args": tuple(args or ()) + tuple(self.args), "options": {**self.options, **options}}, self._app
        )

    def __call__(self, body: Any = None, **options: Any) -> Any:
        """Enqueues the chord."""
        return self.apply_async((), {"body": body} if body is not None else {}, **options)

    def apply_async(self, args: Any = None, kwargs: Any = None, **options: Any) -> Any:
        """Enqueues the chord and returns the result of its body. Options are those of the body."""
        kwargs = dict(kwargs or {})
        body = maybe_signature(kwargs.pop("body", None) or self.body, self._app)
        if body is None:
            raise ValueError("a chord needs a body")
        whole = chord(self.tasks.clone(tuple(args or ()) + tuple(self.args)), body, app=self._app)
        if self.app.conf.task_always_eager:
            with allow_join_result():
                return whole.apply((), kwargs, **options)
        whole.body.options.update({**self.options, **options})
        if not whole.tasks.tasks:
            return whole.body.apply_async(([],))
        return _send.send_steps(self.app, [whole], kwargs, {})

    def apply(self, args: Any = None, kwargs: Any = None, propagate: bool = True, **options: Any) -> Any:
        """Runs header and body here and now."""
        header = self.tasks.clone(tuple(args or ()) + tuple(self.args)).apply(kwargs=kwargs)
        return self.body.apply((header.get(propagate=propagate),), **options)

    def freeze(self, _id: Optional[str] = None, **kwargs: Any) -> Any:
        """Gives all tasks ids and returns the result of the body."""
        header = self.tasks.freeze()
        result = self.body.freeze(_id)
        first = result
        while first.parent is not None:
            first = first.parent
        first.parent = header
        return result

    def link(self, callback: Any) -> Any:
        """Adds a task that is enqueued with the result of the body."""
        self.body.link(callback)
        return callback

    def link_error(self, errback: Any) -> Any:
        """Adds a task that is enqueued when the body fails."""
        self.body.link_error(errback)
        return errback

    def set_immutable(self, immutable: bool) -> None:
        """Makes the body refuse the results."""
        self.body.set_immutable(immutable)

    def __len__(self) -> int:
        return len(self.tasks)

    def __bool__(self) -> bool:
        return True

    def __repr__(self) -> str:
        return f"chord({self.tasks.tasks!r}, {self.body!r})"
