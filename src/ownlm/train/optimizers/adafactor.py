"""Adafactor: the running mean square of a matrix's gradient, kept as its row means and column means alone.

    R x C matrix:  v[r, c] = row[r] col[c] / mean(row)        R + C numbers instead of R C

No momentum; the step's length is bounded instead, and its rate follows the size of the weights.
Letters: ... leading dimensions, R rows, C columns.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ownlm.train.optimizers.optimizer import Named, Optimizer


class Adafactor(Optimizer):
    """Shazeer & Stern 2018, arXiv:1804.04235, algorithms 4 (matrices) and 5 (vectors), without momentum (beta1 = 0).

        beta2(t) = 1 - t^-0.8        U = g / sqrt(v)        U <- U / max(1, RMS(U) / clip)
        w <- w - a U                 a = max(eps[1], RMS(w)) min(rate, 1 / sqrt(t)) with relative_step, else the rate

    Remembers 4 (R + C) bytes a matrix, 4 bytes an entry of a vector. Deviation: weight_decay, not in the paper, is
    decoupled as in torch. Above two dimensions the last two are factored.
    """

    def __init__(self, parameters: Named, relative_step: bool = True, beta2_decay: float = -0.8, clip: float = 1.0,
                 eps: tuple[float, float] = (1e-30, 1e-3), weight_decay: float = 0.0) -> None:  # fmt: skip
        self.relative_step, self.beta2_decay, self.clip = relative_step, beta2_decay, clip
        self.eps, self.weight_decay = eps, weight_decay
        super().__init__(parameters)

    def slots_of(self, weight: nn.Parameter) -> dict[str, Tensor]:
        if weight.ndim < 2:
            return {"square": torch.zeros_like(weight)}
        return {
            "row": torch.zeros_like(weight[..., :1]).detach(),  # [...,R,1]
            "column": torch.zeros_like(weight[..., :1, :]).detach(),  # [...,1,C]
        }

    def update(
        self, weight: Tensor, gradient: Tensor, slots: dict[str, Tensor], learning_rate: float
    ) -> None:
        new = self.num_updates**self.beta2_decay  # 1 - beta2(t): the first step remembers nothing of before
        square = gradient.square().add_(self.eps[0])
        if weight.ndim < 2:
            denominator = slots["square"].lerp_(square, new).sqrt()
        else:
            row = slots["row"].lerp_(square.mean(-1, keepdim=True), new)
            column = slots["column"].lerp_(square.mean(-2, keepdim=True), new)
            denominator = (row / row.mean(-2, keepdim=True)).sqrt() * column.sqrt()  # each fits float32 alone
        step = gradient / denominator
        step.div_((_rms(step) / self.clip).clamp(min=1.0))
        rate = learning_rate
        if self.relative_step:
            step.mul_(_rms(weight).clamp(min=self.eps[1]))
            rate = min(learning_rate, self.num_updates**-0.5)
        if self.weight_decay:
            weight.mul_(1 - learning_rate * self.weight_decay)
        weight.add_(step, alpha=-rate)


def _rms(x: Tensor) -> Tensor:
    """Root of the mean square, a scalar tensor: no wait for the device."""
    return x.square().mean().sqrt()
