"""Loss scaling for float16: gradients below its smallest number would be lost, so the loss is multiplied before the
backward and the gradients divided after it (Micikevicius et al. 2018, arXiv:1710.03740, section 3.2).

Letters: none.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn


class LossScaler:
    """Halved at an overflow, whose step is skipped; doubled after so many steps without one."""

    def __init__(self, start: float = 65536.0, growth_steps: int = 2000, smallest: float = 1.0) -> None:
        self.scale, self.growth_steps, self.smallest = start, growth_steps, smallest
        self.good_steps = self.num_overflows = 0

    @torch.no_grad()
    def unscale(self, parameters: Iterable[nn.Parameter]) -> None:
        for weight in parameters:
            if weight.grad is not None:
                weight.grad.mul_(1 / self.scale)

    def overflowed(self, norm: float) -> bool:
        """Whether this step's gradients are lost; adapts the scale. At the smallest scale it is no overflow any
        more but a model that diverged, which is the caller's to judge."""
        if math.isfinite(norm):
            self.good_steps += 1
            if self.good_steps % self.growth_steps == 0:
                self.scale *= 2
            return False
        if self.scale <= self.smallest:
            return False
        self.scale, self.good_steps, self.num_overflows = self.scale / 2, 0, self.num_overflows + 1
        return True

    def state(self) -> dict[str, Tensor]:
        return {
            "scaler": torch.tensor([self.scale, self.good_steps, self.num_overflows], dtype=torch.float64)
        }

    def load(self, state: Mapping[str, Tensor]) -> None:
        scale, good, overflows = state["scaler"].tolist()
        self.scale, self.good_steps, self.num_overflows = scale, int(good), int(overflows)
