"""Runs to read: a log fed with made-up steps."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from ownlm.records import StepRecord
from ownlm.train.config import TrainConfig
from ownlm.train.tracking.log import RunLog


def loss_at(step: int) -> float:
    return 1.5 + 3 * math.exp(-step / 40)


def record(step: int, num_steps: int = 100, **changes: Any) -> StepRecord:
    facts: dict[str, Any] = {
        "step": step, "num_steps": num_steps, "loss": loss_at(step), "tokens": 128 * step, "learning_rate": 0.02,
        "grad_norm": 0.5, "seconds": 0.1, "tokens_per_second": 1280.0, "mfu": 0.7, "event": "",
    }  # fmt: skip
    return StepRecord(**(facts | changes))


def settings(num_steps: int = 100, **changes: Any) -> TrainConfig:
    return TrainConfig(num_steps=num_steps, **changes)


def write(folder: Path, steps: int = 10, num_steps: int = 100, shift: float = 0.0, **options: Any) -> Path:
    """A whole run of `steps` steps, finished."""
    config = options.pop("config", settings(num_steps))
    with RunLog(folder, config, workplace=folder.parent, **options) as log:
        for step in range(1, steps + 1):
            log.step(record(step, num_steps, loss=loss_at(step) + shift))
    return folder
