"""A run's whole state, out to a checkpoint and back in: what is saved here is what is restored here."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from ownlm.errors import ArtifactError
from ownlm.train import checkpoint
from ownlm.train.config import TrainConfig, differences
from ownlm.train.history import History
from ownlm.train.optimizers import copy_all
from ownlm.train.setup import Setup


def save(
    model: nn.Module, setup: Setup, config: TrainConfig, folder: Path, step: int, history: History
) -> None:
    """Write folder/checkpoints/step-NNNNNN; reads the run, changes nothing in it."""
    adamw, muon = setup.optimizers
    checkpoint.write(
        folder / "checkpoints",
        checkpoint.Checkpoint(
            step=step,
            config=dataclasses.asdict(config),
            model=dict(model.named_parameters()),
            optimizer=adamw.state() | muon.state(),
            run={"history": history.tensor(), "torch_rng": torch.get_rng_state()},
            environment=setup.environment(),
        ),
    )


def restore(
    model: nn.Module, setup: Setup, config: TrainConfig, folder: Path, notice: Callable[[str], None]
) -> tuple[int, History]:
    """(finished steps, their history) after loading the newest whole checkpoint, or (0, empty).

    Raises ArtifactError when that checkpoint was made with other settings or another model.
    """
    found = checkpoint.newest(folder / "checkpoints", notice)
    if found is None:
        return 0, History(folder)
    other, _ = differences(dict(found.config), dataclasses.asdict(config))
    if other:
        raise ArtifactError(
            "The checkpoint was made with other settings.",
            "; ".join(other),
            f"use the settings it was made with, or remove {folder / 'checkpoints'} to start afresh",
        )
    adamw, muon = setup.optimizers
    with torch.no_grad():
        copy_all(dict(model.named_parameters()), found.model)
    adamw.load({name: value for name, value in found.optimizer.items() if name.startswith("adamw.")})
    muon.load({name: value for name, value in found.optimizer.items() if not name.startswith("adamw.")})
    if found.run.keys() != {"history", "torch_rng"} or len(found.run["history"]) != found.step:
        raise ArtifactError(
            "The checkpoint is incomplete.",
            f"step {found.step}: the list of losses or the random state is missing",
            f"remove {folder / 'checkpoints'} to start afresh",
        )
    torch.set_rng_state(found.run["torch_rng"])
    notice(f"going on after step {found.step} of {config.num_steps}")
    here = setup.environment()
    moved = [f"{name} {found.environment.get(name)!r} -> {here[name]!r}" for name in here
             if found.environment.get(name) != here[name]]  # fmt: skip
    if moved:
        notice(
            "from here on the losses may differ in the last bits from an undisturbed run: " + ", ".join(moved)
        )
    return found.step, History(folder, found.run["history"])
