"""DoReMi: weights of domains that help the domain that is worst off (Xie et al. 2023, arXiv:2305.10429, algorithm 1).

    1. a small reference model is trained on the domains in equal (or given) shares      `ownlm.train.loop.train`
    2. a proxy of the same size is trained so that the weights go to the domains on which it is furthest behind the
       reference (group DRO, Sagawa et al. 2020): w <- w exp(eta * excess), smoothed towards the start   `proxy`
    3. the mean of the weights over the steps is the answer: JSON for the `mix` step, and for a larger model

The excess of a domain is the mean over its tokens of max(0, proxy loss - reference loss): noise, which no model learns,
has none and gets little weight, as has what is learned at once. Deviation: a batch has the same number of rows of every
domain in place of a random one, so that no domain is missing from an update.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ownlm.errors import UsageError
from ownlm.runtime.files import write_json
from ownlm.runtime.seed import generator
from ownlm.train import schedules
from ownlm.train.batches import Batch, BatchAt
from ownlm.train.config import TrainConfig
from ownlm.train.loop import to_stderr
from ownlm.train.objectives.causal import output_weight
from ownlm.train.objectives.cross_entropy import IGNORE, cross_entropy
from ownlm.train.optimizers.clip import clip_gradients
from ownlm.train.precision import autocast
from ownlm.train.setup import prepare

Domains = Mapping[str, BatchAt]
"""Name to the batches of that domain alone: pure functions of the step, all of one shape."""


@dataclass(frozen=True, slots=True)
class WeightStep:
    """One step of the proxy: weights and excess losses (nats per token, clipped at 0), by domain."""

    step: int
    weights: Mapping[str, float]
    excess: Mapping[str, float]
    seconds: float


def mixture(domains: Domains, weights: Mapping[str, float], rows: int, seed: int) -> BatchAt:
    """Batches of `rows` rows whose domains are drawn with these weights, each row the next one of its domain's.

    The same step gives the same batch in any process: the draw of step s is a function of seed and s, the rows of a
    domain are those of its own batch s. A domain's batches must have at least `rows` rows.
    """
    names, share = sorted(domains), checked(domains, weights)

    def batch_at(step: int) -> Batch:
        drawn = generator(seed, "mixture", step).choice(len(names), rows, p=[share[name] for name in names])
        inputs, targets = [], []
        for number in np.unique(drawn):
            batch, count = domains[names[number]](step), int((drawn == number).sum())
            if count > len(batch.inputs):
                raise UsageError("A domain's batch is too small for the mixture.",
                                 f"{names[number]}: {len(batch.inputs)} rows, {count} are needed", f"give {rows} rows")  # fmt: skip
            inputs.append(batch.inputs[:count])
            targets.append(batch.targets[:count])
        return Batch(torch.cat(inputs), torch.cat(targets))

    return batch_at


def checked(domains: Domains, weights: Mapping[str, float]) -> dict[str, float]:
    """Weights that sum to 1, one for every domain. Raises UsageError."""
    wrong = {name: weight for name, weight in weights.items() if not 0 <= weight < math.inf}
    if not domains or set(weights) != set(domains) or wrong or not sum(weights.values()) > 0:
        raise UsageError("Every domain needs a weight of 0 or more, one of them more.",
                         f"domains {sorted(domains)}, weights {dict(weights)}", "give e.g. 1.0 for each")  # fmt: skip
    total = sum(weights.values())
    return {name: weights[name] / total for name in sorted(weights)}


def proxy(
    model: nn.Module,
    reference: nn.Module | Mapping[str, nn.Module],
    domains: Domains,
    config: TrainConfig,
    start: Mapping[str, float] | None = None,
    eta: float = 1.0,
    smoothing: float = 1e-3,
    notice: Callable[[str], None] = to_stderr,
) -> Iterator[WeightStep]:
    """Train `model` in place under group DRO against the trained `reference`; one WeightStep per step.

    `reference`: one model for all domains as in the paper, or one for each, e.g. trained on that domain alone. The
    weights then go to where most is lost by sharing the model (minimax regret, Agarwal & Zhang 2022, arXiv:2202.05436):
    the choice where one reference is as far behind as the proxy, so that nothing is left to catch up with.
    `start`: weights of the reference (default: equal). eta, smoothing: as in the paper. Not covered: resuming, the
    proxy is small. Raises UsageError when the loss is no longer finite.
    """
    names = sorted(domains)
    uniform = checked(domains, start or dict.fromkeys(names, 1.0))
    base = np.array([uniform[name] for name in names])
    weights = base.copy()
    setup = prepare(model, config, notice)
    theirs = dict(reference) if isinstance(reference, Mapping) else dict.fromkeys(names, reference)
    if missing := sorted(set(names) - set(theirs)):
        raise UsageError("A domain has no reference.", ", ".join(missing), "give one model for each domain")
    for known in theirs.values():
        known.eval()
    for step in range(config.num_steps):
        began = time.perf_counter()
        batches = [domains[name](step) for name in names]
        hidden, behind = [], np.zeros(len(names))
        for number, batch in enumerate(batches):
            with autocast(setup.precision, setup.device):
                found = model.hidden(batch.inputs.to(setup.device)).flatten(0, 1)  # type: ignore[operator]  # [N,D]
            hidden.append(found)
            behind[number] = _excess(
                found.detach(), output_weight(model), theirs[names[number]], batch, setup.device
            )
        weights = updated(weights, base, behind, eta, smoothing)
        for weight, found, batch in zip(weights, hidden, batches, strict=True):
            targets = batch.targets.to(setup.device).flatten()
            trained = int((targets != IGNORE).sum())
            with autocast(setup.precision, setup.device):
                loss = cross_entropy(found, output_weight(model), targets, max(1, trained))
            torch.autograd.backward(loss * float(weight))
        norm = clip_gradients(model.parameters(), config.clip)
        if not (math.isfinite(norm) and np.isfinite(behind).all()):
            raise UsageError("The proxy diverged.", f"step {step + 1}: gradient norm {norm}", "lower the learning rates")  # fmt: skip
        setup.update(schedules.scale(config, step))
        for each in model.parameters():
            each.grad = None
        yield WeightStep(step + 1, _named(names, weights), _named(names, behind), time.perf_counter() - began)


def updated(weights: np.ndarray, base: np.ndarray, excess: np.ndarray, eta: float, smoothing: float) -> np.ndarray:  # fmt: skip
    """One step of exponentiated gradient ascent, then smoothing towards `base` (algorithm 1, lines 6 to 8)."""
    raised = weights * np.exp(eta * (excess - excess.max()))  # the maximum cancels in the division
    found: np.ndarray = (1 - smoothing) * raised / raised.sum() + smoothing * base
    return found


def averaged(steps: list[WeightStep], skip: float = 0.0) -> dict[str, float]:
    """The result: the mean of the weights over all steps. `skip` leaves out that share of the first ones (0 in the
    paper, where they are few among many: at first every domain is far behind, what is learned at once most of all)."""
    steps = steps[int(skip * len(steps)) :]
    if not steps:
        raise UsageError("There is no step to average.", f"skip = {skip}", "run the proxy first, skip less")
    return {name: float(np.mean([step.weights[name] for step in steps])) for name in steps[0].weights}


def write(path: Path, steps: list[WeightStep], skip: float = 0.0) -> dict[str, float]:
    """The weights as JSON for `mix: {weights_file: ...}`, with the last tenth's mean excess beside them."""
    weights = averaged(steps, skip)
    late = steps[-max(1, len(steps) // 10) :]
    excess = {name: float(np.mean([step.excess[name] for step in late])) for name in weights}
    write_json(
        path, {"weights": weights, "excess": excess, "steps": len(steps), "skip": skip, "method": "DoReMi"}
    )
    return weights


@torch.no_grad()
def losses(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
    """[N] nats per token in float32; 0 where the target is ignored."""
    logits = model(inputs).flatten(0, 1).float()  # [N,V]
    return F.cross_entropy(logits, targets.flatten(), ignore_index=IGNORE, reduction="none")


@torch.no_grad()
def _excess(hidden: Tensor, output: Tensor, reference: nn.Module, batch: Batch, device: torch.device) -> float:  # fmt: skip
    """Mean over trained tokens of max(0, proxy - reference), nats."""
    targets = batch.targets.to(device).flatten()
    mine = F.cross_entropy(F.linear(hidden.float(), output.float()), targets, ignore_index=IGNORE, reduction="none")  # fmt: skip
    theirs = losses(reference, batch.inputs.to(device), targets)
    return float((mine - theirs).clamp(min=0).sum() / (targets != IGNORE).sum().clamp(min=1))


def _named(names: list[str], values: np.ndarray) -> dict[str, float]:
    return {name: float(value) for name, value in zip(names, values, strict=True)}
