"""Everything that a ladder says, as rows: exponents beside the published ones, and optima for a budget."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ownlm.plan.scaling import approaches, chinchilla, kaplan, optimal, predict, published
from ownlm.plan.scaling.approaches import Approach
from ownlm.plan.scaling.chinchilla import ParametricFit
from ownlm.plan.scaling.kaplan import KaplanFits, PowerLaw
from ownlm.train.ladder.result import LadderRun


@dataclass(frozen=True, slots=True)
class Row:
    """One fitted number; `note` says from what, or why there is none."""

    name: str
    value: float | None
    low: float | None
    high: float | None
    published: str
    note: str


@dataclass(frozen=True, slots=True)
class Summary:
    kaplan: KaplanFits
    parametric: ParametricFit
    approaches: tuple[Approach, ...]
    rows: tuple[Row, ...]

    def sentences(self) -> list[str]:
        """What the reader should know beside the table."""
        v = self.parametric.values()
        found = [f"L(N, D) = {v['E']:.3f} + {v['A']:.4g} / N^{v['a']:.3f} + {v['B']:.4g} / D^{v['b']:.3f}   nats/token"]  # fmt: skip
        residuals = self.parametric.residuals()
        found.append(f"largest miss of a fitted run: {abs(residuals).max():.2%}")
        found += [f"no {name} law: {reason}" for name, reason in self.kaplan.reasons.items()]
        found += [f"no approach {a.name}: {a.reason}" for a in self.approaches if a.reason]
        return found

    def as_dict(self) -> dict[str, Any]:
        return {
            "rows": [dataclasses.asdict(row) for row in self.rows],
            "chinchilla": self.parametric.values(),
            "chinchilla_intervals": self.parametric.intervals(),
            "approaches": [dataclasses.asdict(a) for a in self.approaches],
            "missing": dict(self.kaplan.reasons),
        }


def summarise(runs: Sequence[LadderRun], samples: int = 200, seed: int = 0) -> Summary:
    """Raises DataError with too few runs for the parametric fit."""
    parametric = chinchilla.fit(predict.points(runs), samples, seed)
    power = kaplan.fit(runs, samples, seed)
    three = tuple(approaches.all_three(runs, parametric))
    intervals = parametric.intervals()
    rows = [
        _power("alpha: L(N), longest shared training", power.by_size, published.KAPLAN_N),
        _power("beta: L(D), largest model", power.by_data, published.KAPLAN_D),
        _power("gamma: L(C), frontier", power.by_compute, published.KAPLAN_C),
    ]
    if power.joint is not None:
        joint = power.joint
        for name, value, known in (("alpha", joint.alpha, published.KAPLAN_N), ("beta", joint.beta, published.KAPLAN_D)):  # fmt: skip
            rows.append(Row(f"{name}: joint L(N, D)", value, *joint.intervals[name], f"{known:.3f}", f"{len(runs)}"))  # fmt: skip
    for name, known in (("a", published.CHINCHILLA.model_power), ("b", published.CHINCHILLA.data_power)):
        rows.append(Row(f"{name}: Chinchilla, with a floor", parametric.values()[name], *intervals[name], f"{known:.2f}", f"{len(runs)}"))  # fmt: skip
    for approach, theirs in zip(three, ("0.50", "0.49", "0.46"), strict=True):
        note = approach.reason or str(len(approach.points) or len(runs))
        rows.append(Row(f"N_opt ~ C^p: {approach.name}", approach.exponent, approach.low, approach.high, theirs, note))  # fmt: skip
    return Summary(power, parametric, three, tuple(rows))


def _power(name: str, law: PowerLaw | None, known: float) -> Row:
    if law is None:
        return Row(name, None, None, None, f"{known:.3f}", "too few points")
    return Row(name, law.exponent, law.low, law.high, f"{known:.3f}", str(law.num_points))


def optima(compute: float, runs: Sequence[LadderRun] | None, unique_tokens: float | None,
           inference_tokens: float | None) -> list[dict[str, Any]]:  # fmt: skip
    """Per law the best model for the budget; with `unique_tokens` also for text that must repeat, with
    `inference_tokens` also the cheapest model over its life that reaches the same loss."""
    parameters, tokens = published.rule_of_thumb(compute)
    rows: list[dict[str, Any]] = [{"law": "20 tokens per parameter", "parameters": parameters, "tokens": tokens, "loss": None,
                                   "training_compute": compute, "inference_compute": 0.0}]  # fmt: skip
    laws = {"Chinchilla (2022)": published.CHINCHILLA, "its replication (2024)": published.REPLICATION}
    if runs is not None:
        laws["this ladder"] = chinchilla.fit(predict.points(runs), samples=0).law
    for name, law in laws.items():
        best = optimal.compute_optimal(law, compute)
        found = {name: best}
        if unique_tokens is not None:
            found[f"{name}, {unique_tokens:.3g} different tokens"] = optimal.data_constrained(law, compute, unique_tokens)  # fmt: skip
        if inference_tokens is not None:
            found[f"{name}, {inference_tokens:.3g} tokens served"] = optimal.lifetime_optimal(law, best.loss, inference_tokens)  # fmt: skip
        rows += [{"law": label, **dataclasses.asdict(one)} for label, one in found.items()]
    return rows
