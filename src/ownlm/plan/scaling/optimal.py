"""What to train for a budget: compute-optimal sizes, models that will be used a lot, and text that repeats.

C = 6 N D;   N_opt = G (C/6)^(b/(a+b)),  D_opt = (C/6)^(a/(a+b)) / G,  G = (a A / (b B))^(1/(a+b))
                                                   (Hoffmann et al. 2022, arXiv:2203.15556, equation 4)
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from ownlm.errors import UsageError
from ownlm.plan.law import Law, effective_tokens


@dataclass(frozen=True, slots=True)
class Optimum:
    """A model and its training. Compute in operations; loss in nats per token."""

    parameters: float
    tokens: float
    training_compute: float
    loss: float
    inference_compute: float = 0.0

    @property
    def tokens_per_parameter(self) -> float:
        return self.tokens / self.parameters

    @property
    def total_compute(self) -> float:
        return self.training_compute + self.inference_compute


def loss(law: Law, parameters: float, tokens: float) -> float:
    """E + A / N^a + B / D^b, with fresh tokens."""
    return float(
        law.floor + law.model_scale * parameters**-law.model_power + law.data_scale * tokens**-law.data_power
    )


def compute_optimal(law: Law, compute: float) -> Optimum:
    """The lowest loss for `compute` operations of training. Raises UsageError for a budget that is not positive, or a
    law in which size or data do not matter."""
    a, b = law.model_power, law.data_power
    if not compute > 0 or min(a, b, law.model_scale, law.data_scale) <= 0:
        raise UsageError(
            "There is no compute-optimal model.",
            f"budget {compute:g}, A {law.model_scale:g}, a {a:g}, B {law.data_scale:g}, b {b:g}",
            "give a positive budget and a law in which both terms fall",
        )
    ratio = (a * law.model_scale / (b * law.data_scale)) ** (1 / (a + b))
    parameters = ratio * (compute / 6) ** (b / (a + b))
    tokens = compute / 6 / parameters
    return Optimum(parameters, tokens, compute, loss(law, parameters, tokens))


def tokens_for(law: Law, parameters: float, target: float) -> float:
    """Tokens until a model of this size reaches the loss `target`; inf where it never does."""
    left = target - law.floor - law.model_scale * parameters**-law.model_power
    return (law.data_scale / left) ** (1 / law.data_power) if left > 0 else math.inf


def lifetime_optimal(law: Law, target: float, inference_tokens: float) -> Optimum:
    """The cheapest model of loss `target` over its life: 6 N D + 2 N * inference_tokens operations at the least
    (Sardana et al. 2023, arXiv:2401.00448, equation 2).

    Compared with Chinchilla it is smaller and trained longer. Raises UsageError for a loss at or below E.
    """
    if target <= law.floor:
        raise UsageError(
            "No model reaches that loss.",
            f"target {target:g}, the law's floor is {law.floor:g}",
            f"ask for more than {law.floor:g} nats per token",
        )

    def cost(log_parameters: float) -> float:
        size = math.exp(log_parameters)
        return 6 * size * tokens_for(law, size, target) + 2 * size * inference_tokens

    smallest = math.log((law.model_scale / (target - law.floor)) ** (1 / law.model_power))
    parameters = math.exp(_lowest(cost, smallest + 1e-9, smallest + 20.0))
    tokens = tokens_for(law, parameters, target)
    return Optimum(parameters, tokens, 6 * parameters * tokens, target, 2 * parameters * inference_tokens)


def data_constrained(law: Law, compute: float, unique_tokens: float) -> Optimum:
    """The lowest loss for `compute` when there are only so many different tokens: both N' and D' of Muennighoff et al.
    2023 (arXiv:2305.16264, section 3.1; plan/law.py) count, so tokens are repeated a few times and no more."""

    def found(log_parameters: float) -> float:
        size = math.exp(log_parameters)
        return law.loss(size, compute / 6 / size, unique_tokens)

    middle = math.log(compute_optimal(law, compute).parameters)
    parameters = math.exp(_lowest(found, middle - 12.0, middle + 12.0))
    return Optimum(parameters, compute / 6 / parameters, compute, found(math.log(parameters)))


def repetition(law: Law, parameters: float, unique_tokens: float,
               epochs: tuple[float, ...] = (1, 2, 4, 8, 16, 64)) -> list[dict[str, float]]:  # fmt: skip
    """What passes over the same text are worth: per number of passes the worth of the tokens (fresh ones that teach as
    much), the loss, and the loss with as many fresh tokens."""
    rows = []
    for number in epochs:
        tokens = number * unique_tokens
        rows.append({
            "epochs": number, "tokens": tokens, "worth": effective_tokens(tokens, unique_tokens),
            "loss": law.loss(parameters, tokens, unique_tokens), "fresh_loss": law.loss(parameters, tokens, tokens),
        })  # fmt: skip
    return rows


def _lowest(function: Callable[[float], float], low: float, high: float, steps: int = 400) -> float:
    """Where a function of one variable is smallest: a scan (it may be flat or infinite in parts), then golden section."""
    grid = [low + (high - low) * i / steps for i in range(steps + 1)]
    at = min(range(len(grid)), key=lambda i: function(grid[i]))
    left, right = grid[max(0, at - 1)], grid[min(steps, at + 1)]
    golden = (math.sqrt(5) - 1) / 2
    for _ in range(80):
        a, b = right - golden * (right - left), left + golden * (right - left)
        if function(a) <= function(b):
            right = b
        else:
            left = a
    return (left + right) / 2
