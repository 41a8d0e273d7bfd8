"""Functions that modules import from celery.utils."""

from __future__ import annotations

import uuid as _uuid

from .imports import symbol_by_name
from .imports import symbol_by_name as get_cls_by_name

__all__ = ["gen_unique_id", "get_cls_by_name", "symbol_by_name", "uuid"]


def uuid() -> str:
    """Returns a new random id."""
    return str(_uuid.uuid4())


gen_unique_id = uuid
