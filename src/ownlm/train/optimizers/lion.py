"""Lion: the sign of a momentum, so that every weight moves by the same amount.

w <- w - rate (sign(beta1 m + (1 - beta1) g) + decay w)
m <- beta2 m + (1 - beta2) g
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ownlm.train.optimizers.optimizer import Named, Optimizer


class Lion(Optimizer):
    """Chen et al. 2023, arXiv:2302.06675, program 1 (the published pseudo code). Remembers 4 bytes a weight.

    The paper asks for a rate 3 to 10 times below AdamW's and a decay as many times above it, so that their product
    stays; the default decay does that for the default rate of table.py.
    """

    def __init__(self, parameters: Named, betas: tuple[float, float] = (0.9, 0.99),
                 weight_decay: float = 0.3) -> None:  # fmt: skip
        self.betas, self.weight_decay = betas, weight_decay
        super().__init__(parameters)

    def slots_of(self, weight: nn.Parameter) -> dict[str, Tensor]:
        return {"mean": torch.zeros_like(weight)}

    def update(
        self, weight: Tensor, gradient: Tensor, slots: dict[str, Tensor], learning_rate: float
    ) -> None:
        beta1, beta2 = self.betas
        mean = slots["mean"]
        weight.mul_(1 - learning_rate * self.weight_decay)
        weight.add_(mean.lerp(gradient, 1 - beta1).sign_(), alpha=-learning_rate)
        mean.lerp_(gradient, 1 - beta2)
