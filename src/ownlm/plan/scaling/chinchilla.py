"""Chinchilla's parametric fit: L(N, D) = E + A / N^a + B / D^b (Hoffmann et al. 2022, arXiv:2203.15556, D.2).

    minimise  sum over runs of Huber_0.001( log(e^(ln A - a ln N) + e^(ln B - b ln D) + e^(ln E)) - ln L )

over (ln A, ln B, ln E, a, b) from their grid of starts, the 60 best of which are followed to the end. The loss is
summed, not averaged: Besiroglu et al. 2024 (arXiv:2404.10102) show that averaging stopped the original fit early.
Logarithms are centred at the runs' means, which changes nothing but the conditioning. D is what repeated tokens are
worth (plan/law.py). The uncertainty is a bootstrap over runs, each sample fitted again.

Letters: S starts or samples, R runs.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ownlm.errors import DataError
from ownlm.plan.law import Law, effective_tokens
from ownlm.plan.scaling.minimise import Array, minimise
from ownlm.runtime.seed import generator

NAMES = ("E", "A", "a", "B", "b")
HUBER = 1e-3
MIN_RUNS = 6
_FOLLOWED = 60
_SAMPLE_GAIN = 1e-6  # a sample's own minimum needs no more digits than its scatter has
_POWERS = (0.0, 2.5)  # beyond them a term is a constant or a cliff


@dataclass(frozen=True, slots=True)
class Point:
    """A run as the fits see it. `tokens` is what the tokens are worth: repeats counted down."""

    parameters: float
    tokens: float
    loss: float


@dataclass(frozen=True, slots=True)
class ParametricFit:
    """The law, and as many further ones as the bootstrap gave."""

    law: Law
    samples: NDArray[np.float64]  # [S, 5] in the order of NAMES
    points: tuple[Point, ...]

    def values(self) -> dict[str, float]:
        return dict(zip(NAMES, _constants(self.law), strict=True))

    def intervals(self, level: float = 0.95) -> dict[str, tuple[float, float]]:
        """Percentile intervals of the five constants."""
        edges = [(1 - level) / 2, (1 + level) / 2]
        low, high = np.quantile(self.samples, edges, axis=0)
        return {name: (float(lo), float(hi)) for name, lo, hi in zip(NAMES, low, high, strict=True)}

    def loss(self, parameters: float, tokens: float) -> float:
        return float(losses(np.array([_constants(self.law)]), parameters, tokens)[0])

    def residuals(self) -> Array:
        """ln measured - ln fitted, of every point."""
        return np.array([np.log(p.loss / self.loss(p.parameters, p.tokens)) for p in self.points])


def losses(constants: Array, parameters: float, tokens: float) -> Array:
    """[S, 5] in the order of NAMES -> [S] nats per token."""
    E, A, a, B, b = constants.T
    found: Array = E + A * parameters**-a + B * tokens**-b
    return found


def point(parameters: float, tokens: float, unique_tokens: float, loss: float) -> Point:
    return Point(parameters, effective_tokens(tokens, unique_tokens), loss)


def fit(points: Sequence[Point], samples: int = 200, seed: int = 0, label: str = "") -> ParametricFit:
    """Raises DataError with fewer than 6 runs, 2 sizes or 2 lengths, or losses that are not positive."""
    _check(points)
    n, d, target = (np.log([getattr(p, name) for p in points]) for name in ("parameters", "tokens", "loss"))
    centre = n.mean(), d.mean()
    weights = np.ones((1, len(points)))
    best, _ = _search(n - centre[0], d - centre[1], target, weights, _grid(target))
    found = best[:1]
    drawn = np.empty((0, 5))
    if samples:
        random = generator(seed, "chinchilla bootstrap")
        counts = random.multinomial(len(points), np.full(len(points), 1 / len(points)), size=samples)
        drawn, _ = _bootstrap(n - centre[0], d - centre[1], target, counts.astype(np.float64), best)
    E, A, a, B, b = _uncentred(found, centre)[0]
    law = Law(float(E), float(A), float(a), float(B), float(b), label or f"{len(points)} runs")
    return ParametricFit(law, _uncentred(drawn, centre), tuple(points))


def _check(points: Sequence[Point]) -> None:
    sizes, lengths = {p.parameters for p in points}, {round(p.tokens) for p in points}
    if len(points) < MIN_RUNS or len(sizes) < 2 or len(lengths) < 2:
        raise DataError(
            "Too few runs to fit a law.",
            f"{len(points)} runs of {len(sizes)} sizes and {len(lengths)} lengths; "
            f"{MIN_RUNS} runs, 2 sizes and 2 lengths are the least",
            "run more of the ladder: `ownlm scaling run` with more --sizes or --tokens",
        )
    if any(not (p.loss > 0 and p.parameters > 0 and p.tokens > 0) for p in points):
        raise DataError(
            "A run has a size, a length or a loss that is not positive.",
            f"{next(p for p in points if not min(p.loss, p.parameters, p.tokens) > 0)}",
            "leave that run out",
        )


def _grid(target: Array) -> Array:
    """Starts [S, 5] of (ln A', ln B', ln E, a, b), A' and B' at the centre. Theirs spans A and B from 1 to e^25; at the
    centre these terms are parts of the loss, so the shares of the smallest loss span the same ground."""
    level = float(np.log(np.exp(target).min()))
    shares, powers = (0.05, 0.2, 0.5), (0.1, 0.3, 0.6, 1.0)
    rows = [
        (level + np.log(x), level + np.log(y), level + np.log(e), a, b)
        for x, y, e, a, b in itertools.product(shares, shares, (0.1, 0.5, 0.9), powers, powers)
    ]
    return np.array(rows)


def _search(n: Array, d: Array, target: Array, weights: Array, starts: Array) -> tuple[Array, Array]:
    """(points [S, 5], values [S]) of one weighting, best first: the most promising starts, followed to the end."""

    def function(x: Array, who: NDArray[np.int64]) -> tuple[Array, Array]:
        return _objective(x, n, d, target, weights[np.zeros_like(who)])

    first, _ = function(starts, np.zeros(len(starts), dtype=np.int64))
    chosen = starts[np.argsort(first)[:_FOLLOWED]]
    found, values = minimise(function, chosen)
    order = np.argsort(values)
    return found[order], values[order]


def _bootstrap(n: Array, d: Array, target: Array, weights: Array, best: Array) -> tuple[Array, Array]:
    """Every sample is fitted from the three best minima of the whole and the better is kept."""
    S, tries = len(weights), min(3, len(best))
    which = np.repeat(np.arange(S), tries)

    def function(x: Array, who: NDArray[np.int64]) -> tuple[Array, Array]:
        return _objective(x, n, d, target, weights[which[who]])

    found, values = minimise(function, np.tile(best[:tries], (S, 1)), gain=_SAMPLE_GAIN)
    pick = values.reshape(S, tries).argmin(1)
    return found.reshape(S, tries, 5)[np.arange(S), pick], values.reshape(S, tries).min(1)


def _objective(x: Array, n: Array, d: Array, target: Array, weights: Array) -> tuple[Array, Array]:
    """x [S, 5] = (ln A', ln B', ln E, a, b), weights [S, R] -> (values [S], gradients [S, 5])."""
    a, b = x[:, 3:4], x[:, 4:5]  # [S,1]
    with np.errstate(over="ignore", invalid="ignore"):
        terms = np.stack([x[:, :1] - a * n, x[:, 1:2] - b * d, np.broadcast_to(x[:, 2:3], (len(x), len(n)))])
        top = terms.max(0)
        parts = np.exp(terms - top)  # [3,S,R]
        total = parts.sum(0)
        error = top + np.log(total) - target  # [S,R]
        small = np.abs(error) <= HUBER
        value = (weights * np.where(small, 0.5 * error**2, HUBER * (np.abs(error) - 0.5 * HUBER))).sum(1)
        pull = weights * np.where(small, error, HUBER * np.sign(error))  # [S,R] d value / d prediction
        share = pull * parts / total  # [3,S,R]
        slope = np.stack([share[0].sum(1), share[1].sum(1), share[2].sum(1), -(share[0] * n).sum(1), -(share[1] * d).sum(1)], 1)  # fmt: skip
        outside = (x[:, 3:] < _POWERS[0]) | (x[:, 3:] > _POWERS[1])
        value = np.where(outside.any(1), np.inf, value)
    return value / HUBER, slope / HUBER


def _uncentred(x: Array, centre: tuple[float, float]) -> Array:
    """(ln A', ln B', ln E, a, b) at the centre -> (E, A, a, B, b)."""
    a, b = x[:, 3], x[:, 4]
    with np.errstate(over="ignore"):
        return np.stack([np.exp(x[:, 2]), np.exp(x[:, 0] + a * centre[0]), a, np.exp(x[:, 1] + b * centre[1]), b], 1)  # fmt: skip


def _constants(law: Law) -> tuple[float, float, float, float, float]:
    return law.floor, law.model_scale, law.model_power, law.data_scale, law.data_power
