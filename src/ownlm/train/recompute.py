"""Activations that are thrown away in the forward and computed again in the backward: memory bought with time.

    none        every activation is kept
    attention   of each mixer only the matrix products with weights are kept (q, k, v, output); scores, softmax and the
                weighted sum, whose memory grows with T^2, are computed again: a few per cent of the time
                (selective recomputation, Korthikanti et al. 2022, arXiv:2205.05198, section 5)
    blocks      of each block only its input is kept: one forward more, a third of the time
                (Chen et al. 2016, arXiv:1604.06174, with one segment per block)

The same operations on the same numbers: eager gradients are bitwise those of `none`. The model is untouched; calls
are exchanged inside the step only, as compile.py does. Built on torch.utils.checkpoint in its non-reentrant form.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Literal

import torch
from torch import nn
from torch.utils.checkpoint import CheckpointPolicy, checkpoint, create_selective_checkpoint_contexts

from ownlm.errors import UsageError
from ownlm.model.attention.clustered import RoutingAttention

Recompute = Literal["none", "blocks", "attention"]
_KEPT = frozenset((torch.ops.aten.mm.default, torch.ops.aten.addmm.default, torch.ops.aten.linear.default))


def check(model: nn.Module, wanted: Recompute) -> None:
    """Raises UsageError for a model that this would change."""
    blocks: Any = getattr(model, "blocks", None)
    if wanted == "none":
        return
    if blocks is None or (wanted == "attention" and not all(hasattr(block, "mixer") for block in blocks)):
        raise UsageError("This model has no blocks to compute again.", f"recompute = {wanted}, {type(model).__name__}",
                         "set recompute to none")  # fmt: skip
    moving = [name for name, module in model.named_modules() if isinstance(module, RoutingAttention)]
    if moving:
        raise UsageError("A layer that learns in its forward pass cannot be computed twice.", f"{moving[0]}: its clusters would move twice",
                         "set recompute to none")  # fmt: skip


@contextmanager
def recomputed(model: nn.Module, wanted: Recompute) -> Iterator[None]:
    """Inside, calls of the blocks (or their mixers) keep little; inside `compiled`, of the compiled blocks."""
    blocks: Any = model.blocks if wanted != "none" else ()
    modules = [block.mixer for block in blocks] if wanted == "attention" else list(blocks)
    before = [module._compiled_call_impl for module in modules]
    for module, compiled in zip(modules, before, strict=True):
        module._compiled_call_impl = _sparing(compiled or module._call_impl, wanted)
    try:
        yield
    finally:
        for module, compiled in zip(modules, before, strict=True):
            module._compiled_call_impl = compiled


def _sparing(call: Callable[..., Any], wanted: Recompute) -> Callable[..., Any]:
    def sparing(*args: Any, **kwargs: Any) -> Any:
        if not torch.is_grad_enabled():
            return call(*args, **kwargs)
        if wanted == "attention":
            return checkpoint(call, *args, use_reentrant=False, context_fn=_keep_products, **kwargs)
        return checkpoint(call, *args, use_reentrant=False, **kwargs)

    return sparing


_keep_products = partial(create_selective_checkpoint_contexts, lambda ctx, op, *args, **kwargs: _policy(op))


def _policy(op: Any) -> CheckpointPolicy:
    return CheckpointPolicy.MUST_SAVE if op in _KEPT else CheckpointPolicy.PREFER_RECOMPUTE
