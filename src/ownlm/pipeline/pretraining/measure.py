"""Held-out loss of any objective, the samples of a causal model, and how long a step takes here."""

from __future__ import annotations

import copy
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from ownlm.train import loop
from ownlm.train.batches import BatchAt
from ownlm.train.config import TrainConfig
from ownlm.train.objectives.causal import Objective
from ownlm.train.objectives.cross_entropy import IGNORE
from ownlm.train.parallel.layout import Layout
from ownlm.train.precision import autocast, resolve

CALIBRATION_STEPS = 6


@torch.no_grad()
def heldout_loss(
    model: Any, batch_at: BatchAt, num_batches: int, objective: Objective, config: TrainConfig, layout: Layout
) -> float:
    """Mean over the first batches of held-out text, always the same ones, of their loss per trained token. Every process
    of the layout takes its share."""
    device = next(model.parameters()).device
    precision, _ = resolve(config.precision, device, config.weights)
    total, used = 0.0, 0
    for number in range(num_batches):
        batch = batch_at(number)
        trained = int((batch.targets != IGNORE).sum())
        if not trained:
            continue
        used += 1
        share = layout.share(batch)
        rows = max(1, config.micro_tokens // share.inputs.shape[1])
        for start in range(0, len(share.inputs), rows):
            with autocast(precision, device):
                total += float(objective(model, share.rows(start, start + rows).to(device), trained))
    return layout.total(total) / max(1, used)


def step_seconds(
    model: Any, batch_at: BatchAt, config: TrainConfig, objective: Objective, notice: Callable[[str], None]
) -> float:
    """Median seconds of a step of this very run: a few are made and taken back. Compiles what the run will use."""
    before = copy.deepcopy(model.state_dict())
    trial = replace(config, num_steps=CALIBRATION_STEPS, checkpoint_seconds=1e9, warmup_steps=0,
                    on_spike="ignore", background_saves=False)  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        times, began = [], time.perf_counter()
        for record in loop.train(model, batch_at, trial, Path(folder), lambda text: None, objective):
            times.append(record.seconds)
    model.load_state_dict(before)
    middle = statistics.median(times[2:])
    notice(
        f"a step takes {middle:.3f} s here (measured; {time.perf_counter() - began:.0f} s with compilation)"
    )
    return middle


@torch.no_grad()
def sample(
    model: Any, start: list[int], num_tokens: int, temperature: float = 0.8, seed: int = 0
) -> list[int]:
    """Ids that a causal model goes on with, `start` left out; ends where the model's positions end."""
    random, device = torch.Generator().manual_seed(seed), next(model.parameters()).device
    cache, pending, found = model.new_cache(), list(start), []
    for _ in range(min(num_tokens, model.architecture.max_positions - len(start))):
        logits = model(torch.tensor([pending], device=device), cache)[0, -1].float().cpu() / temperature
        pending = [int(torch.multinomial(logits.softmax(-1), 1, generator=random))]
        found += pending
    return found
