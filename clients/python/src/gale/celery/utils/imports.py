"""Imports by name."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from typing import Any


def symbol_by_name(name: Any) -> Any:
    """Returns the object with the name "module:object" or "module.object".

    What is not a text is returned as it is.
    """
    if not isinstance(name, str):
        return name
    module, sep, attribute = name.partition(":")
    if not sep:
        module, _, attribute = name.rpartition(".")
    if not module:
        return importlib.import_module(attribute)
    found = importlib.import_module(module)
    for part in attribute.split(".") if attribute else []:
        found = getattr(found, part)
    return found


def import_if_present(name: str) -> Any:
    """Imports a module; returns None if it does not exist.

    An error inside the module is raised, also a missing module that it imports.
    """
    package, _, _ = name.rpartition(".")
    try:
        if package:
            parent = importlib.import_module(package)
            if not hasattr(parent, "__path__"):
                return None
        if importlib.util.find_spec(name) is None:
            return None
    except ModuleNotFoundError as err:
        if err.name is not None and (name == err.name or name.startswith(err.name + ".")):
            return None
        raise
    return importlib.import_module(name)


def add_working_directory() -> None:
    """Makes modules of the working directory importable."""
    here = os.getcwd()
    if here not in sys.path and "" not in sys.path:
        sys.path.insert(0, here)
