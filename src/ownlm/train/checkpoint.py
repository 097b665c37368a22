"""Checkpoints that are whole or not there: hashed, renamed into place, refused and passed over when damaged.

    checkpoints/step-000100.partial/   while it is written: every file synced, checkpoint.json last
    checkpoints/step-000100/           finished; the newest are kept
        model.safetensors              weights
        optimizer.safetensors          moments and counters
        run.safetensors                history [steps, 4] float64, state of torch's generator
        checkpoint.json                step, config, environment, SHA-256 of the three

A kill at any moment leaves the old checkpoint or the new one. Nothing in it is code: safetensors and JSON.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors
from safetensors.torch import load_file, save
from torch import Tensor

from ownlm.errors import ArtifactError, DigestMismatch, MachineError
from ownlm.runtime import files

TENSOR_FILES = ("model.safetensors", "optimizer.safetensors", "run.safetensors")
MANIFEST = "checkpoint.json"
_KEEP = 2
_NAME = re.compile(r"step-(\d{6,})")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Everything that decides how a run goes on."""

    step: int  # finished optimizer steps
    config: Mapping[str, Any]  # TrainConfig as a dict
    model: Mapping[str, Tensor]
    optimizer: Mapping[str, Tensor]
    run: Mapping[str, Tensor]
    environment: Mapping[str, Any] = field(
        default_factory=dict
    )  # what rounds: torch, processor, precision ...


def write(folder: Path, checkpoint: Checkpoint, keep: int = _KEEP, keep_every: int | None = None) -> Path:
    """Save under `folder`; on return it is durable and older ones than the newest `keep` are gone, except those of
    steps divisible by `keep_every`.

    Raises MachineError when the disk refuses; the checkpoints that were there are untouched then.
    """
    final = folder / f"step-{checkpoint.step:06d}"
    partial = final.with_name(final.name + ".partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        digests = {}
        for name, tensors in zip(TENSOR_FILES, (checkpoint.model, checkpoint.optimizer, checkpoint.run), strict=True):  # fmt: skip
            files.write_atomic(
                partial / name, save({key: value.contiguous() for key, value in tensors.items()})
            )
            digests[name] = files.sha256_file(partial / name)
        facts = {"format": 1, "step": checkpoint.step, "config": dict(checkpoint.config),
                 "environment": dict(checkpoint.environment), "files": digests}  # fmt: skip
        files.write_atomic(partial / MANIFEST, _canonical(facts))
        shutil.rmtree(final, ignore_errors=True)  # there only when it was refused as damaged
        os.rename(partial, final)
        files.fsync_dir(folder)
        _prune(folder, checkpoint.step, keep, keep_every)
    except (OSError, MachineError) as error:
        shutil.rmtree(partial, ignore_errors=True)  # on a full disk the half of it is in the way
        raise (
            error if isinstance(error, MachineError) else files.machine_error(error, f"saving {final}")
        ) from error
    return final


def newest(folder: Path, notice: Callable[[str], None]) -> Checkpoint | None:
    """The newest whole checkpoint, or None. Every one passed over is told through `notice`."""
    for path in (found := list(_newest_first(folder))):
        try:
            return read(path)
        except ArtifactError as error:
            notice(f"{path.name} is refused, trying the one before it: {error.what} {error.values}")
    if found:
        notice("no whole checkpoint is left: the run begins again at step 1")
    return None


def read(path: Path) -> Checkpoint:
    """Raises ArtifactError (DigestMismatch for a changed byte) naming the file that is wrong."""
    facts = _read_manifest(path)
    loaded = []
    for name in TENSOR_FILES:
        file = path / name
        if not file.is_file():
            raise ArtifactError("A file of the checkpoint is missing.", str(file), _FIX)
        if files.sha256_file(file) != facts["files"].get(name):
            raise DigestMismatch("A file of the checkpoint is damaged.", f"{file}: its SHA-256 differs", _FIX)
        try:
            loaded.append(load_file(file))
        except safetensors.SafetensorError as error:
            raise ArtifactError("A file of the checkpoint is damaged.", f"{file}: {error}", _FIX) from error
    return Checkpoint(facts["step"], facts["config"], loaded[0], loaded[1], loaded[2], facts["environment"])


def _read_manifest(path: Path) -> dict[str, Any]:
    file = path / MANIFEST
    try:
        text = file.read_bytes()
        facts: dict[str, Any] = json.loads(text)
        if text != _canonical({k: v for k, v in facts.items() if k != "digest"}).encode():
            raise ValueError("it does not match its own digest")
        if facts["format"] != 1 or path.name != f"step-{facts['step']:06d}":
            raise ValueError(f"it is of format {facts['format']}, step {facts['step']}")
    except (OSError, ValueError, AttributeError, KeyError, TypeError, RecursionError) as error:
        raise DigestMismatch(
            "The checkpoint's list of files is damaged.", f"{file}: {error}", _FIX
        ) from error
    return facts


def _canonical(facts: Mapping[str, Any]) -> str:
    """The only text that is accepted for these facts: sorted keys, their digest inside."""
    return json.dumps({**facts, "digest": files.sha256_json(facts)}, indent=1, sort_keys=True) + "\n"


def _newest_first(folder: Path) -> Iterator[Path]:
    found = []
    if folder.is_dir():
        for path in folder.iterdir():
            if (match := _NAME.fullmatch(path.name)) and path.is_dir():
                found.append((int(match[1]), path))
    for _, path in sorted(found, reverse=True):
        yield path


def _prune(folder: Path, step: int, keep: int, keep_every: int | None) -> None:
    """Keep this checkpoint and those before it that were asked for. A later one can only be one that was refused."""
    kept = 0
    for path in _newest_first(folder):
        number = int(path.name[5:])
        if number <= step and kept < keep:
            kept += 1
        elif number > step or keep_every is None or number % keep_every:
            shutil.rmtree(path, ignore_errors=True)
    for path in folder.glob("step-*.partial"):
        shutil.rmtree(path, ignore_errors=True)


_FIX = (
    "run the same command again: it goes on from the checkpoint before; remove this folder if it bothers you"
)
