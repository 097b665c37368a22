"""Causal cross-entropy: nats per predicted token, the mean over the tokens that are trained on.

Letters: N tokens (batch times time), R tokens of one piece, D model width, V vocabulary.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

IGNORE = -100
"""Target of a token that is not trained on."""

PIECE_TOKENS = 512
"""R: logits of so many tokens at a time (16 MB at a vocabulary of 8,192: they stay in the processor's cache)."""

_UNDERFLOW = 1e-30
"""Probability below which float32 loses digits (its smallest normal number is 1.2e-38)."""


def cross_entropy(hidden: Tensor, weight: Tensor, targets: Tensor, divisor: int) -> Tensor:
    """Sum of -log p(target) over trained tokens, divided by `divisor` (the trained tokens of the whole step).

    hidden [N, D], weight [V, D] of the output layer, targets [N] int64 with IGNORE -> scalar float32. Logits are
    never held for more than R tokens: the gradient is computed beside the loss, piece by piece, while the logits
    are in the cache (no product is done twice; the fused linear cross-entropy of Hsu et al. 2024, Liger
    Kernel, arXiv:2410.10989, section 3.2). Under autocast the products run in bfloat16, the softmax in float32.
    """
    trained = targets != IGNORE  # [N]
    if int(trained.sum()) < len(targets):  # fine-tuning: only the trained few need logits
        hidden, targets = hidden[trained], targets[trained]
    if not torch.is_grad_enabled():
        return reference(hidden, weight, targets, divisor)
    dtype = torch.get_autocast_dtype(hidden.device.type)
    if not torch.is_autocast_enabled(hidden.device.type):
        dtype = hidden.dtype
    loss: Tensor = _LinearCrossEntropy.apply(hidden, weight, targets, divisor, dtype)  # type: ignore[no-untyped-call]
    return loss


def reference(hidden: Tensor, weight: Tensor, targets: Tensor, divisor: int) -> Tensor:
    """The same in one line; holds all logits [N, V]."""
    logits = F.linear(hidden, weight).float()  # [N,V]
    return F.cross_entropy(logits, targets, ignore_index=IGNORE, reduction="sum") / divisor


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor, divisor: int, dtype: torch.dtype) -> Tensor:  # fmt: skip
        narrow, matrix = hidden.to(dtype), weight.to(dtype)  # [N,D], [V,D]
        grad_hidden = torch.empty_like(hidden)  # [N,D]
        grad_weight = torch.zeros_like(weight)  # [V,D]
        loss = torch.zeros((), dtype=torch.float32, device=hidden.device)
        for start in range(0, len(targets), PIECE_TOKENS):
            part = slice(start, start + PIECE_TOKENS)
            scale = (targets[part] != IGNORE)[:, None] / divisor  # [R,1]
            wanted = targets[part].clamp(min=0)[:, None]  # [R,1]
            logits = (narrow[part] @ matrix.t()).float()  # [R,V]
            grad = logits.softmax(dim=1)  # [R,V]: one pass over memory, where log_softmax and exp are two ...
            chosen = grad.gather(1, wanted)  # [R,1]
            if float(chosen.min()) < _UNDERFLOW:  # ... except for a target so unlikely that its log is lost
                likelihood = logits.log_softmax(dim=1).gather(1, wanted)
            else:
                likelihood = chosen.log()
            loss -= (likelihood * scale).sum()
            grad.scatter_add_(1, wanted, torch.full_like(chosen, -1.0))  # probability less one at the target
            grad = grad.to(dtype)
            # The scale belongs on grad; on the narrow sides of the products it is V/D times cheaper.
            grad_hidden[part] = (grad @ matrix) * scale
            grad_weight += grad.t() @ (narrow[part] * scale).to(dtype)
        ctx.save_for_backward(grad_hidden, grad_weight)
        return loss

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        grad_hidden, grad_weight = ctx.saved_tensors
        return grad_hidden * upstream[0], grad_weight * upstream[0], None, None, None
