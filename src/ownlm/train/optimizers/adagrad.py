"""AdaGrad: a rate for every weight, lower the more gradient it has seen.

s <- s + g^2
w <- w - rate g / (sqrt(s) + eps)
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ownlm.train.optimizers.optimizer import Named, Optimizer


class AdaGrad(Optimizer):
    """Duchi, Hazan & Singer 2011 (JMLR 12), the diagonal form (figure 1). weight_decay is L2: added to the gradient.

    Remembers 4 bytes a weight.
    """

    def __init__(self, parameters: Named, eps: float = 1e-10, weight_decay: float = 0.0) -> None:
        self.eps, self.weight_decay = eps, weight_decay
        super().__init__(parameters)

    def slots_of(self, weight: nn.Parameter) -> dict[str, Tensor]:
        return {"sum": torch.zeros_like(weight)}

    def update(
        self, weight: Tensor, gradient: Tensor, slots: dict[str, Tensor], learning_rate: float
    ) -> None:
        if self.weight_decay:
            gradient = gradient.add(weight, alpha=self.weight_decay)
        total = slots["sum"].addcmul_(gradient, gradient)
        weight.addcdiv_(gradient, total.sqrt().add_(self.eps), value=-learning_rate)
