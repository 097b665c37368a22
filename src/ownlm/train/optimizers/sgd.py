"""Stochastic gradient descent, with momentum and Nesterov's look ahead.

v <- momentum v + g            g: the gradient, with weight_decay * w added (L2)
w <- w - rate v                Nesterov: w <- w - rate (g + momentum v)
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ownlm.errors import UsageError
from ownlm.train.optimizers.optimizer import Named, Optimizer


class SGD(Optimizer):
    """Momentum as in Polyak 1964, Nesterov's form as in Sutskever et al. 2013 (ICML, section 2), rearranged as every
    library has it: the velocity holds gradients, not steps, so a change of the rate acts at once.

    Remembers 4 bytes a weight, without momentum nothing.
    """

    def __init__(self, parameters: Named, momentum: float = 0.9, nesterov: bool = False,
                 weight_decay: float = 0.0) -> None:  # fmt: skip
        if nesterov and momentum <= 0:
            raise UsageError(
                "Nesterov's step needs momentum.", f"momentum = {momentum}", "set momentum = 0.9"
            )
        self.momentum, self.nesterov, self.weight_decay = momentum, nesterov, weight_decay
        super().__init__(parameters)

    def slots_of(self, weight: nn.Parameter) -> dict[str, Tensor]:
        return {"velocity": torch.zeros_like(weight)} if self.momentum else {}

    def update(
        self, weight: Tensor, gradient: Tensor, slots: dict[str, Tensor], learning_rate: float
    ) -> None:
        if self.weight_decay:
            gradient = gradient.add(weight, alpha=self.weight_decay)
        if self.momentum:
            velocity = slots["velocity"].mul_(self.momentum).add_(gradient)
            gradient = gradient.add(velocity, alpha=self.momentum) if self.nesterov else velocity
        weight.add_(gradient, alpha=-learning_rate)
