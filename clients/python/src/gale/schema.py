"""JSON Schema (draft 2020-12) of the arguments of a function."""

import inspect
import json
import typing
from typing import Any, Callable, Dict, Optional, Set

DRAFT = "https://json-schema.org/draft/2020-12/schema"

_SIMPLE: Dict[Any, Dict[str, Any]] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    type(None): {"type": "null"},
    list: {"type": "array"},
    tuple: {"type": "array"},
    set: {"type": "array"},
    dict: {"type": "object"},
}


def of_type(hint: Any) -> Dict[str, Any]:
    """Return the schema of a type hint; {} accepts everything and is that of unknown hints."""
    if isinstance(hint, type) and hint in _SIMPLE:
        return dict(_SIMPLE[hint])
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is None:
        return {}
    if origin is typing.Union or type(hint).__name__ == "UnionType":
        return _union([of_type(i) for i in inner])
    if origin is typing.Literal:
        return {"enum": list(inner)} if all(isinstance(i, (str, int, bool, type(None))) for i in inner) else {}
    if origin in (list, set, frozenset) and inner or _is_sequence(origin) and inner:
        items = of_type(inner[0])
        return {"type": "array", "items": items} if items else {"type": "array"}
    if origin is dict or getattr(origin, "__name__", "") in ("Mapping", "MutableMapping"):
        values = of_type(inner[1]) if len(inner) == 2 else {}
        return {"type": "object", "additionalProperties": values} if values else {"type": "object"}
    if origin is tuple:
        return {"type": "array"}
    return {}


def _is_sequence(origin: Any) -> bool:
    return getattr(origin, "__name__", "") in ("Sequence", "Iterable", "Collection", "MutableSequence")


def _union(parts: "list[Dict[str, Any]]") -> Dict[str, Any]:
    if any(not p for p in parts):
        return {}
    if all(set(p) == {"type"} and isinstance(p["type"], str) for p in parts):
        return {"type": [p["type"] for p in parts]}
    return {"anyOf": parts}


def of_function(function: Callable[..., Any], skip: Set[str]) -> Optional[Dict[str, Any]]:
    """Return the schema of a function's arguments: an array by position, with names as titles.

    Keyword-only parameters are properties, and **kwargs permits further ones. skip holds the
    parameters that callers do not give. The result is None, which accepts everything, if the
    signature cannot be read.
    """
    try:
        parameters = [p for p in inspect.signature(function).parameters.values() if p.name not in skip]
    except (TypeError, ValueError):
        return None
    try:
        hints = typing.get_type_hints(function)
    except Exception:  # a hint may name anything, for example a module imported only for checking
        hints = {}
    prefix, minimum, more = [], 0, False
    properties: Dict[str, Any] = {}
    required, others = [], False
    for p in parameters:
        if p.kind is p.VAR_KEYWORD:
            others = True
            continue
        if p.kind is p.VAR_POSITIONAL:
            more = True
            continue
        entry: Dict[str, Any] = {"title": p.name, **of_type(hints.get(p.name, Any))}
        if p.default is p.empty:
            minimum = len(prefix) + 1 if p.kind is not p.KEYWORD_ONLY else minimum
        else:
            default = _json_or_none(p.default)
            if default is None or not _simple_match(entry, p.default):
                # A default need not have the hinted type, as in "x: int = None".
                entry.pop("type", None)
            entry["default"] = default
        if p.kind is p.KEYWORD_ONLY:
            properties[p.name] = entry
            required += [p.name] if p.default is p.empty else []
        else:
            prefix.append(entry)
    schema: Dict[str, Any] = {"$schema": DRAFT, "type": "array", "prefixItems": prefix, "minItems": minimum}
    if properties:
        schema["properties"], schema["required"] = properties, required
    if others:
        schema["additionalProperties"] = True
    if not more:
        schema["items"] = False
        schema["maxItems"] = len(prefix)
    return schema


def _json_or_none(value: Any) -> Any:
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        return None
    return value


def _simple_match(entry: Dict[str, Any], value: Any) -> bool:
    names = {str: "string", int: "integer", float: "number", bool: "boolean", list: "array", dict: "object", tuple: "array"}
    kind, want = names.get(type(value)), entry.get("type")
    return want is None or kind == want or (isinstance(want, list) and kind in want) or (kind, want) == ("integer", "number")
