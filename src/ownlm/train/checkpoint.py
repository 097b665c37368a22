"""Checkpoints that are whole or not there: hashed, renamed into place, refused and passed over when damaged.

    checkpoints/step-000100.partial/   while it is written: every file synced, checkpoint.json last
    checkpoints/step-000100/           finished; the newest are kept
        model.safetensors              weights
        optimizer.safetensors          moments and counters
        run.safetensors                history [steps, 4] float64, random generators, loss scaler, spike guard ...
        checkpoint.json                step, config, architecture, environment, SHA-256 of every other file

Above MAX_SHARD_BYTES one of the three becomes several (model-00001-of-00003.safetensors ...). A kill at any moment
leaves the old checkpoint or the new one: only the rename makes it one. A folder loses its name before its files are
removed, so what bears a checkpoint's name is whole unless the disk itself damaged it; then it is refused by its
hashes. Nothing in it is code: safetensors and JSON.
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
from safetensors.torch import load_file
from torch import Tensor

from ownlm.errors import ArtifactError, DigestMismatch, MachineError
from ownlm.runtime import files
from ownlm.train import pieces, tensorfile

TENSOR_FILES = ("model.safetensors", "optimizer.safetensors", "run.safetensors")
MANIFEST = "checkpoint.json"
MAX_SHARD_BYTES = 5 * 10**9  # some file systems and uploads end at 5 GB a file
_KEEP = 2
_NAME = re.compile(r"step-(\d{6,})")
_FILE = re.compile(r"(model|optimizer|run)(?:-\d{5}-of-\d{5})?(\.safetensors)")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Everything that decides how a run goes on."""

    step: int  # finished optimizer steps
    config: Mapping[str, Any]  # TrainConfig as a dict
    model: Mapping[str, Tensor]  # weights and stored buffers
    optimizer: Mapping[str, Tensor]
    run: Mapping[str, Tensor]
    environment: Mapping[str, Any] = field(default_factory=dict)
    """What rounds: torch, processor, precision ..."""
    architecture: Mapping[str, Any] = field(default_factory=dict)
    """config.json of the model as a Hugging Face folder; empty where it has no such form."""


def write(folder: Path, checkpoint: Checkpoint, keep: int = _KEEP, keep_every: int | None = None) -> Path:
    """Save under `folder`; on return it is durable and older ones than the newest `keep` are gone, except those of
    steps divisible by `keep_every`.

    Raises MachineError when the disk refuses; the checkpoints that were there are untouched then.
    """
    final = folder / f"step-{checkpoint.step:06d}"
    partial = final.with_name(final.name + ".partial")
    try:
        begin(partial)
        digests = {}
        for name, tensors in zip(TENSOR_FILES, (checkpoint.model, checkpoint.optimizer, checkpoint.run), strict=True):  # fmt: skip
            stem = name.removesuffix(".safetensors")
            for file, shard in tensorfile.shards(stem, tensors, MAX_SHARD_BYTES):
                digests[file] = tensorfile.write(partial / file, shard)
        finish(partial, final, checkpoint, digests)
        prune(folder, checkpoint.step, keep, keep_every)
    except (OSError, MachineError) as error:
        shutil.rmtree(partial, ignore_errors=True)  # on a full disk the half of it is in the way
        raise (
            error if isinstance(error, MachineError) else files.machine_error(error, f"saving {final}")
        ) from error
    return final


def begin(partial: Path) -> None:
    """An empty folder for the files of a checkpoint to come."""
    if not partial.parent.is_dir():
        partial.parent.mkdir(parents=True)
        files.fsync_dir(partial.parent.parent)
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()


def finish(partial: Path, final: Path, checkpoint: Checkpoint, digests: Mapping[str, str]) -> None:
    """Write the manifest and give the folder its name: from here on the checkpoint exists. digests: file name to
    SHA-256, of files that are on the disk already."""
    facts = {"format": 1, "step": checkpoint.step, "config": dict(checkpoint.config),
             "architecture": dict(checkpoint.architecture), "environment": dict(checkpoint.environment),
             "files": dict(digests)}  # fmt: skip
    files.write_atomic(partial / MANIFEST, _canonical(facts))
    if final.exists():  # only when it was refused as damaged
        os.rename(final, final.with_name(final.name + ".refused.partial"))
    os.rename(partial, final)
    files.fsync_dir(final.parent)


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
    facts = read_manifest(path)
    groups: dict[str, dict[str, Tensor]] = {name: {} for name in TENSOR_FILES}
    for file, digest in _listed(path, facts):
        _check(path / file, digest)
        try:
            groups[_group(file)] |= load_file(path / file)
        except safetensors.SafetensorError as error:
            raise ArtifactError("A file of the checkpoint is damaged.", f"{path / file}: {error}", _FIX) from error  # fmt: skip
    model, optimizer, run = (pieces.join(group, path) for group in groups.values())
    return Checkpoint(facts["step"], facts["config"], model, optimizer, run,
                      facts["environment"], facts.get("architecture", {}))  # fmt: skip


