"""Causal cross-entropy: nats per predicted token, the mean over the tokens that are trained on.

    of one token   log Z - (1 - s) x_target - s mean(x) + z (log Z)^2        x its logits, log Z = logsumexp(x)
    its gradient   p (1 + 2 z log Z) - (1 - s) onehot(target) - s / V        s label_smoothing, z z_loss

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


def cross_entropy(hidden: Tensor, weight: Tensor, targets: Tensor, divisor: int,
                  label_smoothing: float = 0.0, z_loss: float = 0.0) -> Tensor:  # fmt: skip
    """Sum of -log p(target) over trained tokens, divided by `divisor` (the trained tokens of the whole step).

    hidden [N, D], weight [V, D] of the output layer, targets [N] int64 with IGNORE -> scalar float32. Logits are
    never held for more than R tokens: the gradient is computed beside the loss, piece by piece, while the logits
    are in the cache (no product is done twice; the fused linear cross-entropy of Hsu et al. 2024, Liger
    Kernel, arXiv:2410.10989, section 3.2). Under autocast the products run in bfloat16, the softmax in float32.
    label_smoothing and z_loss are the terms above; with both 0 they cost nothing and change no bit.
    """
    trained = targets != IGNORE  # [N]
    if int(trained.sum()) < len(targets):  # fine-tuning: only the trained few need logits
        hidden, targets = hidden[trained], targets[trained]
    if not torch.is_grad_enabled():
        return reference(hidden, weight, targets, divisor, label_smoothing, z_loss)
    dtype = torch.get_autocast_dtype(hidden.device.type)
    if not torch.is_autocast_enabled(hidden.device.type):
        dtype = hidden.dtype
    extra = (label_smoothing, z_loss)
    loss: Tensor = _LinearCrossEntropy.apply(hidden, weight, targets, divisor, dtype, extra)  # type: ignore[no-untyped-call]
    return loss


def reference(hidden: Tensor, weight: Tensor, targets: Tensor, divisor: int,
              label_smoothing: float = 0.0, z_loss: float = 0.0) -> Tensor:  # fmt: skip
    """The same in two lines; holds all logits [N, V]."""
    logits = F.linear(hidden, weight).float()  # [N,V]
    loss = F.cross_entropy(
        logits, targets, ignore_index=IGNORE, reduction="sum", label_smoothing=label_smoothing
    )
    if z_loss:
        loss = loss + z_loss * (logits.logsumexp(dim=1)[targets != IGNORE] ** 2).sum()
    return loss / divisor


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor, divisor: int, dtype: torch.dtype, extra: tuple[float, float]) -> Tensor:  # fmt: skip
        narrow, matrix = hidden.to(dtype), weight.to(dtype)  # [N,D], [V,D]
        grad_hidden = torch.empty_like(hidden)  # [N,D]
        grad_weight = torch.zeros_like(weight)  # [V,D]
        loss = torch.zeros((), dtype=torch.float32, device=hidden.device)
        for start in range(0, len(targets), PIECE_TOKENS):
            part = slice(start, start + PIECE_TOKENS)
            scale = (targets[part] != IGNORE)[:, None] / divisor  # [R,1]
            wanted = targets[part].clamp(min=0)[:, None]  # [R,1]
            logits = (narrow[part] @ matrix.t()).float()  # [R,V]
            each, grad = (
                _plain(logits, wanted) if extra == (0.0, 0.0) else _with_terms(logits, wanted, *extra)
            )
            loss -= (each * scale).sum()
            grad = grad.to(dtype)
            # The scale belongs on grad; on the narrow sides of the products it is V/D times cheaper.
            grad_hidden[part] = (grad @ matrix) * scale
            grad_weight += grad.t() @ (narrow[part] * scale).to(dtype)
        ctx.save_for_backward(grad_hidden, grad_weight)
        return loss

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor, Tensor, None, None, None, None]:
        grad_hidden, grad_weight = ctx.saved_tensors
        return grad_hidden * upstream[0], grad_weight * upstream[0], None, None, None, None


def _plain(logits: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """logits [R, V], targets [R, 1] -> log p(target) [R, 1], gradient of the loss by the logits [R, V]."""
    grad = logits.softmax(dim=1)  # [R,V]: one pass over memory, where log_softmax and exp are two ...
    chosen = grad.gather(1, wanted)  # [R,1]
    if float(chosen.min()) < _UNDERFLOW:  # ... except for a target so unlikely that its log is lost
        likelihood = logits.log_softmax(dim=1).gather(1, wanted)
    else:
        likelihood = chosen.log()
    grad.scatter_add_(1, wanted, torch.full_like(chosen, -1.0))  # probability less one at the target
    return likelihood, grad


def _with_terms(logits: Tensor, wanted: Tensor, smoothing: float, z: float) -> tuple[Tensor, Tensor]:
    """The same with both terms: minus the loss of each token [R, 1], and its gradient [R, V]."""
    total = logits.logsumexp(dim=1, keepdim=True)  # [R,1]: log Z
    even = logits.mean(dim=1, keepdim=True)
    loss = total - (1 - smoothing) * logits.gather(1, wanted) - smoothing * even + z * total**2
    grad = (logits - total).exp_().mul_(1 + 2 * z * total)
    grad.scatter_add_(1, wanted, torch.full_like(total, smoothing - 1))
    grad.sub_(smoothing / logits.shape[1])
    return -loss, grad
