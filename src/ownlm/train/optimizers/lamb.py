"""LAMB: Adam's direction, made as long as the weights of its layer.

r = m^ / (sqrt(v^) + eps) + decay w        m^, v^: Adam's moments, corrected for their start at zero
w <- w - rate (|w| / |r|) r
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ownlm.train.optimizers.optimizer import Named, Optimizer


class LAMB(Optimizer):
    """You et al. 2020, arXiv:1904.00962, algorithm 2, phi(z) = z, with the correction of the moments as there.

    Remembers 8 bytes a weight. Where |w| or |r| is zero the ratio is 1 (the paper leaves it open).
    """

    def __init__(self, parameters: Named, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-6,
                 weight_decay: float = 0.01) -> None:  # fmt: skip
        self.betas, self.eps, self.weight_decay = betas, eps, weight_decay
        super().__init__(parameters)

    def slots_of(self, weight: nn.Parameter) -> dict[str, Tensor]:
        return {"mean": torch.zeros_like(weight), "square": torch.zeros_like(weight)}

    def update(
        self, weight: Tensor, gradient: Tensor, slots: dict[str, Tensor], learning_rate: float
    ) -> None:
        beta1, beta2 = self.betas
        mean, square = slots["mean"], slots["square"]
        mean.lerp_(gradient, 1 - beta1)
        square.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        denominator = square.sqrt().div_((1 - beta2**self.num_updates) ** 0.5).add_(self.eps)
        direction = (mean / denominator).div_(1 - beta1**self.num_updates)
        direction.add_(weight, alpha=self.weight_decay)
        own, other = weight.norm(), direction.norm()
        ratio = torch.where((own > 0) & (other > 0), own / other, torch.ones_like(own))
        weight.add_(direction.mul_(ratio), alpha=-learning_rate)
