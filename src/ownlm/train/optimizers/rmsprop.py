"""RMSProp: the gradient divided by the root of its own running mean square.

s <- decay s + (1 - decay) g^2
v <- momentum v + g / (sqrt(s) + eps)
w <- w - rate v
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ownlm.train.optimizers.optimizer import Named, Optimizer


class RMSProp(Optimizer):
    """Tieleman & Hinton 2012, Coursera lecture 6.5 (decay 0.9); momentum as in Graves 2013, arXiv:1308.0850, eq. 38-45,
    without its centring. weight_decay is L2: added to the gradient.

    Remembers 4 bytes a weight, 8 with momentum. No correction of the start: the first steps are up to
    1 / sqrt(1 - decay) times as long as the later ones.
    """

    def __init__(self, parameters: Named, decay: float = 0.9, momentum: float = 0.0, eps: float = 1e-8,
                 weight_decay: float = 0.0) -> None:  # fmt: skip
        self.decay, self.momentum, self.eps, self.weight_decay = decay, momentum, eps, weight_decay
        super().__init__(parameters)

    def slots_of(self, weight: nn.Parameter) -> dict[str, Tensor]:
        slots = {"square": torch.zeros_like(weight)}
        return slots | {"velocity": torch.zeros_like(weight)} if self.momentum else slots

    def update(
        self, weight: Tensor, gradient: Tensor, slots: dict[str, Tensor], learning_rate: float
    ) -> None:
        if self.weight_decay:
            gradient = gradient.add(weight, alpha=self.weight_decay)
        square = slots["square"].mul_(self.decay).addcmul_(gradient, gradient, value=1 - self.decay)
        denominator = square.sqrt().add_(self.eps)
        if self.momentum:
            velocity = slots["velocity"].mul_(self.momentum).addcdiv_(gradient, denominator)
            weight.add_(velocity, alpha=-learning_rate)
        else:
            weight.addcdiv_(gradient, denominator, value=-learning_rate)
