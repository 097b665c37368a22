"""The compiled kernels, when this installation has them. Every kernel has a readable fallback in its room."""

from __future__ import annotations

import importlib
import os
from functools import cache
from types import ModuleType


@cache
def _load() -> tuple[ModuleType | None, str]:
    try:
        module = importlib.import_module("ownlm._native")
    except ModuleNotFoundError:
        return None, "not built (install with a C++ compiler present to get it); using the Python fallbacks"
    except ImportError as error:
        return None, f"built, but does not load ({error}); using the Python fallbacks"
    return module, f"version {module.version}, {module.isa()}"


def kernels() -> ModuleType | None:
    """The module `ownlm._native`; None when it was not built, does not load, or OWNLM_NATIVE=0."""
    return None if os.environ.get("OWNLM_NATIVE") == "0" else _load()[0]


def status() -> str:
    """One line for people: which kernels are in use, or why the fallbacks are."""
    if os.environ.get("OWNLM_NATIVE") == "0":
        return "switched off by OWNLM_NATIVE=0; using the Python fallbacks"
    return _load()[1]
