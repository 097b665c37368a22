"""Influence functions: by how much a query's loss would rise if a training example were taken away.

Every function gives scores [Q, N] in nats: positive means that the example lowers the query's loss.

    score[q, n] = g_q' (C + damping I)^-1 g_n / N                     (Koh & Liang 2017, arXiv:1703.04730, eq. 2)

with g the gradients at the trained weights and C the mean loss's curvature. `exact` inverts C (models of up to a few
thousand weights: the oracle of the others), `conjugate_gradients` and `lissa` never build it. `tracin` needs no
curvature but checkpoints. A weight decay d of the training (d/2 |w|^2 in the mean loss) belongs into the damping.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.func import grad, jacrev

from ownlm.errors import UsageError
from ownlm.interp.gradients import (
    Curvature,
    Examples,
    Trained,
    curvature_product,
    flat,
    gradients,
    loss_of,
    unflat,
)
from ownlm.runtime.seed import generator

MOST_EXACT = 20_000  # weights: the matrix then takes 1.6 GB


def exact(trained: Trained, train: Examples, query: Examples, damping: float = 1e-3) -> Tensor:
    """With the whole Hessian [P, P] in memory. Raises UsageError for more than 20,000 weights."""
    if trained.num_weights() > MOST_EXACT:
        raise UsageError(
            "The model is too large for an exact inverse.",
            f"{trained.num_weights():,} weights, {MOST_EXACT:,} are the most",
            "take conjugate_gradients",
        )
    matrix = torch.zeros(trained.num_weights(), trained.num_weights())
    for piece in train.pieces():
        matrix += _hessian(trained, piece)
    matrix = matrix / len(train) + damping * torch.eye(len(matrix))
    wanted = torch.cat(list(gradients(trained, query)))  # [Q,P]
    return _against(torch.linalg.solve(matrix, wanted.T).T, trained, train)


def conjugate_gradients(
    trained: Trained,
    train: Examples,
    query: Examples,
    damping: float = 1e-2,
    curvature: Curvature = "gauss-newton",
    steps: int = 50,
    tolerance: float = 1e-4,
) -> Tensor:
    """Solves for one query at a time with products C v only (Martens 2010). Stops at `steps`, or when the residual
    is below `tolerance` of its start. Raises UsageError when C + damping I is not positive in a direction met."""
    solved = []
    for wanted in torch.cat(list(gradients(trained, query))):
        solution, residual = torch.zeros_like(wanted), wanted.clone()
        direction, size = residual.clone(), residual.dot(residual)
        enough = float(size) * tolerance**2
        for _ in range(steps):
            if float(size) <= enough:
                break
            product = curvature_product(trained, train, direction, curvature) + damping * direction
            bend = direction.dot(product)
            if float(bend) <= 0:
                raise UsageError(
                    "The curvature is negative in a direction: influence is not defined there.",
                    f"{float(bend):.3g} with damping {damping:g} and the {curvature} curvature",
                    "raise the damping, or take curvature gauss-newton",
                )
            solution += size / bend * direction
            residual -= size / bend * product
            size, before = residual.dot(residual), size
            direction = residual + size / before * direction
        solved.append(solution)
    return _against(torch.stack(solved), trained, train)


def lissa(
    trained: Trained,
    train: Examples,
    query: Examples,
    damping: float = 1e-2,
    scale: float | None = None,
    steps: int = 200,
    batch: int = 16,
    seed: int = 0,
) -> Tensor:
    """Stochastic Neumann series (Agarwal et al. 2017, arXiv:1602.03943): u <- v + u - (C_batch + damping) u / scale.

    `scale` must be above the largest eigenvalue of every batch's damped curvature (default: three times that of all
    examples together, since batches differ); UsageError when the series grows all the same. The number of steps that
    is needed grows with scale / damping.
    """
    scale = 3 * largest_eigenvalue(trained, train, seed) + damping if scale is None else scale
    random = generator(seed, "lissa")
    solved = []
    for wanted in torch.cat(list(gradients(trained, query))):
        u = wanted.clone()
        for _ in range(steps):
            chosen = torch.from_numpy(random.choice(len(train), min(batch, len(train)), replace=False))
            product = curvature_product(trained, train.chosen(chosen), u, "gauss-newton")
            u = wanted + u - (product + damping * u) / scale
            if not float(u.norm()) <= 10 * scale / damping * float(wanted.norm()):
                raise UsageError("The series of LiSSA grows without end.", f"scale {scale:g}", "raise scale")
        solved.append(u / scale)
    return _against(torch.stack(solved), trained, train)


def largest_eigenvalue(trained: Trained, train: Examples, seed: int = 0, steps: int = 10) -> float:
    """Of the Gauss-Newton curvature, by power iteration: a little too small, never too large."""
    drawn = generator(seed, "eigenvalue").standard_normal(trained.num_weights())
    vector, size = torch.from_numpy(drawn).float(), 0.0
    for _ in range(steps):
        vector = vector / vector.norm().clamp(min=1e-30)
        product = curvature_product(trained, train, vector, "gauss-newton")
        size, vector = float(vector.dot(product)), product
    return size


def tracin(
    checkpoints: Sequence[Trained], rates: Sequence[float], train: Examples, query: Examples
) -> Tensor:
    """Sum over checkpoints of learning rate times g_q' g_n / N (TracInCP, Pruthi et al. 2020, arXiv:2002.08484, eq. 2).

    `rates[i]`: sum of the learning rates of the steps that checkpoint i stands for.
    """
    if len(checkpoints) != len(rates) or not rates:
        raise UsageError(
            "Every checkpoint needs its learning rate.", f"{len(checkpoints)} and {len(rates)}", ""
        )
    total = torch.zeros(len(query), len(train))
    for trained, rate in zip(checkpoints, rates, strict=True):
        total += rate * _against(torch.cat(list(gradients(trained, query))), trained, train)
    return total


def _against(solved: Tensor, trained: Trained, train: Examples) -> Tensor:
    """solved [Q, P] times every training gradient, which are never held together -> [Q, N]."""
    return torch.cat([solved @ piece.T for piece in gradients(trained, train)], dim=1) / len(train)


def _hessian(trained: Trained, piece: Examples) -> Tensor:
    """Of the sum of the piece's losses, [P, P]."""

    def total(vector: Tensor) -> Tensor:
        weights = unflat(vector, trained.weights)
        each = torch.vmap(lambda x, y: loss_of(trained.logits(weights, x), y))
        return each(piece.inputs, piece.targets).sum()

    matrix: Tensor = jacrev(grad(total), chunk_size=256)(flat(trained.weights))
    return matrix
