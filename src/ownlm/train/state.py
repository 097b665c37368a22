"""A run's whole state, out to a checkpoint and back in: what is saved here is what is restored here."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from ownlm.errors import ArtifactError
from ownlm.train import checkpoint
from ownlm.train.config import TrainConfig, differences
from ownlm.train.history import History
from ownlm.train.optimizers.optimizer import copy_all
from ownlm.train.setup import Setup


class Keeper:
    """Saves and restores one run. `close` waits for what is still being written."""

    def __init__(self, model: nn.Module, setup: Setup, config: TrainConfig, folder: Path,
                 notice: Callable[[str], None]) -> None:  # fmt: skip
        self.model, self.setup, self.config, self.folder, self.notice = model, setup, config, folder, notice

    def save(self, step: int, history: History) -> None:
        """Write folder/checkpoints/step-NNNNNN; reads the run, changes nothing in it."""
        made = checkpoint.Checkpoint(
            step=step,
            config=self._settings(),
            model=dict(self.model.named_parameters()),
            optimizer=self.setup.optimizer_state(),
            run=self._run() | {"history": history.tensor()},
            environment=self.setup.environment(),
        )
        self.setup.layout.write(
            self.folder / "checkpoints", made, self.config.keep_checkpoints, self.config.keep_every
        )

    def close(self) -> None:
        """After this everything saved is durable."""

    def restore(self) -> tuple[int, History]:
        """(finished steps, their history) after loading the newest whole checkpoint, or (0, empty).

        Raises ArtifactError when that checkpoint was made with other settings or another model.
        """
        found = self.setup.layout.newest(self.folder / "checkpoints", self.notice)
        if found is None:
            return 0, History(self.folder)
        other, _ = differences(dict(found.config), self._settings())
        if other:
            raise ArtifactError(
                "The checkpoint was made with other settings.",
                "; ".join(other),
                f"use the settings it was made with, or remove {self.folder / 'checkpoints'} to start afresh",
            )
        with torch.no_grad():
            copy_all(dict(self.model.named_parameters()), found.model)
        for group in self.setup.groups:
            group.optimizer.load(_under(group.name, found.optimizer))
        if found.run.keys() != self._run().keys() | {"history"} or len(found.run["history"]) != found.step:
            raise ArtifactError(
                "The checkpoint is incomplete.",
                f"step {found.step}: the list of losses, the random state or a part of the run is missing",
                f"remove {self.folder / 'checkpoints'} to start afresh",
            )
        torch.set_rng_state(found.run["torch_rng"])
        for name, part in self.setup.parts.items():
            part.load(_under(name, found.run))
        self.notice(f"going on after step {found.step} of {self.config.num_steps}")
        here = self.setup.environment()
        moved = [f"{name} {found.environment.get(name)!r} -> {here[name]!r}" for name in here
                 if found.environment.get(name) != here[name]]  # fmt: skip
        if moved:
            self.notice("from here on the losses may differ in the last bits from an undisturbed run: " + ", ".join(moved))  # fmt: skip
        return found.step, History(self.folder, found.run["history"])

    def _run(self) -> dict[str, Tensor]:
        parts = {f"{name}.{key}": value for name, part in self.setup.parts.items() for key, value in part.state().items()}  # fmt: skip
        return parts | {"torch_rng": torch.get_rng_state()}

    def _settings(self) -> dict[str, object]:
        return dataclasses.asdict(self.config) | {"objective": repr(self.setup.objective)}


def _under(name: str, tensors: object) -> dict[str, Tensor]:
    """Those of one group or part, without its name."""
    return {key[len(name) + 1 :]: value for key, value in tensors.items() if key.startswith(name + ".")}  # type: ignore[attr-defined]
