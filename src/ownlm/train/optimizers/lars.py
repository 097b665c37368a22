"""LARS: momentum, where the rate of every layer is proportional to |w| / |g|.

v <- momentum v + rate trust |w| / (|g| + decay |w|) (g + decay w)
w <- w - v
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ownlm.train.optimizers.optimizer import Named, Optimizer


class LARS(Optimizer):
    """You, Gitman & Ginsburg 2017, arXiv:1708.03888, algorithm 1. Remembers 4 bytes a weight.

    A weight that is all zero has no length to go by: its rate is that of |w| = |g| (the paper leaves it open).
    """

    def __init__(self, parameters: Named, momentum: float = 0.9, trust: float = 0.001,
                 weight_decay: float = 0.0005) -> None:  # fmt: skip
        self.momentum, self.trust, self.weight_decay = momentum, trust, weight_decay
        super().__init__(parameters)

    def slots_of(self, weight: nn.Parameter) -> dict[str, Tensor]:
        return {"velocity": torch.zeros_like(weight)}

    def update(
        self, weight: Tensor, gradient: Tensor, slots: dict[str, Tensor], learning_rate: float
    ) -> None:
        own, other = weight.norm(), gradient.norm()
        ratio = own / (other + self.weight_decay * own)
        ratio = torch.where((own > 0) & (other > 0), ratio, torch.ones_like(own))
        step = gradient.add(weight, alpha=self.weight_decay).mul_(ratio * (learning_rate * self.trust))
        weight.sub_(slots["velocity"].mul_(self.momentum).add_(step))
