"""Signatures: calls as objects."""

from __future__ import annotations

import copy
import itertools
from typing import Any, Callable, Dict, List, Mapping, Optional

from .. import _state
from ..utils import uuid


class Signature(Dict[str, Any]):
    """A call of a task: name, arguments and options of apply_async.

    It is a mapping that JSON can hold. Arguments given later come before its own, unless it is
    immutable.
    """

    #: Classes by subtask_type.
    TYPES: Dict[str, Any] = {}

    def __init__(
        self,
        task: Any = None,
        args: Any = None,
        kwargs: Any = None,
        options: Any = None,
        type: Any = None,
        subtask_type: Optional[str] = None,
        immutable: bool = False,
        app: Any = None,
        **ex: Any,
    ) -> None:
        self._app = app
        if isinstance(task, Mapping):
            super().__init__(task)
            return
        name = task if isinstance(task, str) or task is None else task.name
        if name != task and task is not None and self._app is None:
            self._app = getattr(task, "_app", None)
        super().__init__(
            task=name, args=tuple(args or ()), kwargs=dict(kwargs or {}), options={**(options or {}), **ex},
            subtask_type=subtask_type, immutable=immutable,
        )

    @classmethod
    def from_dict(cls, d: Mapping[str, Any], app: Any = None) -> "Signature":
        """Returns the signature that a mapping describes, of the class that it names."""
        kind = cls.TYPES.get(d.get("subtask_type") or "")
        if kind is not None and kind is not cls:
            made: Signature = kind._restore(d, app)
            return made
        return Signature(d, app=app)

    @property
    def app(self) -> Any:
        """The application of the signature."""
        return self._app or _state.get_current_app()

    @property
    def type(self) -> Any:
        """The task. KeyError (NotRegistered): the application does not have it."""
        return self.app.tasks[self["task"]]

    @property
    def task(self) -> Any:
        """The name of the task."""
        return self["task"]

    name = task

    @property
    def id(self) -> Any:
        """The id that the task will have, if it is known."""
        return self.options.get("task_id")

    @property
    def args(self) -> Any:
        """The positional arguments."""
        return self["args"]

    @args.setter
    def args(self, value: Any) -> None:
        self["args"] = value

    @property
    def kwargs(self) -> Any:
        """The keyword arguments."""
        return self["kwargs"]

    @property
    def options(self) -> Any:
        """Options of apply_async."""
        return self["options"]

    @property
    def immutable(self) -> bool:
        """Whether it refuses results of other tasks."""
        return bool(self.get("immutable"))

    @property
    def subtask_type(self) -> Any:
        """chain, group, chord and the like; None for a task."""
        return self["subtask_type"]

    # Calls

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Runs the task here and now, as a function call."""
        args, kwargs, _ = self._merge(args, kwargs, {}, force=True)
        return self.type(*args, **kwargs)

    def delay(self, *args: Any, **kwargs: Any) -> Any:
        """Enqueues the task, with further arguments."""
        return self.apply_async(args, kwargs)

    def apply_async(self, args: Any = None, kwargs: Any = None, **options: Any) -> Any:
        """Enqueues the task, with further arguments and options."""
        args, kwargs, options = self._merge(args, kwargs, options)
        if self["task"] in self.app.tasks:
            return self.type.apply_async(args, kwargs, **options)
        return self.app.send_task(self["task"], args, kwargs, **options)

    def apply(self, args: Any = None, kwargs: Any = None, **options: Any) -> Any:
        """Runs the task here and now and returns an EagerResult."""
        args, kwargs, options = self._merge(args, kwargs, options)
        return self.type.apply(args, kwargs, **options)

    def _merge(self, args: Any = None, kwargs: Any = None, options: Any = None, force: bool = False) -> Any:
        options = {**self.options, **(options or {})}
        if self.immutable and not force:
            return tuple(self.args), dict(self.kwargs), options
        return tuple(args or ()) + tuple(self.args), {**self.kwargs, **(kwargs or {})}, options

    # Changes

    def clone(self, args: Any = None, kwargs: Any = None, **options: Any) -> Any:
        """Returns a copy with further arguments and options."""
        args, kwargs, options = self._merge(args, kwargs, options)
        made = Signature.from_dict(
            {**self, "args": tuple(args), "kwargs": copy.copy(kwargs), "options": copy.deepcopy(options)}, app=self._app
        )
        return made

    partial = clone

    def set(self, immutable: Optional[bool] = None, **options: Any) -> Any:
        """Sets options of apply_async and returns the signature."""
        if immutable is not None:
            self.set_immutable(immutable)
        self.options.update(options)
        return self

    def set_immutable(self, immutable: bool) -> None:
        """Makes the signature refuse results of other tasks, or take them."""
        self["immutable"] = immutable

    def replace(self, args: Any = None, kwargs: Any = None, options: Any = None) -> Any:
        """Returns a copy with other arguments or options."""
        made = self.clone()
        for key, value in (("args", args), ("kwargs", kwargs), ("options", options)):
            if value is not None:
                made[key] = value
        return made

    def freeze(self, _id: Optional[str] = None, **kwargs: Any) -> Any:
        """Gives the signature its id and returns the result that the task will have."""
        id = self.options.setdefault("task_id", _id or uuid())
        return self.app.AsyncResult(id, task_name=self["task"])

    def link(self, callback: Any) -> Any:
        """Adds a task that is enqueued with the result. Returns the task."""
        return self._append("link", callback)

    def link_error(self, errback: Any) -> Any:
        """Adds a task that is enqueued when this one fails. Returns the task."""
        return self._append("link_error", errback)

    def on_error(self, errback: Any) -> Any:
        """Does what link_error does and returns the signature itself."""
        self.link_error(errback)
        return self

    def _append(self, key: str, value: Any) -> Any:
        items = self.options.get(key) or []
        items = list(items) if isinstance(items, (list, tuple)) else [items]
        if value not in items:
            items.append(value)
        self.options[key] = items
        return value

    def flatten_links(self) -> List[Any]:
        """Returns the signature and all tasks that its link options lead to."""
        links = [maybe_signature(one, self._app) for one in self.options.get("link") or []]
        return [self, *itertools.chain.from_iterable(one.flatten_links() for one in links)]

    # Combinations

    def steps(self) -> List[Any]:
        """Returns the signatures that follow one after the other: here only this one."""
        return [self]

    def __or__(self, other: Any) -> Any:
        from ._sequence import join

        return join(self, other) if isinstance(other, Signature) else NotImplemented

    def __ior__(self, other: Any) -> Any:
        return self.__or__(other)

    def __invert__(self) -> Any:
        return self.apply_async().get()

    def __deepcopy__(self, memo: Any) -> Any:
        return Signature.from_dict(copy.deepcopy(dict(self), memo), app=self._app)

    def __copy__(self) -> Any:
        return Signature.from_dict(dict(self), app=self._app)

    def __reduce__(self) -> Any:
        return _restore, (dict(self),)

    def reprcall(self, *args: Any, **kwargs: Any) -> str:
        """Returns the call as Python text."""
        args, kwargs, _ = self._merge(args, kwargs, {}, force=True)
        return f"{self['task']}({', '.join([*map(repr, args), *(f'{k}={v!r}' for k, v in kwargs.items())])})"

    def __repr__(self) -> str:
        return self.reprcall()

    def __json__(self) -> Any:
        return dict(self)


def _restore(d: Mapping[str, Any]) -> Signature:
    return Signature.from_dict(d)


def signature(varies: Any, *args: Any, **kwargs: Any) -> Any:
    """Returns a signature: of a task or its name and arguments, of a mapping, or a copy of one."""
    app = kwargs.get("app")
    if isinstance(varies, Signature):
        return varies.clone()
    if isinstance(varies, Mapping):
        return Signature.from_dict(varies, app=app)
    return Signature(varies, *args, **kwargs)


subtask = signature


def maybe_signature(d: Any, app: Any = None, clone: bool = False) -> Any:
    """Returns d as a signature if it is a mapping, else d itself."""
    if isinstance(d, Signature):
        if clone:
            d = d.clone()
    elif isinstance(d, Mapping):
        d = Signature.from_dict(d, app=app)
    if isinstance(d, Signature) and app is not None and d._app is None:
        d._app = app
    return d


def register(name: str) -> Callable[[Any], Any]:
    """Makes a class the one of a subtask_type."""

    def add(cls: Any) -> Any:
        Signature.TYPES[name] = cls
        return cls

    return add
