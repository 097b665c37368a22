"""The loss that training will reach, from parameters and tokens: a fitted law, with repetition counted.

    L(N, D) = E + A / N'^a + B / D'^b            nats per token (Hoffmann et al. 2022, arXiv:2203.15556, eq. 2)

    D' = U + U·R*·(1 - e^(-R/R*)),  R = D/U - 1 repetitions of U unique tokens, R* = 15.4
    N' = the same for parameters beyond those that are compute-optimal for U, R* = 5.3
                                                 (Muennighoff et al. 2023, arXiv:2305.16264, eq. 5 and 6)

N counts every parameter, the embeddings too: at a million parameters they are most of the model. The constants hold
for our decoder, optimizer and a vocabulary of 8,192 tokens, at 0.1 to 100 million tokens of prose and code.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ownlm.errors import DataError

R_DATA = 15.4
R_PARAMETERS = 5.3


@dataclass(frozen=True, slots=True)
class Law:
    """E, A, a, B, b of the formula; `fitted_on` says from what."""

    floor: float
    model_scale: float
    model_power: float
    data_scale: float
    data_power: float
    fitted_on: str

    def loss(self, parameters: float, tokens: float, unique_tokens: float) -> float:
        """Nats per token on held-out text."""
        data = effective_tokens(tokens, unique_tokens)
        size = self.effective_parameters(parameters, unique_tokens)
        terms = self.model_scale * size**-self.model_power + self.data_scale * data**-self.data_power
        return self.floor + float(terms)

    def optimal_parameters(self, tokens: float) -> float:
        """The size at which one more FLOP is worth the same in parameters and in tokens: at fixed N·D the minimum
        of L, where a·A/N^a = b·B/D^b."""
        data_term = self.data_power * self.data_scale / tokens**self.data_power
        return float((self.model_power * self.model_scale / data_term) ** (1 / self.model_power))

    def effective_parameters(self, parameters: float, unique_tokens: float) -> float:
        """N': parameters beyond what the unique tokens can teach are worth less and less."""
        return _saturate(parameters, min(parameters, self.optimal_parameters(unique_tokens)), R_PARAMETERS)


# Fitted by hand to runs of this code on the standard library (2.2 million different tokens, word-vector start):
# 1.44 M parameters at 0.29, 0.39, 0.59 and 2.05 million tokens: 5.68, 5.45, 5.13 and 4.19 nats; the law says 5.69, 5.38,
# 5.02 and 4.19. The effect of the size (A, a) is Chinchilla's shape at an assumed scale: re-fit with `fit`.
LAW = Law(0.71, 139.0, 0.30, 245.0, 0.35, "four runs of 1.44 M parameters; the effect of size is assumed")

BYTES_PER_TOKEN = ((512, 2.14), (1024, 2.71), (2048, 3.20), (4096, 3.63), (8192, 3.95), (16384, 4.18))
"""UTF-8 bytes per token by vocabulary size: byte-level BPE trained on the documentation and source of the standard
library (9.5 MB), measured on its training part."""


def effective_tokens(tokens: float, unique_tokens: float) -> float:
    """D': tokens seen again are worth less and less."""
    return _saturate(tokens, min(tokens, unique_tokens), R_DATA)


def _saturate(amount: float, unique: float, r_star: float) -> float:
    repeats = amount / unique - 1
    return unique + unique * r_star * -math.expm1(-repeats / r_star)


def bytes_per_token(vocab_size: int) -> float:
    """Interpolated in log2 of the vocabulary size, constant outside the table."""
    sizes = [math.log2(size) for size, _ in BYTES_PER_TOKEN]
    return float(np.interp(math.log2(vocab_size), sizes, [ratio for _, ratio in BYTES_PER_TOKEN]))


def fit(runs: Sequence[tuple[float, float, float, float]], fitted_on: str) -> Law:
    """Least squares over (parameters, tokens, unique tokens, loss): powers on a grid, E, A, B >= 0 in closed form.

    Raises DataError with fewer than 6 runs: five constants would be drawn through noise.
    """
    if len(runs) < 6:
        raise DataError(
            "Too few runs to fit a law.", f"{len(runs)} runs, 6 are needed", "train more sizes and lengths"
        )
    sizes, tokens, unique, losses = (np.array(column, dtype=np.float64) for column in zip(*runs, strict=True))
    data = np.array([effective_tokens(d, u) for d, u in zip(tokens, unique, strict=True)])
    best: tuple[float, Law] | None = None
    for a in np.arange(0.10, 0.81, 0.02):
        for b in np.arange(0.10, 0.81, 0.02):
            columns = np.stack([np.ones_like(losses), sizes**-a, data**-b], axis=1)
            constants = _nonnegative(columns, losses)
            error = float(((columns @ constants - losses) ** 2).sum())
            if best is None or error < best[0]:
                floor, model, text = (float(value) for value in constants)
                best = error, Law(floor, model, round(float(a), 2), text, round(float(b), 2), fitted_on)
    assert best is not None, "the grid is not empty"
    return best[1]


def _nonnegative(columns: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Least squares with every coefficient >= 0: the best of the 7 subsets of columns (exact for three)."""
    best, best_error = np.zeros(3), math.inf
    for subset in ([0, 1, 2], [0, 1], [0, 2], [1, 2], [0], [1], [2]):
        scale = np.linalg.norm(columns[:, subset], axis=0)
        solution = np.linalg.lstsq(columns[:, subset] / scale, target, rcond=None)[0] / scale
        if (solution < 0).any():
            continue
        error = float(((columns[:, subset] @ solution - target) ** 2).sum())
        if error < best_error:
            best, best_error = np.zeros(3), error
            best[subset] = solution
    return best
