"""Muon: momentum, orthogonalised. For the matrices inside the blocks; embeddings, output layer and norms go elsewhere.

Letters: G equally shaped matrices, R rows, C columns.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ownlm.train.optimizers.optimizer import Named, Optimizer

# Coefficients of the quintic, Jordan et al. 2024 (https://kellerjordan.github.io/posts/muon/): steepest at zero,
# so small singular values grow fast; the result's lie in about [0.7, 1.2], not at 1.
_A, _B, _C = 3.4445, -4.7750, 2.0315
_ITERATIONS = 5


class Muon(Optimizer):
    """Nesterov momentum, orthogonalised (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/).

    The update of an R x C matrix has every singular value near 1 and is scaled by sqrt(max(1, R/C)), so that one
    rate serves all shapes. Equal shapes are orthogonalised in one batched product.
    """

    def __init__(self, parameters: Named, momentum: float = 0.95, weight_decay: float = 0.05,
                 dtype: torch.dtype = torch.float32) -> None:  # fmt: skip
        self.momentum, self.weight_decay, self.dtype = momentum, weight_decay, dtype
        super().__init__(parameters)
        groups: dict[tuple[int, ...], Named] = {}
        for name, weight in parameters:
            groups.setdefault(tuple(weight.shape), []).append((name, weight))
        self._groups = list(groups.values())

    def slots_of(self, weight: nn.Parameter) -> dict[str, Tensor]:
        return {"momentum": torch.zeros_like(weight)}

    @torch.no_grad()
    def step(self, learning_rate: float) -> None:
        self.num_updates += 1
        for group in self._groups:
            update = torch.stack([self._direction(name, weight) for name, weight in group])  # [G,R,C]
            update = orthogonalise(update.to(self.dtype))
            scale = max(1.0, update.shape[-2] / update.shape[-1]) ** 0.5
            for (_, weight), direction in zip(group, update, strict=True):
                weight.mul_(1 - learning_rate * self.weight_decay)
                weight.add_(direction, alpha=-learning_rate * scale)

    def _direction(self, name: str, weight: nn.Parameter) -> Tensor:
        gradient = weight.grad if weight.grad is not None else torch.zeros_like(weight)
        buffer = self.slots[name]["momentum"]
        buffer.lerp_(gradient, 1 - self.momentum)
        return gradient.lerp(buffer, self.momentum)  # Nesterov: look one momentum step ahead


def orthogonalise(matrices: Tensor) -> Tensor:
    """[G, R, C] -> the nearest matrices with singular values near 1 (0.6 to 1.25), by Newton-Schulz iteration.

    X <- A X + (B G + C G G) X with G = X X^T, five times, from X scaled to Frobenius norm 1.
    """
    tall = matrices.shape[-2] > matrices.shape[-1]
    x = matrices.mT if tall else matrices  # G is the smaller of the two squares
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(_ITERATIONS):
        square = x @ x.mT
        polynomial = torch.baddbmm(square, square, square, beta=_B, alpha=_C)
        x = torch.baddbmm(x, polynomial, x, beta=_A)
    return x.mT if tall else x
