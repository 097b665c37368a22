"""Gradients that are too long, made shorter; single entries that are too large, cut."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn


def clip_gradients(
    parameters: Iterable[nn.Parameter],
    largest: float | None,
    value: float | None = None,
    norm_of: Callable[[Iterable[Tensor]], float] | None = None,
) -> float:
    """Cut every entry to [-value, value], then scale all gradients so that their global norm is at most `largest`.

    Returns the norm before scaling. norm_of: for gradients that lie on several processes (`Layout.norm`).
    """
    gradients = [weight.grad for weight in parameters if weight.grad is not None]
    if value is not None:
        for gradient in gradients:
            gradient.clamp_(-value, value)
    norm = global_norm(gradients) if norm_of is None else norm_of(gradients)
    if largest is not None and norm > largest:
        for gradient in gradients:
            gradient.mul_(largest / norm)
    return norm


def global_norm(gradients: Iterable[Tensor]) -> float:
    """2-norm over all entries of all tensors; 0 of none."""
    norms = [gradient.norm() for gradient in gradients]
    return float(torch.stack(norms).norm()) if norms else 0.0
