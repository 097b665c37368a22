"""Batches in, step records out: the training loop, whole on a screen.

    for record in train(model, batch_at, config, folder):
        ...                       # the caller evaluates, logs, shows progress; here is only the training

Interrupted at any moment, the same call goes on from folder/checkpoints and ends in the same bits.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import nn

from ownlm.errors import DataError, UsageError
from ownlm.records import StepRecord
from ownlm.train import schedules
from ownlm.train.batches import Batch, BatchAt
from ownlm.train.config import TrainConfig
from ownlm.train.health import diagnosis, gradients
from ownlm.train.health.spikes import Verdict
from ownlm.train.health.steplog import StepLog
from ownlm.train.objectives.causal import Objective
from ownlm.train.objectives.cross_entropy import IGNORE
from ownlm.train.optimizers.clip import clip_gradients
from ownlm.train.parallel.layout import Layout
from ownlm.train.precision import autocast
from ownlm.train.setup import Setup, prepare
from ownlm.train.state import Keeper


def to_stderr(text: str) -> None:
    sys.stderr.write(text + "\n")


def train(
    model: nn.Module,
    batch_at: BatchAt,
    config: TrainConfig,
    folder: Path,
    notice: Callable[[str], None] = to_stderr,
    objective: Objective | None = None,
    layout: Layout | None = None,
) -> Iterator[StepRecord]:
    """Train `model` (a Decoder) in place for config.num_steps steps; one record per step, after its save.

    `batch_at(number)` is pure and counts from 0; objective None: next-token prediction; layout None: one process.
    A resumed run yields the records from the resumed step on; folder/losses.jsonl always holds those of all
    finished steps. `notice` receives every decision and fallback.
    Raises DataError for a batch without a trained token, UsageError when the training diverges for good,
    ArtifactError when the checkpoints are of another run, MachineError when a checkpoint cannot be written.
    """
    setup = prepare(model, config, notice, objective, layout)
    keeper = Keeper(model, setup, config, folder, notice)
    step, history = keeper.restore()
    if step == 0 and config.on_spike == "recover":
        keeper.save(0, history)  # what a roll-back before the first checkpoint goes back to
    logs = StepLog(folder / gradients.FILE), StepLog(folder / "float8.jsonl")
    saved = time.perf_counter()
    try:
        while step < config.num_steps:
            began = time.perf_counter()
            batch = batch_at(number := setup.guard.position(step))
            rate = schedules.scale(config, step) * setup.guard.factor
            loss = forward_backward(model, batch, setup, config)
            if config.gradient_steps is not None and (step + 1) % config.gradient_steps == 0:
                diagnosis.observe(model, setup, step + 1, logs)
            norm = clip_gradients(model.parameters(), config.clip, config.clip_value, setup.layout.norm)
            verdict = judge(setup, step, loss, norm)
            if verdict.action == "train":
                setup.update(rate)
            for weight in model.parameters():
                weight.grad = None
            if verdict.action in ("pass over", "roll back", "stop"):
                odd = diagnosis.explain(model, setup, config, batch_at, number, loss, norm)
                told = f"step {step + 1}: {verdict.why}; {odd}"
                if verdict.action == "stop":
                    raise UsageError("The training diverged.", told, diagnosis.DIVERGED)
                notice(told)
                if verdict.action == "roll back":
                    history.close()
                    step, history = keeper.restore()
                continue
            step += 1
            rate *= setup.groups[0].learning_rate
            tokens = history.append(loss, norm, rate, batch.inputs.numel())
            seconds = time.perf_counter() - began
            due = config.checkpoint_steps is not None and step % config.checkpoint_steps == 0
            late = time.perf_counter() - saved >= config.checkpoint_seconds
            if due or step == config.num_steps or setup.layout.total(late) > 0:  # no clock is like another
                if diagnosis.sound(model, setup, step, config, notice):
                    keeper.save(step, history)
                saved = time.perf_counter()
            speed = batch.inputs.numel() / seconds
            operations = speed * model.flops_per_token(batch.inputs.shape[1])  # type: ignore[operator]
            mfu = operations / (setup.peak * setup.layout.num_processes)
            yield StepRecord(
                step, config.num_steps, loss, tokens, rate, norm, seconds, speed, mfu, verdict.why
            )
    finally:
        history.close()
        keeper.close()


def judge(setup: Setup, step: int, loss: float, norm: float) -> Verdict:
    """Whether this step's gradients may change the weights."""
    if setup.scaler is not None and setup.scaler.overflowed(norm):
        return Verdict("skip", f"overflow: the loss is scaled by {setup.scaler.scale:g} from here on")
    return setup.guard.judge(step, loss, norm)


def forward_backward(model: nn.Module, batch: Batch, setup: Setup, config: TrainConfig) -> float:
    """Leave the gradient of the batch's mean loss in the weights' .grad; returns that loss in nats per token.

    This process's share of the batch goes through in equal pieces of whole rows, at most micro_tokens each; a piece
    is weighted by its trained tokens, so the pieces' sum is the loss of the whole. Raises DataError when nothing is
    trained on.
    """
    trained = int((batch.targets != IGNORE).sum())
    if trained == 0:
        raise DataError(
            "A batch has no token to train on.",
            f"inputs of shape {tuple(batch.inputs.shape)}, every target ignored",
            "check the conversations: each needs an assistant's message",
        )
    if setup.layout.pipeline is not None:
        return setup.layout.pipeline(model, batch, trained, setup, config)
    share = setup.layout.share(batch)
    B, T = share.inputs.shape
    rows = max(1, min(B, config.micro_tokens // T))
    while B % rows:  # every piece of one shape: each other shape would be compiled again
        rows -= 1
    if setup.float8 is not None:
        setup.float8.forget_step()
    total = 0.0
    for start in range(0, B, rows):
        piece = share.rows(start, start + rows).to(setup.device)
        with setup.installed(model):
            with autocast(setup.precision, setup.device):
                loss = setup.objective(model, piece, trained)
            torch.autograd.backward(loss if setup.scaler is None else loss * setup.scaler.scale)
        total += float(loss.detach())
    setup.layout.after_backward(model)
    if setup.scaler is not None:
        setup.scaler.unscale(model.parameters())
    return setup.layout.total(total)
