"""Muon: momentum, orthogonalised. For the matrices inside the blocks; embeddings, output layer and norms go elsewhere.

    M <- momentum M + (1 - momentum) g
    w <- w - rate decay w - rate sqrt(max(1, R / C)) orthogonalise(Nesterov's M)

Letters: G equally shaped matrices, R rows, C columns.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from ownlm.errors import UsageError
from ownlm.train.optimizers.optimizer import Named, Optimizer

# x -> a x + b x^3 + c x^5, one after the other: of all chains of three, and of four, the ones that bring [0.0095, 1],
# and [0.0025, 1], nearest to 1 (Amsel et al. 2025, "The Polar Express", arXiv:2505.16932;
# solved by Remez's exchange, each interval taken 1 % too wide and none below 0.024 of its upper end: without that a
# value may dip so near to zero on the way that bfloat16 loses its sign). With SCALE it ends in [0.64, 1.2] and [0.67, 1.17].
THREE = ((8.0054, -22.7935, 16.7121), (3.6387, -2.6709, 0.5144), (2.7014, -1.9772, 0.4391))
FOUR = (
    (8.2360, -23.4503, 17.1937),
    (3.9915, -2.8435, 0.5216),
    (3.5990, -2.6429, 0.5113),
    (2.6421, -1.9301, 0.4341),
)
SCALE = 0.92
"""On the last one: as long a step as Jordan's, whose values lie in [0.68, 1.2], so that tuned rates stay."""
MARGIN = 0.98
"""The largest singular value at the start: above 1 the quintics diverge, and bfloat16 rounds a bound down by 1 %."""


class Muon(Optimizer):
    """Nesterov momentum, orthogonalised (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/).

    The update of an R x C matrix has every singular value near 1 and is scaled by sqrt(max(1, R/C)), so that one
    rate serves all shapes. Equal shapes are orthogonalised in one batched product. Remembers 4 bytes a weight.

    block_rows: orthogonalise every so many rows by themselves, at a small part of the cost (R / block_rows times
    fewer operations and more); None: whole matrices. full_every: of these, whole matrices every so many steps (Khaled et
    al. 2025, MuonBP, arXiv:2510.16981). Each row of the update keeps its mean length either way, so the rate stays.
    Whole matrices took 18 % of a step of 6 layers of width 384, blocks of 64 rows 4 %; on Tiny Shakespeare (2.3 M
    parameters, 600,000 tokens, one seed) the blocks ended 0.016 nats higher, in 16 % less time.
    """

    def __init__(self, parameters: Named, momentum: float = 0.95, weight_decay: float = 0.05,
                 dtype: torch.dtype = torch.float32, block_rows: int | None = 64,
                 full_every: int | None = None) -> None:  # fmt: skip
        if (block_rows is not None and block_rows < 1) or (full_every is not None and full_every < 1):
            values = f"block_rows = {block_rows}, full_every = {full_every}"
            raise UsageError("Muon's blocks and periods are counted from 1.", values, "leave them out, or give 1 or more")  # fmt: skip
        self.momentum, self.weight_decay, self.dtype = momentum, weight_decay, dtype
        self.block_rows, self.full_every = block_rows, full_every
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
        whole = self.full_every is not None and self.num_updates % self.full_every == 0
        block_rows = None if whole else self.block_rows
        for group in self._groups:
            update = torch.stack([self._direction(name, weight) for name, weight in group])  # [G,R,C]
            R, C = update.shape[-2:]
            scale = max(1.0, R / C) ** 0.5
            if block_rows is not None and min(R, C) > block_rows:
                update, scale = orthogonalise_blocks(update.to(self.dtype), block_rows), 1.0
            else:
                update = orthogonalise(update.to(self.dtype))
            for (_, weight), direction in zip(group, update, strict=True):
                weight.mul_(1 - learning_rate * self.weight_decay)
                weight.add_(direction, alpha=-learning_rate * scale)

    def _direction(self, name: str, weight: nn.Parameter) -> Tensor:
        gradient = weight.grad if weight.grad is not None else torch.zeros_like(weight)
        buffer = self.slots[name]["momentum"]
        buffer.lerp_(gradient, 1 - self.momentum)
        return gradient.lerp(buffer, self.momentum)  # Nesterov: look one momentum step ahead


def orthogonalise(matrices: Tensor, quintics: tuple[tuple[float, float, float], ...] = FOUR) -> Tensor:
    """[G, R, C] -> the nearest matrices with singular values near 1, in the same dtype.

    X <- a X + (b S + c S S) X with S = X X^T, once for each of `quintics`. Singular values of at least 0.004 (FOUR) or
    0.015 (THREE) of the largest come to lie in [0.6, 1.3] at R = C = 512, and smaller sizes reach further down; lower
    ones grow about 200-fold or 50-fold. Zeros stay zeros.

    Deviation from Jordan's five equal steps: fewer and unequal ones, from a start that is scaled by the largest
    singular value instead of the Frobenius norm, 10 times as large at R = C = 400. (sum of s^8)^(1/8) is a bound on it,
    at most 1.5 times too high there, and costs nothing: it is the norm of S S, which the first step computes anyway.
    """
    tall = matrices.shape[-2] > matrices.shape[-1]
    x = matrices.mT if tall else matrices  # S is the smaller of the two squares
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for number, (a, b, c) in enumerate(quintics):
        if number == len(quintics) - 1:
            a, b, c = SCALE * a, SCALE * b, SCALE * c
        square = x @ x.mT  # [G,R,R]
        if number == 0:
            fourth = square @ square
            bound = fourth.float().norm(dim=(-2, -1), keepdim=True).clamp(min=1e-20)  # of the largest, ^4
            shorter = MARGIN * bound.pow(
                -0.25
            )  # float32 [G,1,1]: three roundings of it would not fit together
            x = (x * shorter).to(x.dtype)
            polynomial = (square * (b * shorter**2)).add_(fourth * (c * shorter**4)).to(x.dtype)
        else:
            polynomial = torch.baddbmm(square, square, square, beta=b, alpha=c)
        x = torch.baddbmm(x, polynomial, x, beta=a)
    return x.mT if tall else x


def orthogonalise_blocks(matrices: Tensor, block_rows: int) -> Tensor:
    """[G, R, C] -> the same, every `block_rows` rows by themselves; rows of zeros fill up the last block.

    Flat blocks have no small singular values (the larger side bounds them), so THREE are enough.
    """
    G, R, C = matrices.shape
    missing = -R % block_rows
    blocks = functional.pad(matrices, (0, 0, 0, missing)).reshape(-1, block_rows, C)
    return orthogonalise(blocks, THREE).reshape(G, R + missing, C)[:, :R]
