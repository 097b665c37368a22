"""TRAK: attribution by randomly projected gradients, averaged over models (Park et al. 2023, arXiv:2303.14186).

For each model: features phi [N, k] are the gradients of the margins log(p / (1 - p)), projected to k dimensions by
random signs; scores are phi_q (Phi'Phi)^-1 Phi' (section 3). Then the mean over the models, times the mean of 1 - p,
which is how much the loss still moves with the margin. The result has the sign and the unit of influence.py: nats by
which the query's loss would rise without the example. Deviation: the paper's scores are for the margin of the query;
these are times 1 - p of the query too, the derivative of its loss by its margin. A text is one example: its margin is
the sum over its tokens, its p their mean (section 5.2 of the paper treats tokens alike).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ownlm.errors import UsageError
from ownlm.interp.gradients import Examples, Trained, gradients, margin_of, probabilities
from ownlm.runtime.seed import generator

ROWS = 4096  # weights whose signs are held at once: ROWS * k floats


def trak(models: Sequence[Trained], train: Examples, query: Examples, width: int = 256, damping: float = 1e-2, seed: int = 0) -> Tensor:  # fmt: skip
    """[Q, N]. `models`: one or more, trained alike with other seeds or on random halves of the examples (better).

    `width` is k. `damping` times the mean of the diagonal of Phi'Phi is added to it, so that k > N works too.
    Raises UsageError for no model.
    """
    if not models:
        raise UsageError("TRAK needs at least one model.", "0 models", "give a trained model")
    scores = torch.zeros(len(query), len(train))
    left = torch.zeros(len(train))  # 1 - p of the training examples
    open_query = torch.zeros(len(query))
    for number, trained in enumerate(models):
        phi = project(trained, train, width, seed + number)  # [N,k]
        wanted = project(trained, query, width, seed + number)  # [Q,k]
        gram = phi.T @ phi  # [k,k]
        gram += damping * gram.diagonal().mean() * torch.eye(width, dtype=gram.dtype)
        scores += (wanted @ torch.linalg.solve(gram, phi.T)).float() / len(models)
        left += (1 - probabilities(trained, train)) / len(models)
        open_query += (1 - probabilities(trained, query)) / len(models)
    result: Tensor = open_query[:, None] * scores * left
    return result


def project(trained: Trained, examples: Examples, width: int, seed: int) -> Tensor:
    """Gradients of the margins times random signs / sqrt(width): [N, width] float64 (Johnson & Lindenstrauss)."""
    found = []
    for piece in gradients(trained, examples, of=margin_of):
        total = torch.zeros(len(piece), width, dtype=torch.float64)
        for start in range(0, piece.shape[1], ROWS):
            part = piece[:, start : start + ROWS]
            total += (part @ _signs(seed, start, part.shape[1], width)).double()
        found.append(total)
    return torch.cat(found) / math.sqrt(width)


def _signs(seed: int, start: int, rows: int, width: int) -> Tensor:
    """[rows, width] of +1 and -1: a function of the place alone, never stored for the whole model."""
    drawn = generator(seed, "trak", start).integers(0, 2, (rows, width), dtype=np.int8)
    return torch.from_numpy(drawn).float() * 2 - 1
