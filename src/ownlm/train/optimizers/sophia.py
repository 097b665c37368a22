"""Sophia: momentum divided by a running estimate of the curvature, every entry cut to one rate.

    m <- beta1 m + (1 - beta1) g
    h <- beta2 h + (1 - beta2) h^          every `interval` steps
    w <- w - rate decay w - rate clip(m / max(rho N h, eps), 1)

N is the number of trained tokens in a step. h^, an estimate of the Hessian's diagonal (without the factor N), is one of

    "gradient"   g^2 of the step itself: the empirical Fisher matrix, no further backward
    "given"      what the caller hands to `curve`, from `gauss_newton_bartlett` or `hutchinson` below
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from ownlm.errors import UsageError
from ownlm.train.optimizers.optimizer import Named, Optimizer


class Sophia(Optimizer):
    """Liu et al. 2023, arXiv:2305.14342, algorithm 3. Remembers 8 bytes a weight.

    Deviation: the paper's estimate (Gauss-Newton-Bartlett, algorithm 2) needs a second backward, through labels drawn
    from the model's own predictions. The training loop has one backward with the text's labels; where the model
    predicts the text's distribution both have the same expectation. So "gradient" squares the loop's own (clipped)
    gradient; "given" is the paper's algorithm for a caller that makes the second backward.
    """

    def __init__(self, parameters: Named, betas: tuple[float, float] = (0.965, 0.99), rho: float = 0.04,
                 weight_decay: float = 0.1, interval: int = 10, num_tokens: int = 4096, eps: float = 1e-15,
                 curvature: Literal["gradient", "given"] = "gradient") -> None:  # fmt: skip
        if curvature not in ("gradient", "given") or interval < 1 or num_tokens < 1:
            raise UsageError(
                "Sophia cannot work with these options.",
                f"curvature {curvature!r}, interval {interval}, num_tokens {num_tokens}",
                'curvature is "gradient" or "given", the other two at least 1',
            )
        self.betas, self.rho, self.weight_decay, self.eps = betas, rho, weight_decay, eps
        self.interval, self.num_tokens, self.curvature = interval, num_tokens, curvature
        super().__init__(parameters)

    def slots_of(self, weight: nn.Parameter) -> dict[str, Tensor]:
        return {"mean": torch.zeros_like(weight), "curvature": torch.zeros_like(weight)}

    @torch.no_grad()
    def curve(self, estimates: Mapping[str, Tensor]) -> None:
        """Take in an estimate per weight name, of the weight's shape; with curvature="given", every `interval` steps.

        Raises UsageError when a weight has none.
        """
        for name, _ in self.parameters:
            if name not in estimates:
                raise UsageError("A weight has no estimate of its curvature.", name, "hand in one per weight")
            self.slots[name]["curvature"].lerp_(estimates[name], 1 - self.betas[1])

    def update(
        self, weight: Tensor, gradient: Tensor, slots: dict[str, Tensor], learning_rate: float
    ) -> None:
        beta1, beta2 = self.betas
        mean, curvature = slots["mean"], slots["curvature"]
        if self.curvature == "gradient" and (self.num_updates - 1) % self.interval == 0:
            curvature.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        mean.lerp_(gradient, 1 - beta1)
        weight.mul_(1 - learning_rate * self.weight_decay)
        denominator = (curvature * (self.rho * self.num_tokens)).clamp_(min=self.eps)
        weight.add_((mean / denominator).clamp_(-1, 1), alpha=-learning_rate)


def gauss_newton_bartlett(gradients: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Algorithm 2 without its factor N, which `Sophia` applies: the squares of the gradient of the mean loss on labels
    that were drawn from the model's own predictions. N times their expectation is the Gauss-Newton diagonal."""
    return {name: gradient.square() for name, gradient in gradients.items()}


def hutchinson(
    loss: Tensor, parameters: Named, generator: torch.Generator, num_tokens: int
) -> dict[str, Tensor]:
    """Algorithm 1: u * (H u) with u ~ N(0, 1), whose expectation is the Hessian's diagonal; divided by num_tokens,
    because `Sophia` multiplies by it. One backward through the gradient of `loss` (a scalar)."""
    weights: Sequence[nn.Parameter] = [weight for _, weight in parameters]
    gradients = torch.autograd.grad(loss, weights, create_graph=True)
    noise = [torch.randn(w.shape, generator=generator, dtype=w.dtype, device=w.device) for w in weights]
    products = torch.autograd.grad(gradients, weights, grad_outputs=noise)
    return {name: u * p / num_tokens for (name, _), u, p in zip(parameters, noise, products, strict=True)}
