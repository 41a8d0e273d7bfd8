"""Chains."""

from __future__ import annotations

import functools
import operator
from typing import Any, List, Mapping, Optional

from ..result import allow_join_result
from . import _send
from ._groups import chord, group
from ._signature import Signature, maybe_signature, register


@register("chain")
class chain(Signature):
    """Tasks that run one after the other. Each gets the result of the one before it first.

    chain(a, b, c), chain([a, b, c]) and a | b | c are the same. A group that is followed by a
    task is a chord. A chain of one element is that element.
    """

    def __new__(cls, *tasks: Any, **kwargs: Any) -> Any:
        if "restore" in kwargs:
            return super().__new__(cls)
        if len(tasks) == 1 and not isinstance(tasks[0], Mapping):
            tasks = tuple(tasks[0])
        parts = [maybe_signature(t, kwargs.get("app")) for t in tasks]
        if not parts:
            return _chain([], app=kwargs.get("app"))
        made = functools.reduce(operator.or_, parts)
        made = made.clone() if len(parts) == 1 else made
        made.options.update({k: v for k, v in kwargs.items() if k != "app"})
        return made

    def __init__(self, *tasks: Any, **kwargs: Any) -> None:
        if "restore" in kwargs:
            super().__init__("celery.chain", (), {"tasks": kwargs["restore"]}, subtask_type="chain", app=kwargs.get("app"))

    @classmethod
    def _restore(cls, d: Mapping[str, Any], app: Any = None) -> Any:
        made = _chain([maybe_signature(t, app, clone=True) for t in d["kwargs"]["tasks"]], app=app)
        made.update(args=tuple(d.get("args") or ()), options=dict(d.get("options") or {}))
        made["immutable"] = d.get("immutable", False)
        return made

    @property
    def tasks(self) -> List[Any]:
        """The elements."""
        elements: List[Any] = self.kwargs["tasks"]
        return elements

    def steps(self) -> List[Any]:
        """Returns copies of the elements; the first has the arguments given so far."""
        parts = [t.clone() for t in self.tasks]
        if parts and self.args:
            parts[0] = parts[0].clone(self.args)
        for key, receivers in (("link", parts[-1:]), ("link_error", parts)):
            for callback in self.options.get(key) or []:
                for part in receivers:
                    part._append(key, callback)
        return parts

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Enqueues the chain."""
        return self.apply_async(args, kwargs)

    def apply_async(self, args: Any = None, kwargs: Any = None, **options: Any) -> Any:
        """Enqueues the chain and returns the result of its last task.

        Options such as countdown are those of the first task; link is that of the last one,
        link_error that of all.
        """
        if not self.tasks:
            return None
        if self.app.conf.task_always_eager:
            with allow_join_result():
                return self.apply(args, kwargs, **options)
        made = self.clone(args)
        for key in ("link", "link_error"):
            given = options.pop(key, None)
            for callback in (given if isinstance(given, (list, tuple)) else [given]) if given else []:
                made._append(key, callback)
        own = {k: v for k, v in self.options.items() if k not in ("link", "link_error")}
        return _send.send_steps(self.app, made.steps(), kwargs, {**own, **options})

    def apply(self, args: Any = None, kwargs: Any = None, **options: Any) -> Any:
        """Runs the chain here and now and returns the result of its last task."""
        last: Any = None
        for step in self.clone(args).steps():
            result = step.apply((last.get(),) if last is not None else (), kwargs if last is None else {}, **options)
            result.parent, last = last, result
        return last

    def freeze(self, _id: Optional[str] = None, **kwargs: Any) -> Any:
        """Gives all tasks their ids and returns the result of the last one."""
        last: Any = None
        for i, task in enumerate(self.tasks):
            result = task.freeze(_id if i == len(self.tasks) - 1 else None)
            first = result
            while first.parent is not None:
                first = first.parent
            first.parent, last = last, result
        return last

    def clone(self, args: Any = None, kwargs: Any = None, **options: Any) -> Any:
        """Returns a copy whose first task has further arguments."""
        return _chain._restore(
            {
                **self, "args": tuple(args or ()) + tuple(self.args) if not self.immutable else self.args,
                "options": {**self.options, **options},
            },
            self._app,
        )

    def set_immutable(self, immutable: bool) -> None:
        """Makes the first task refuse results of other tasks."""
        if self.tasks:
            self.tasks[0].set_immutable(immutable)

    def __len__(self) -> int:
        return len(self.tasks) if "kwargs" in self else 0

    def __bool__(self) -> bool:
        return True

    def __repr__(self) -> str:
        return " | ".join(repr(t) for t in self.tasks) if self.tasks else "chain()"


def _chain_of(tasks: List[Any], app: Any = None) -> chain:
    return chain(restore=tasks, app=app)


class _Maker:
    """Makes chains of elements that are joined already."""

    _restore = staticmethod(chain._restore)

    def __call__(self, tasks: List[Any], app: Any = None) -> chain:
        return _chain_of(tasks, app)


_chain = _Maker()


def join(left: Any, right: Any) -> Any:
    """Returns what left | right is."""
    app = left._app or right._app
    if isinstance(right, group) and len(right.tasks) == 1:
        right = right.tasks[0]
    if isinstance(left, chain) and not left.tasks:
        return right
    parts: List[Any] = left.steps() if isinstance(left, chain) else [left.clone()]
    for one in right.steps() if isinstance(right, chain) else [right.clone()]:
        last = parts[-1]
        if isinstance(last, group):
            parts[-1] = chord(last, one, app=app)
        elif isinstance(last, chord):
            parts[-1] = last.clone()
            parts[-1].kwargs["body"] = join(last.body, one)
        else:
            parts.append(one)
    return parts[0] if len(parts) == 1 else _chain(parts, app)
