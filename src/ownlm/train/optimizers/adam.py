"""Adam and AdamW: running means of the gradient and of its square, both corrected for their start at zero.

    m <- beta1 m + (1 - beta1) g            v <- beta2 v + (1 - beta2) g^2
    w <- w - rate (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + eps)

Adam adds weight_decay * w to the gradient (L2); AdamW shrinks the weight beside the step: w <- w (1 - rate * decay).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ownlm.train.optimizers.optimizer import Named, Optimizer


class AdamW(Optimizer):
    """Loshchilov & Hutter 2019, arXiv:1711.05101, algorithm 2. Remembers 8 bytes a weight.

    All weights that are plain float32 tensors go through torch's fused kernel, one pass over memory, equal to `update`
    but for rounding; `update` is the rule as it stands in the paper, and does the rest (sharded weights, other dtypes).
    """

    def __init__(self, parameters: Named, betas: tuple[float, float] = (0.9, 0.95), eps: float = 1e-8,
                 weight_decay: float = 0.1) -> None:  # fmt: skip
        self.betas, self.eps, self.weight_decay = betas, eps, weight_decay
        super().__init__(parameters)

    def slots_of(self, weight: nn.Parameter) -> dict[str, Tensor]:
        return {"mean": torch.zeros_like(weight), "square": torch.zeros_like(weight)}

    @torch.no_grad()
    def step(self, learning_rate: float) -> None:
        given = [(name, weight) for name, weight in self.parameters if weight.grad is not None]
        if not given or not all(_plain(weight) for _, weight in given):
            super().step(learning_rate)
            return
        self.num_updates += 1
        slots = [self.slots[name] for name, _ in given]
        count = torch.tensor(float(self.num_updates), device=given[0][1].device)
        torch._fused_adamw_(
            [weight for _, weight in given],
            [weight.grad for _, weight in given],  # type: ignore[misc]
            [slot["mean"] for slot in slots],
            [slot["square"] for slot in slots],
            [],
            [count] * len(given),
            lr=learning_rate,
            beta1=self.betas[0],
            beta2=self.betas[1],
            weight_decay=self.weight_decay,
            eps=self.eps,
            amsgrad=False,
            maximize=False,
        )

    def update(
        self, weight: Tensor, gradient: Tensor, slots: dict[str, Tensor], learning_rate: float
    ) -> None:
        weight.mul_(1 - learning_rate * self.weight_decay)
        _adam(weight, gradient, slots, learning_rate, self.betas, self.eps, self.num_updates)


class Adam(Optimizer):
    """Kingma & Ba 2015, arXiv:1412.6980, algorithm 1. Remembers 8 bytes a weight."""

    def __init__(self, parameters: Named, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
                 weight_decay: float = 0.0) -> None:  # fmt: skip
        self.betas, self.eps, self.weight_decay = betas, eps, weight_decay
        super().__init__(parameters)

    def slots_of(self, weight: nn.Parameter) -> dict[str, Tensor]:
        return {"mean": torch.zeros_like(weight), "square": torch.zeros_like(weight)}

    def update(
        self, weight: Tensor, gradient: Tensor, slots: dict[str, Tensor], learning_rate: float
    ) -> None:
        if self.weight_decay:
            gradient = gradient.add(weight, alpha=self.weight_decay)
        _adam(weight, gradient, slots, learning_rate, self.betas, self.eps, self.num_updates)


def _adam(weight: Tensor, gradient: Tensor, slots: dict[str, Tensor], learning_rate: float,
          betas: tuple[float, float], eps: float, num_updates: int) -> None:  # fmt: skip
    """The step that both take; num_updates counts it already."""
    beta1, beta2 = betas
    mean, square = slots["mean"], slots["square"]
    mean.lerp_(gradient, 1 - beta1)
    square.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
    denominator = square.sqrt().div_((1 - beta2**num_updates) ** 0.5).add_(eps)
    weight.addcdiv_(mean, denominator, value=-learning_rate / (1 - beta1**num_updates))


def _plain(weight: nn.Parameter) -> bool:
    """What the fused kernel is proven for: whole float32 tensors in one piece, with a gradient of the same kind."""
    gradient = weight.grad
    return (
        type(weight.data) is Tensor
        and type(gradient) is Tensor
        and weight.dtype == gradient.dtype == torch.float32
        and weight.is_contiguous()
        and gradient.is_contiguous()
    )
