"""A proxy: an object that stands for what a function returns at the moment of use."""

from __future__ import annotations

from typing import Any, Callable, Iterator


class Proxy:
    """Forwards every use to the object that its function returns.

    shared_task returns one, because its application may not exist yet, and so are current_app
    and current_task.
    """

    __slots__ = ("_Proxy__get", "__dict__", "__weakref__")

    def __init__(self, get: Callable[[], Any], name: str = "", doc: str = "") -> None:
        object.__setattr__(self, "_Proxy__get", get)
        if name:
            object.__setattr__(self, "__name__", name)
        if doc:
            object.__setattr__(self, "__doc__", doc)

    def _get_current_object(self) -> Any:
        """Returns the object itself."""
        return object.__getattribute__(self, "_Proxy__get")()

    @property
    def __class__(self) -> Any:  # type: ignore[override]
        return self._get_current_object().__class__

    def __getattr__(self, name: str) -> Any:
        return getattr(self._get_current_object(), name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._get_current_object(), name, value)

    def __delattr__(self, name: str) -> None:
        delattr(self._get_current_object(), name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._get_current_object()(*args, **kwargs)

    def __getitem__(self, key: Any) -> Any:
        return self._get_current_object()[key]

    def __contains__(self, key: Any) -> bool:
        return key in self._get_current_object()

    def __iter__(self) -> Iterator[Any]:
        return iter(self._get_current_object())

    def __bool__(self) -> bool:
        return bool(self._get_current_object())

    def __repr__(self) -> str:
        return repr(self._get_current_object())

    def __str__(self) -> str:
        return str(self._get_current_object())

    def __eq__(self, other: Any) -> bool:
        if isinstance(other, Proxy):
            other = other._get_current_object()
        return bool(self._get_current_object() == other)

    def __hash__(self) -> int:
        return hash(self._get_current_object())

    def __or__(self, other: Any) -> Any:
        return self._get_current_object() | other

    def __reduce__(self) -> Any:
        return self._get_current_object().__reduce__()

    def __dir__(self) -> Any:
        return dir(self._get_current_object())
