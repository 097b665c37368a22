"""Gradient noise scale: how many tokens a step should hold before more of them stop helping.

    |G_B|^2 = |G|^2 + S / B  on average: a gradient of B tokens is the true one G plus noise of total variance S / B
    B_noise = S / |G|^2      far below it doubling the batch halves the steps; far above it buys nothing

McCandlish et al. 2018, arXiv:1812.06162: equation 2.9, and for two batch sizes appendix A.1. The small batch is the first
piece of a step, whose gradient lies in the weights when the second piece begins; the big one is the step, whose norm the
loop computes anyway. So it costs one norm a step: no second pass, no copy.

    meter = NoiseScale()
    for record in train(model, batch_at, config, folder, objective=meter.watch(Causal())):
        meter.add(record.grad_norm)
    meter.tokens
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ownlm.errors import UsageError
from ownlm.train.batches import Batch
from ownlm.train.objectives.causal import Objective
from ownlm.train.objectives.cross_entropy import IGNORE


def estimate(small: float, num_small: int, big: float, num_big: int) -> tuple[float, float]:
    """(S, |G|^2), both without bias, from the squared norms of the mean gradients of two batch sizes (A.2 and A.3).

    Either may be negative by chance: average them over many steps, each by itself, before dividing.
    Raises UsageError when the sizes do not differ.
    """
    if not 0 < num_small < num_big:
        raise UsageError("The noise scale needs two batch sizes.", f"{num_small} and {num_big}", "give a smaller and a larger one")  # fmt: skip
    noise = (small - big) / (1 / num_small - 1 / num_big)
    signal = (num_big * big - num_small * small) / (num_big - num_small)
    return noise, signal


class NoiseScale:
    """Running means of S and |G|^2 over the steps; `state` and `load` as every part of a checkpoint.

    Not with float16, whose gradients are scaled in the weights, nor with clip_value, which cuts the step's gradient
    alone: both would bias it. Of several processes each sees its own first piece.
    """

    def __init__(self, decay: float = 0.99) -> None:
        self.decay = decay
        self.noise = self.signal = 0.0
        self.num_steps = 0
        """Steps that went in."""
        self.num_undivided = 0
        """Steps of one piece, which tell nothing: make micro_tokens smaller."""
        self._first: _Piece | None = None

    def watch(self, objective: Objective) -> Watched:
        """The same objective, computing the same; it looks at the gradient that the first piece left."""
        return Watched(objective, self)

    def add(self, norm: float) -> None:
        """After every step, with the norm of its whole gradient before clipping."""
        first, self._first = self._first, None
        if first is None or first.squared is None:
            self.num_undivided += 1
            return
        self.num_steps += 1
        noise, signal = estimate(first.squared, first.num_tokens, norm**2, first.num_tokens_of_step)
        weight = max(1 - self.decay, 1 / self.num_steps)  # the plain mean at first
        self.noise += weight * (noise - self.noise)
        self.signal += weight * (signal - self.signal)

    @property
    def tokens(self) -> float:
        """B_noise in trained tokens; NaN as long as the mean of |G|^2 is not above zero."""
        return self.noise / self.signal if self.signal > 0 else float("nan")

    def state(self) -> dict[str, Tensor]:
        values = [self.noise, self.signal, self.num_steps, self.num_undivided]
        return {"noise_scale": torch.tensor(values, dtype=torch.float64)}

    def load(self, state: Mapping[str, Tensor]) -> None:
        self.noise, self.signal, steps, undivided = state["noise_scale"].tolist()
        self.num_steps, self.num_undivided = int(steps), int(undivided)


@dataclass
class _Piece:
    num_tokens: int
    num_tokens_of_step: int
    squared: float | None = None  # norm of the mean gradient; known when the second piece begins


class Watched:
    """An objective that tells a NoiseScale of every piece."""

    def __init__(self, objective: Objective, meter: NoiseScale) -> None:
        self.objective, self.meter = objective, meter

    def __repr__(self) -> str:
        return repr(self.objective)  # checkpoints are those of the objective: nothing else is computed

    def __call__(self, model: Any, batch: Batch, divisor: int) -> Tensor:
        gradients = [weight.grad for weight in model.parameters() if weight.grad is not None]
        if not gradients:  # a step begins, also after one that was passed over
            self.meter._first = _Piece(int((batch.targets != IGNORE).sum()), divisor)
        elif (first := self.meter._first) is not None and first.squared is None and first.num_tokens:
            norm = float(torch.stack([gradient.norm() for gradient in gradients]).norm())
            first.squared = (norm * divisor / first.num_tokens) ** 2  # each piece is weighted by its tokens
        return self.objective(model, batch, divisor)
