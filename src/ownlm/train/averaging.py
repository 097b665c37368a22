"""One model from several checkpoints of a run: the mean of their weights, or an exponential mean over them.

    mean           w = (w_1 + ... + w_N) / N
    exponential    w = w_1; then w = decay w + (1 - decay) w_i for i = 2 .. N, oldest first

Late checkpoints lie around a minimum that none of them hits; their mean is nearer to it ("Averaging Weights Leads to
Wider Optima and Better Generalization", Izmailov et al. 2018; of checkpoints as such: "Attention Is All You Need",
section 6.1, which takes the last 5 or 20). Sums are float64. Buffers that are no floats are taken from the newest.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from ownlm.errors import ArtifactError, UsageError
from ownlm.model.adapters import hf
from ownlm.train import checkpoint, pieces
from ownlm.train.optimizers.optimizer import copy_all
from ownlm.train.state import weights


def averaged(paths: Sequence[Path], decay: float | None = None) -> Iterator[tuple[str, Tensor]]:
    """(name, averaged tensor) of every weight, in the checkpoints' dtypes; `paths` oldest first, each verified first.

    In memory: one tensor in float64 and one as stored. `decay` None: the plain mean. Raises UsageError for no
    checkpoint or a decay outside [0, 1), ArtifactError when one is damaged or they are of different models.
    """
    if not paths or (decay is not None and not 0 <= decay < 1):
        raise UsageError(
            "These checkpoints cannot be averaged.",
            f"{len(paths)} checkpoints, decay {decay}",
            "give one checkpoint or more, and a decay of at least 0 and below 1",
        )
    with ExitStack() as stack:
        places = [_places(path, stack) for path in paths]
        for path, place in zip(paths, places, strict=True):
            if place.keys() != places[-1].keys():
                odd = sorted(place.keys() ^ places[-1].keys())[0]
                raise ArtifactError("The checkpoints are of different models.", f"{path}: {odd}", _FIX)
        for name in sorted(places[-1]):
            yield name, _mean(name, [place[name] for place in places], decay)


def into_model(paths: Sequence[Path], decay: float | None = None) -> Any:
    """The averaged model, of the class and shape that the newest checkpoint says it is; float32, on the CPU.

    Raises ArtifactError when the checkpoint knows no architecture (it has no Hugging Face form), else as `averaged`.
    """
    stream = averaged(paths, decay)
    first = next(stream)  # refuses what cannot be averaged before a model is built
    architecture = checkpoint.read_manifest(paths[-1]).get("architecture")
    if not architecture:
        raise ArtifactError(
            "The checkpoint does not say of which architecture it is.",
            str(paths[-1]),
            "build the model yourself and fill it with ownlm.train.averaging.averaged",
        )
    family, config = hf.read_config(architecture, str(paths[-1] / checkpoint.MANIFEST))
    model = family.build(config)
    live = weights(model)
    for name, value in chain([first], stream):
        if name not in live:
            raise ArtifactError("The checkpoint belongs to another model.", f"{paths[-1]}: {name}", _FIX)
        copy_all({name: live.pop(name)}, {name: value})
    if live:
        raise ArtifactError("The checkpoint lacks a weight.", f"{paths[-1]}: {sorted(live)[0]}", _FIX)
    return model


@dataclass(frozen=True, slots=True)
class Place:
    """Where one tensor of a checkpoint lies: in one open file, or in pieces in several."""

    path: Path
    parts: dict[str, Any]  # key in its file -> the open file

    def read(self, name: str) -> Tensor:
        return pieces.join({key: file.get_tensor(key) for key, file in self.parts.items()}, self.path)[name]


def _places(path: Path, stack: ExitStack) -> dict[str, Place]:
    """Tensor name -> where it lies."""
    found: dict[str, Place] = {}
    for file in checkpoint.tensor_files(path, "model.safetensors"):
        opened = stack.enter_context(safe_open(file, framework="pt"))
        for key in opened.keys():  # noqa: SIM118 - a method, not a dict's
            found.setdefault(pieces.parse(key)[0], Place(path, {})).parts[key] = opened
    return found


def _mean(name: str, places: Sequence[Place], decay: float | None) -> Tensor:
    newest = places[-1].read(name)
    if not newest.is_floating_point():
        return newest
    total = torch.zeros(newest.shape, dtype=torch.float64)
    for number, place in enumerate(places):
        value = place.read(name)
        if value.shape != newest.shape or value.dtype != newest.dtype:
            values = f"{name}: {tuple(value.shape)} {value.dtype} and {tuple(newest.shape)} {newest.dtype}"
            raise ArtifactError("The checkpoints are of different models.", values, _FIX)
        if decay is None or number == 0:
            total += value
        else:
            total.lerp_(value.to(torch.float64), 1 - decay)
    return (total / (len(places) if decay is None else 1)).to(newest.dtype)


_FIX = "average checkpoints of one run"
