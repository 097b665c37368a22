"""Batches in, step records out: the training loop, whole on a screen.

    for record in train(model, batch_at, config, folder):
        ...                       # the caller evaluates, logs, shows progress; here is only the training

Interrupted at any moment, the same call goes on from folder/checkpoints and ends in the same bits.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import nn

from ownlm.errors import DataError, UsageError
from ownlm.records import StepRecord
from ownlm.train import objectives, optimizers, schedules
from ownlm.train.batches import Batch, BatchAt
from ownlm.train.compile import compiled
from ownlm.train.config import TrainConfig
from ownlm.train.precision import autocast
from ownlm.train.setup import Setup, prepare
from ownlm.train.state import restore, save


def to_stderr(text: str) -> None:
    sys.stderr.write(text + "\n")


def train(
    model: nn.Module,
    batch_at: BatchAt,
    config: TrainConfig,
    folder: Path,
    notice: Callable[[str], None] = to_stderr,
) -> Iterator[StepRecord]:
    """Train `model` (a Decoder) in place for config.num_steps steps; one record per step, after its save.

    `batch_at(step)` is pure and counts from 0. A resumed run yields the records from the resumed step on;
    folder/losses.jsonl always holds those of all finished steps. `notice` receives every decision and fallback.
    Raises DataError for a batch without a trained token, UsageError when the loss is no longer finite,
    ArtifactError when the checkpoints are of another run, MachineError when a checkpoint cannot be written.
    """
    setup = prepare(model, config, notice)
    adamw, muon = setup.optimizers
    step, history = restore(model, setup, config, folder, notice)
    saved = time.perf_counter()
    tokens = int(history.rows[-1][3]) if history.rows else 0
    try:
        while step < config.num_steps:
            began = time.perf_counter()
            batch = batch_at(step)
            rate = schedules.scale(config, step)
            loss = forward_backward(model, batch, setup, config)
            norm = optimizers.clip_gradients(model.parameters(), config.clip)
            if not (math.isfinite(loss) and math.isfinite(norm)):
                raise UsageError(
                    "The training diverged.",
                    f"step {step + 1}: loss {loss}, gradient norm {norm}",
                    "lower the learning rates; the last checkpoint is from before this step",
                )
            muon.step(config.learning_rate * rate)
            adamw.step(config.embedding_learning_rate * rate)
            for weight in model.parameters():
                weight.grad = None
            step += 1
            tokens += batch.inputs.numel()
            history.append(loss, norm, config.learning_rate * rate, tokens)
            seconds = time.perf_counter() - began
            due = config.checkpoint_steps is not None and step % config.checkpoint_steps == 0
            if due or step == config.num_steps or time.perf_counter() - saved >= config.checkpoint_seconds:
                save(model, setup, config, folder, step, history)
                saved = time.perf_counter()
            speed = batch.inputs.numel() / seconds
            mfu = speed * model.flops_per_token(batch.inputs.shape[1]) / setup.peak  # type: ignore[operator]
            yield StepRecord(step, config.num_steps, loss, tokens, config.learning_rate * rate, norm, seconds, speed, mfu)  # fmt: skip
    finally:
        history.close()


def forward_backward(model: nn.Module, batch: Batch, setup: Setup, config: TrainConfig) -> float:
    """Leave the gradient of the batch's mean loss in the weights' .grad; returns that loss in nats per token.

    The batch goes through in equal pieces of whole rows, at most micro_tokens each; a piece is weighted by its
    trained tokens, so the pieces' sum is the loss of the whole. Raises DataError when nothing is trained on.
    """
    trained = int((batch.targets != objectives.IGNORE).sum())
    if trained == 0:
        raise DataError(
            "A batch has no token to train on.",
            f"inputs of shape {tuple(batch.inputs.shape)}, every target ignored",
            "check the conversations: each needs an assistant's message",
        )
    B, T = batch.inputs.shape
    rows = max(1, min(B, config.micro_tokens // T))
    while B % rows:  # every piece of one shape: each other shape would be compiled again
        rows -= 1
    total = 0.0
    for inputs, targets in zip(
        torch.split(batch.inputs, rows), torch.split(batch.targets, rows), strict=True
    ):
        with compiled(model, setup.compiled), autocast(setup.precision, setup.device):
            hidden = model.hidden(inputs.to(setup.device)).flatten(0, 1)  # type: ignore[operator]  # [rows*T,D]
            loss = objectives.cross_entropy(
                hidden, setup.output_weight, targets.to(setup.device).flatten(), trained
            )
        torch.autograd.backward(loss)
        total += float(loss.detach())
    return total