def tensor_files(path: Path, group: str) -> list[Path]:
    """The files of `group`, one of TENSOR_FILES, each checked against its hash; for reading tensor by tensor.

    Raises ArtifactError as `read` does.
    """
    found = []
    for file, digest in _listed(path, read_manifest(path)):
        if _group(file) == group:
            _check(path / file, digest)
            found.append(path / file)
    return found


def problems(path: Path) -> list[str]:
    """Every hash of one checkpoint; one sentence per file that is wrong, empty when it is whole."""
    try:
        listed = _listed(path, read_manifest(path))
    except ArtifactError as error:
        return [f"{error.what} {error.values}"]
    found = damaged(path)
    unknown = {entry.name for entry in path.iterdir()} - {file for file, _ in listed} - {MANIFEST}
    return found + [f"A file is not listed in the manifest. {path / name}" for name in sorted(unknown)]


def damaged(path: Path, first: int = 0, stride: int = 1) -> list[str]:
    """One sentence per file that differs from its hash; of the list's files first, first + stride ... only, so that
    several processes can share the work."""
    found = []
    try:
        for file, digest in _listed(path, read_manifest(path))[first::stride]:
            try:
                _check(path / file, digest)
            except ArtifactError as error:
                found.append(f"{error.what} {error.values}")
    except ArtifactError as error:
        return [f"{error.what} {error.values}"]
    return found


def all_of(folder: Path) -> list[Path]:
    """The folders with a checkpoint's name under `folder`, whole or not, oldest first."""
    return list(_newest_first(folder))[::-1]


def _listed(path: Path, facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(file name, SHA-256) of every tensor file, in the order of the names. Each group must have one at least."""
    listed = sorted(facts["files"].items())
    if {_group(file) for file, _ in listed} != set(TENSOR_FILES):
        raise ArtifactError("The checkpoint lists other files than it should.", f"{path / MANIFEST}: {[*facts['files']]}", _FIX)  # fmt: skip
    return listed


def _group(file: str) -> str:
    """model-00001-of-00002.safetensors -> model.safetensors; empty for a name that is none of a checkpoint's."""
    match = _FILE.fullmatch(file)
    return match[1] + match[2] if match else ""


def _check(file: Path, digest: str) -> None:
    if not file.is_file():
        raise ArtifactError("A file of the checkpoint is missing.", str(file), _FIX)
    try:
        same = files.sha256_file(file) == digest
    except OSError as error:  # a sector that cannot be read
        raise ArtifactError("A file of the checkpoint cannot be read.", f"{file}: {error}", _FIX) from error
    if not same:
        raise DigestMismatch("A file of the checkpoint is damaged.", f"{file}: its SHA-256 differs", _FIX)


def read_manifest(path: Path) -> dict[str, Any]:
    """Step, config, architecture, environment and hashes; raises DigestMismatch when one byte of it was changed."""
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


def prune(folder: Path, step: int, keep: int, keep_every: int | None) -> None:
    """Keep this checkpoint and those before it that were asked for. A later one can only be one that was refused."""
    kept, renamed = 0, False
    for path in _newest_first(folder):
        number = int(path.name[5:])
        if number <= step and kept < keep:
            kept += 1
        elif number > step or keep_every is None or number % keep_every:
            os.rename(path, path.with_name(path.name + ".partial"))
            renamed = True
    if renamed:
        files.fsync_dir(folder)  # or a crash could bring the name back, with half of the files
    for path in folder.glob("step-*.partial"):
        shutil.rmtree(path, ignore_errors=True)  # a rest is removed by the next save


_FIX = (
    "run the same command again: it goes on from the checkpoint before; remove this folder if it bothers you"
)
