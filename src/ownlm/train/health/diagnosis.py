"""What is said about a step that went wrong: where the first NaN is, what is odd about the tokens, and whether the
weights are still worth saving. Also what is sampled of steps that went well."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor, nn

from ownlm.errors import UsageError
from ownlm.train.batches import Batch, BatchAt
from ownlm.train.config import TrainConfig
from ownlm.train.health import gradients
from ownlm.train.health.batch_check import oddities
from ownlm.train.health.nan import locate
from ownlm.train.health.steplog import StepLog
from ownlm.train.objectives.cross_entropy import IGNORE
from ownlm.train.precision import autocast
from ownlm.train.setup import Setup

NUM_ORDINARY = 8
"""Batches before the bad one that it is compared with."""


def observe(model: nn.Module, setup: Setup, step: int, logs: tuple[StepLog, StepLog]) -> None:
    """Samples of a step, between its backward and the clipping: gradient norms by layer, float8's scales."""
    norms = gradients.layer_norms(model, setup.layout.norm)  # by all processes together
    if setup.layout.rank == 0:
        logs[0].append(step, {"norms": norms})
        if setup.float8 is not None:
            setup.float8.log(step, logs[1])


def explain(
    model: nn.Module, setup: Setup, config: TrainConfig, batch_at: BatchAt, number: int, loss: float, norm: float
) -> str:  # fmt: skip
    """One line on batch `number`, whose loss or norm was bad. Only where one is not finite is it computed again."""
    batch = batch_at(number)
    told = []
    if (
        not (math.isfinite(loss) and math.isfinite(norm)) and setup.layout.pipeline is None
    ):  # a stage alone computes nothing
        found = next((origin for one in _pieces(model, setup, config, batch) if (origin := locate(model, one))), None)  # fmt: skip
        told.append("computed again, eager, everything is finite" if found is None else str(found))
    ordinary = [batch_at(place) for place in range(max(0, number - NUM_ORDINARY), number)]
    told.append(f"batch {number}: {oddities(batch, ordinary)}")
    return "; ".join(told)


def sound(
    model: nn.Module, setup: Setup, step: int, config: TrainConfig, notice: Callable[[str], None]
) -> bool:
    """Whether the weights are worth saving: a damaged checkpoint would be what a roll-back goes back to.

    Raises UsageError when the run ends with them.
    """
    with torch.no_grad():
        damaged = [name for name, weight in model.named_parameters() if not bool(weight.isfinite().all())]
    if setup.layout.total(float(len(damaged))) == 0:
        return True
    what = f"step {step}: {len(damaged)} weights are not finite, the first is {damaged[0] if damaged else 'on another process'}"
    if step == config.num_steps:
        raise UsageError("The training diverged.", what, DIVERGED)
    notice(f"{what}; not saved")
    return False


def _pieces(
    model: nn.Module, setup: Setup, config: TrainConfig, batch: Batch
) -> Iterator[Callable[[], Tensor]]:
    """The step's loss once more, eager, in pieces that fit the memory."""
    trained = int((batch.targets != IGNORE).sum())
    share = setup.layout.share(batch)
    rows = max(1, config.micro_tokens // share.inputs.shape[1])
    eager = dataclasses.replace(setup, compiled=[], recompute="none")
    for start in range(0, len(share.inputs), rows):
        yield partial(_loss, model, eager, share.rows(start, start + rows).to(setup.device), trained)


def _loss(model: nn.Module, setup: Setup, piece: Batch, trained: int) -> Tensor:
    with setup.installed(model), autocast(setup.precision, setup.device):
        loss = setup.objective(model, piece, trained)
    return loss if setup.scaler is None else loss * setup.scaler.scale


DIVERGED = "lower the learning rates; the same command goes on from the last checkpoint, which is from before this step"
