"""Signatures that call a task several times: map, starmap, chunks."""

from __future__ import annotations

from typing import Any, Iterator, List, Mapping

from ._groups import group
from ._signature import Signature, maybe_signature, register


class _Map(Signature):
    kind = ""

    def __init__(self, task: Any, it: Any, app: Any = None, **options: Any) -> None:
        task = maybe_signature(task, app, clone=True)
        super().__init__(
            f"celery.{self.kind}", (), {"task": task, "it": list(it)}, options, subtask_type=self.kind, immutable=True,
            app=app or task._app,
        )

    @classmethod
    def _restore(cls, d: Mapping[str, Any], app: Any = None) -> Any:
        made = cls(d["kwargs"]["task"], d["kwargs"]["it"], app=app)
        made.options.update(d.get("options") or {})
        return made

    def __repr__(self) -> str:
        return f"{self.kind}({self.kwargs['task']['task']}, {self.kwargs['it']!r})"


@register("map")
class xmap(_Map):
    """One task that calls another one for each element of an iterable. Its result is a list."""

    kind = "map"


@register("starmap")
class xstarmap(_Map):
    """As xmap, for an iterable of argument tuples."""

    kind = "starmap"


@register("chunks")
class chunks(Signature):
    """Calls of a task, n of them in each task of a group."""

    def __init__(self, task: Any, it: Any, n: int, app: Any = None, **options: Any) -> None:
        task = maybe_signature(task, app, clone=True)
        super().__init__(
            "celery.chunks", (), {"task": task, "it": list(it), "n": n}, options, subtask_type="chunks", immutable=True,
            app=app or task._app,
        )

    @classmethod
    def _restore(cls, d: Mapping[str, Any], app: Any = None) -> Any:
        return cls(d["kwargs"]["task"], d["kwargs"]["it"], d["kwargs"]["n"], app=app, **(d.get("options") or {}))

    @classmethod
    def apply_chunks(cls, task: Any, it: Any, n: int, app: Any = None) -> Any:
        """Enqueues the group."""
        return cls(task, it, n, app=app)()

    def group(self) -> Any:
        """Returns the group."""
        return group([xstarmap(self.kwargs["task"], part, app=self._app) for part in self._parts()], app=self._app)

    def _parts(self) -> Iterator[List[Any]]:
        it, n = self.kwargs["it"], self.kwargs["n"]
        for at in range(0, len(it), n):
            yield it[at : at + n]

    def __call__(self, **options: Any) -> Any:
        """Enqueues the group."""
        return self.apply_async(**options)

    def apply_async(self, args: Any = None, kwargs: Any = None, **options: Any) -> Any:
        """Enqueues the group and returns its GroupResult."""
        return self.group().apply_async(**{**self.options, **options})

    def apply(self, args: Any = None, kwargs: Any = None, **options: Any) -> Any:
        """Runs the group here and now."""
        return self.group().apply(**options)

    def freeze(self, _id: Any = None, **kwargs: Any) -> Any:
        """Not supported: use group()."""
        raise NotImplementedError("chunks in a workflow is not supported: use chunks(…).group()")
