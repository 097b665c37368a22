"""Regional torch.compile: every decoder block compiled for itself; the blocks are alike and share the code.

The embedding, the loss and the optimizer stay eager: the compiled embedding backward adds up with atomics, in an
order that differs from run to run. A shape is compiled for itself (`dynamic=False`), never generalised from
the shapes seen before, so a resumed run executes the very code of the undisturbed one.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import nn

_MAX_SHAPES = 64
"""Shapes of one process, a recompilation each; above it torch would fall back to eager without a word."""

_MADE: WeakKeyDictionary[nn.Module, list[Any]] = WeakKeyDictionary()
"""A model that trains a second time in one process keeps its compiled blocks."""


def compile_blocks(model: nn.Module) -> tuple[list[Any], str | None]:
    """(the compiled call of every block, None), or ([], the reason why not). Compiles at their first use."""
    blocks = getattr(model, "blocks", None)
    if blocks is None:
        return [], "not compiled: the model has no blocks"
    device = next(model.parameters()).device
    if device.type == "cpu" and not any(map(shutil.which, (os.environ.get("CXX", "g++"), "clang++", "c++"))):
        return [], "not compiled: there is no C++ compiler (Debian, Ubuntu: apt-get install g++)"
    _settle()
    try:  # a compiler without the headers it needs is found out here, not in the middle of the first step
        torch.compile(_trial, dynamic=False)(torch.ones(64, device=device))
    except Exception as error:
        first = next(
            (line for line in str(error).splitlines() if "error" in line.lower()), type(error).__name__
        )
        return [], f"not compiled: the compiler does not work here: {first.strip()[:200]}"
    if model not in _MADE:
        calls = _MADE[model] = []
        for block in blocks:
            block.compile(dynamic=False)
            calls.append(block._compiled_call_impl)
            block._compiled_call_impl = None
    return list(_MADE[model]), None


@contextmanager
def compiled(model: nn.Module, calls: Sequence[Callable[..., Any]]) -> Iterator[None]:
    """Inside, the blocks run compiled; outside the model is what it was, so a caller's evaluation in other
    shapes compiles nothing."""
    blocks: Any = model.blocks if calls else ()
    for block, call in zip(blocks, calls, strict=True):
        block._compiled_call_impl = call
    try:
        yield
    finally:
        for block in blocks:
            block._compiled_call_impl = None


def _trial(x: torch.Tensor) -> torch.Tensor:
    return (x * 2).sin() + 1


def _settle() -> None:
    """Process-wide settings of torch.compile: no silent fallback, and a cache folder of the user's own.

    Compiled code is executed, so it does not belong in the /tmp that everybody shares.
    """
    import torch._dynamo

    torch._dynamo.config.recompile_limit = _MAX_SHAPES
    torch._dynamo.config.fail_on_recompile_limit_hit = True
    if "TORCHINDUCTOR_CACHE_DIR" not in os.environ:
        root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        folder = root / "ownlm" / "compiled"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(folder)
