"""A run's whole state, out to a checkpoint and back in: what is saved here is what is restored here."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from ownlm.errors import ArtifactError, UsageError
from ownlm.model.adapters import hf
from ownlm.train import checkpoint, randomness
from ownlm.train.background import Copies, Writer
from ownlm.train.config import TrainConfig, differences
from ownlm.train.history import History
from ownlm.train.optimizers.optimizer import copy_all
from ownlm.train.parallel.layout import Alone
from ownlm.train.setup import Setup


class Keeper:
    """Saves and restores one run. A save in the background holds the state of the step that asked for it; `close`
    waits for what is still being written."""

    def __init__(self, model: nn.Module, setup: Setup, config: TrainConfig, folder: Path,
                 notice: Callable[[str], None]) -> None:  # fmt: skip
        self.model, self.setup, self.config, self.folder, self.notice = model, setup, config, folder, notice
        alone = (
            isinstance(setup.layout, Alone) and setup.layout.num_processes == 1
        )  # a sharded model of one process is still made of DTensors
        if config.background_saves and not alone:
            notice("checkpoints are written in the foreground: several processes write theirs together")
        self.writer = Writer(config.background_saves and alone)
        self.copies = Copies()

    def save(self, step: int, history: History) -> None:
        """Write folder/checkpoints/step-NNNNNN; reads the run, changes nothing in it.

        In the background it returns as soon as the state is copied, and raises what went wrong with the save before.
        """
        self.writer.wait()  # its copies are still being written
        model, optimizer = weights(self.model), self.setup.optimizer_state()
        if self.writer.in_background:
            both = {f"m.{name}": value for name, value in model.items()}
            both |= {f"o.{name}": value for name, value in optimizer.items()}
            copied = self.copies.take(both)
            model, optimizer = _under("m", copied), _under("o", copied)
        made = checkpoint.Checkpoint(
            step=step,
            config=self._settings(),
            model=model,
            optimizer=optimizer,
            run={name: value.clone() for name, value in self._run().items()} | {"history": history.tensor()},
            environment=self.setup.environment(),
            architecture=_architecture(self.model),
        )
        folder, keep, keep_every = self.folder / "checkpoints", self.config.keep_checkpoints, self.config.keep_every  # fmt: skip
        self.writer.start(lambda: self.setup.layout.write(folder, made, keep, keep_every))

    def close(self) -> None:
        """After this everything saved is durable. Raises what went wrong with the last save."""
        self.writer.wait()

    def restore(self) -> tuple[int, History]:
        """(finished steps, their history) after loading the newest whole checkpoint, or (0, empty).

        Waits for a save that is still being written. Raises ArtifactError when that checkpoint was made with other
        settings or another model.
        """
        self.writer.wait()
        found = self.setup.layout.newest(self.folder / "checkpoints", self.notice)
        if found is None:
            return 0, History(self.folder, writes=self.setup.layout.rank == 0)
        other, _ = differences(dict(found.config), self._settings())
        if other:
            raise ArtifactError(
                "The checkpoint was made with other settings.",
                "; ".join(other),
                f"use the settings it was made with, or remove {self.folder / 'checkpoints'} to start afresh",
            )
        with torch.no_grad():
            copy_all(weights(self.model), found.model)
        for group in self.setup.groups:
            group.optimizer.load(_under(group.name, found.optimizer))
        kept, here_now = found.run.keys() - {randomness.CUDA}, self._run().keys() - {randomness.CUDA}
        if kept != here_now | {"history"} or len(found.run["history"]) != found.step:
            raise ArtifactError(
                "The checkpoint is incomplete.",
                f"step {found.step}: the list of losses, the random state or a part of the run is missing",
                f"remove {self.folder / 'checkpoints'} to start afresh",
            )
        randomness.load(found.run, self.setup.device)
        for name, part in self.setup.parts.items():
            part.load(_under(name, found.run))
        self.notice(f"going on after step {found.step} of {self.config.num_steps}")
        here = self.setup.environment()
        moved = [f"{name} {found.environment.get(name)!r} -> {here[name]!r}" for name in here
                 if found.environment.get(name) != here[name]]  # fmt: skip
        if moved:
            self.notice("from here on the losses may differ in the last bits from an undisturbed run: " + ", ".join(moved))  # fmt: skip
        return found.step, History(self.folder, found.run["history"], self.setup.layout.rank == 0)

    def _run(self) -> dict[str, Tensor]:
        parts = {f"{name}.{key}": value for name, part in self.setup.parts.items() for key, value in part.state().items()}  # fmt: skip
        return parts | randomness.state(self.setup.device)

    def _settings(self) -> dict[str, object]:
        return dataclasses.asdict(self.config) | {"objective": repr(self.setup.objective)}


def weights(model: nn.Module) -> dict[str, Tensor]:
    """The live tensors that make a model what it is: parameters, shared ones once, and stored buffers (a router's
    bias changes in training without being a parameter)."""
    stored = model.state_dict(keep_vars=True)
    buffers = {name: value for name, value in model.named_buffers() if name in stored}
    return {**dict(model.named_parameters()), **buffers}


def _architecture(model: nn.Module) -> dict[str, object]:
    """config.json of the model, with which an averaged checkpoint becomes a model folder; empty where it has none."""
    config = getattr(model, "config", None)
    try:
        return dict(hf.family_of(config).write(config))
    except UsageError:
        return {}


def _under(name: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Those of one group or part, without its name."""
    return {key[len(name) + 1 :]: value for key, value in tensors.items() if key.startswith(name + ".")}
