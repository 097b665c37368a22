"""The loss of a run that was not made, with an interval that says how far to trust it.

Two things are uncertain, and both are measured:

* the constants: the bootstrap's laws, each with its own prediction
* the form: how far such a law misses when it looks up from smaller runs. Backtest: each of the largest third of the
  runs is predicted from the runs of at most half its compute; the root mean square of those misses in ln L, at least
  that of the residuals, is the scale of a Student-t error (as many degrees of freedom as there were backtests).

Not covered: a change of data, tokenizer, architecture or recipe, and sizes orders of magnitude beyond the ladder.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ownlm.errors import UsageError
from ownlm.plan.law import effective_tokens
from ownlm.plan.scaling import chinchilla
from ownlm.plan.scaling.chinchilla import ParametricFit, Point
from ownlm.runtime.seed import generator
from ownlm.train.ladder.result import LadderRun

_REACH = 0.5  # a backtest looks up by at least a factor 2 in compute


@dataclass(frozen=True, slots=True)
class Prediction:
    """Nats per token on the ladder's held-out text."""

    loss: float
    low: float
    high: float
    level: float
    miss: float  # scale of the error of the form, in ln L
    num_backtests: int
    reach: float  # compute of the prediction over the largest compute of the ladder

    def contains(self, measured: float) -> bool:
        return self.low <= measured <= self.high


def points(runs: Sequence[LadderRun]) -> list[Point]:
    return [chinchilla.point(r.parameters, r.tokens, r.unique_tokens, r.loss) for r in runs]


def backtest(known: Sequence[Point]) -> list[float]:
    """ln measured - ln predicted of the larger runs, each from the runs of at most half its compute."""
    ordered = sorted(known, key=lambda p: p.parameters * p.tokens)
    errors = []
    for target in ordered[-max(2, len(ordered) // 3) :]:
        limit = _REACH * target.parameters * target.tokens
        before = [p for p in ordered if p.parameters * p.tokens <= limit]
        sizes, lengths = {p.parameters for p in before}, {round(p.tokens) for p in before}
        if len(before) >= chinchilla.MIN_RUNS and min(len(sizes), len(lengths)) >= 2:
            found = chinchilla.fit(before, samples=0)
            errors.append(float(np.log(target.loss / found.loss(target.parameters, target.tokens))))
    return errors


def predict(fitted: ParametricFit, parameters: float, tokens: float, unique_tokens: float, level: float = 0.95,
            seed: int = 0) -> Prediction:  # fmt: skip
    """Raises UsageError for a fit without bootstrap samples or a size that is not positive."""
    if not len(fitted.samples) or min(parameters, tokens, unique_tokens) <= 0 or not 0 < level < 1:
        raise UsageError(
            "This cannot be predicted.",
            f"{len(fitted.samples)} bootstrap samples, N {parameters:g}, D {tokens:g}, U {unique_tokens:g}, level {level:g}",
            "give positive sizes, a level between 0 and 1, and a fit with samples",
        )
    worth = effective_tokens(tokens, unique_tokens)
    errors = backtest(fitted.points)
    residuals = fitted.residuals()
    freedom = max(1, len(residuals) - len(chinchilla.NAMES))
    noise = float(np.sqrt((residuals**2).sum() / freedom))
    miss = max(noise, float(np.sqrt(np.mean(np.square(errors)))) if errors else 0.0)
    random = generator(seed, "prediction")
    centres = np.repeat(chinchilla.losses(fitted.samples, parameters, worth), 50)
    shaken = centres * np.exp(miss * random.standard_t(len(errors) or freedom, size=len(centres)))
    low, high = np.quantile(shaken, [(1 - level) / 2, (1 + level) / 2])
    largest = max(p.parameters * p.tokens for p in fitted.points)
    return Prediction(fitted.loss(parameters, worth), float(low), float(high), level, miss, len(errors),
                      parameters * worth / largest)  # fmt: skip
