"""Where a run is shown besides its own folder: one small face, three adapters, chosen by name."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from ownlm.errors import UsageError

NAMES = {
    "tensorboard": ("ownlm.train.adapters.tensorboard", "TensorBoard"),
    "wandb": ("ownlm.train.adapters.wandb", "WeightsAndBiases"),
    "mlflow": ("ownlm.train.adapters.mlflow", "MLflow"),
}


class Tracker(Protocol):
    """What every adapter can do. Values are finite or not; steps may come twice after a resume or roll-back."""

    def start(self, config: Mapping[str, Any]) -> None:
        """`config`: dotted key -> JSON value."""
        ...

    def log(self, step: int, values: Mapping[str, float]) -> None: ...

    def finish(self, status: str) -> None:
        """finished, failed or interrupted."""
        ...


def make(names: Sequence[str], folder: Path, run_id: str, name: str) -> dict[str, Tracker]:
    """Raises UsageError for an unknown name, MissingDependency for a package that is not installed."""
    unknown = [each for each in names if each not in NAMES]
    if unknown:
        raise UsageError("There is no such tracker.", ", ".join(unknown), f"known: {', '.join(NAMES)}")
    made: dict[str, Tracker] = {}
    for each in dict.fromkeys(names):
        module, kind = NAMES[each]
        made[each] = getattr(importlib.import_module(module), kind)(folder, run_id, name)
    return made
