"""Weights & Biases. Offline unless WANDB_MODE says otherwise: nothing leaves the machine unasked."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ownlm.errors import MissingDependency


class WeightsAndBiases:
    """Writes folder/wandb; `wandb sync` sends an offline run later. A resumed run keeps its id.

    The project is WANDB_PROJECT, or "ownlm". W&B refuses a step that comes again, so the step is a value of its own
    and the axis of all others; a chart shows what was rolled back beside what replaced it.
    """

    def __init__(self, folder: Path, run_id: str, name: str) -> None:
        try:
            import wandb  # type: ignore[import-not-found, unused-ignore]
        except ImportError as error:
            raise MissingDependency("Weights & Biases is not installed.", str(error), "pip install 'ownlm[wandb]'") from error  # fmt: skip
        self._wandb, self._folder, self._id, self._name = wandb, folder, run_id, name
        self._run: Any = None

    def start(self, config: Mapping[str, Any]) -> None:
        (self._folder / "wandb").mkdir(parents=True, exist_ok=True)  # else W&B chooses another place
        self._run = self._wandb.init(
            project=os.environ.get("WANDB_PROJECT", "ownlm"), id=self._id, name=self._name, resume="allow",
            dir=str(self._folder), config=dict(config), mode=os.environ.get("WANDB_MODE", "offline"),
            settings=self._wandb.Settings(silent=True, disable_git=True, save_code=False, console="off"),
        )  # fmt: skip
        self._run.define_metric("step")
        self._run.define_metric("*", step_metric="step")

    def log(self, step: int, values: Mapping[str, float]) -> None:
        self._run.log({"step": step, **values})

    def finish(self, status: str) -> None:
        self._run.finish(exit_code=0 if status == "finished" else 1)
