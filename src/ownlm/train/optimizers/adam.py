"""AdamW: Adam with decoupled weight decay."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ownlm.train.optimizers.optimizer import Named, Optimizer


class AdamW(Optimizer):
    """Loshchilov & Hutter 2019, arXiv:1711.05101, algorithm 2."""

    def __init__(self, parameters: Named, betas: tuple[float, float] = (0.9, 0.95), eps: float = 1e-8,
                 weight_decay: float = 0.1) -> None:  # fmt: skip
        self.betas, self.eps, self.weight_decay = betas, eps, weight_decay
        super().__init__(parameters)

    def slots_of(self, weight: nn.Parameter) -> dict[str, Tensor]:
        return {"mean": torch.zeros_like(weight), "square": torch.zeros_like(weight)}

    def update(
        self, weight: Tensor, gradient: Tensor, slots: dict[str, Tensor], learning_rate: float
    ) -> None:
        beta1, beta2 = self.betas
        mean, square = slots["mean"], slots["square"]
        weight.mul_(1 - learning_rate * self.weight_decay)
        mean.lerp_(gradient, 1 - beta1)
        square.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        denominator = square.sqrt().div_((1 - beta2**self.num_updates) ** 0.5).add_(self.eps)
        weight.addcdiv_(mean, denominator, value=-learning_rate / (1 - beta1**self.num_updates))
