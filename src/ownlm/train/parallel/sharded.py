"""Checkpoints of several processes: each writes its shard, the first one names the whole.

    process 0    makes step-000100.partial/ ┐     ┌ its files ┐               ┌ manifest, rename ┐
    process 1                               ├ all ┤ its files ├ all tell      │                  ├ all tell
    process 2                               ┘     └ its files ┘ their hashes  ┘                  ┘

The manifest lists what the processes say they have synced to disk, and is written only when all have said so: a
checkpoint that bears its name has every shard. A process that dies in between leaves a .partial folder, which the
next save removes. All processes write into one folder, so they must share a file system.

    model-00002-of-00003.safetensors        what process 1 holds of the weights: whole tensors, and pieces (pieces.py)
    optimizer-00002-of-00003.safetensors    the same of the optimizer
    run.safetensors                         process 0's: it is the same on all

Any number of processes reads it, under any layout: each takes the rows it needs, whoever wrote them. Torch's own
distributed checkpoints (torch.distributed.checkpoint) would do as much, but their metadata is a pickle.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import safetensors
import torch
import torch.distributed as dist
from torch import Tensor

from ownlm.errors import ArtifactError, MachineError
from ownlm.runtime import files
from ownlm.train import checkpoint, pieces, tensorfile
from ownlm.train.checkpoint import Checkpoint
from ownlm.train.parallel.exchange import Group, T, together
from ownlm.train.pieces import Piece

Wanted = Callable[[str, str, int], tuple[int, int] | None]
"""("model" or "optimizer", name, rows of the whole tensor) -> rows [start, stop) that this process needs; None: none.
A tensor without dimensions has 1 row."""


def whole(tensor: Tensor) -> Piece:
    return Piece(tensor)


def weight_of(key: str) -> str:
    """group.slot.weight -> weight; empty for what belongs to no weight, such as group.num_updates."""
    return (key.split(".", 2) + ["", ""])[2]


def write(folder: Path, made: Checkpoint, model: Mapping[str, Piece], optimizer: Mapping[str, Piece], keep: int,
          keep_every: int | None, group: Group = None) -> None:  # fmt: skip
    """Save the shard of this process, and return when the checkpoint is whole. Every process of `group` calls this;
    of `made` only the first one's facts and run are written.

    Raises MachineError on all processes when one of them could not write; the older checkpoints are untouched then.
    """
    final = folder / f"step-{made.step:06d}"
    partial = final.with_name(final.name + ".partial")
    place, size = dist.get_rank(group), dist.get_world_size(group)

    def prepare() -> None:
        if place == 0:
            checkpoint.begin(partial)

    def save() -> dict[str, str]:
        ours = {f"{kind}-{place + 1:05d}-of-{size:05d}.safetensors": {piece.name(name): piece.tensor for name, piece in parts.items()}
                for kind, parts in (("model", model), ("optimizer", optimizer))}  # fmt: skip
        if place == 0:
            ours["run.safetensors"] = dict(made.run)
        return {file: tensorfile.write(partial / file, tensors) for file, tensors in ours.items()}

    def name_it(digests: dict[str, str]) -> None:
        if place == 0:
            checkpoint.finish(partial, final, made, digests)
            checkpoint.prune(folder, made.step, keep, keep_every)

    try:
        together(_guarded(prepare, final), group)
        _, told = together(_guarded(save, final), group)
        digests = {file: digest for each in told for file, digest in each.items()}
        together(_guarded(lambda: name_it(digests), final), group)
    except MachineError:
        if place == 0:
            shutil.rmtree(partial, ignore_errors=True)
        raise


def newest(
    folder: Path, notice: Callable[[str], None], wanted: Wanted, group: Group = None
) -> Checkpoint | None:
    """This process's rows of the newest checkpoint that is whole for every process; None: there is none.

    Hashes are checked by all together, each its part of the files. Every one passed over is told through `notice`.
    """
    place, size = dist.get_rank(group), dist.get_world_size(group)
    paths, told = together(lambda: [path.name for path in checkpoint.all_of(folder)][::-1], group)
    if any(each != paths for each in told):
        raise MachineError(
            "The processes see different checkpoints.",
            f"{folder}: {told}",
            "give all of them one folder on a file system that they share",
        )
    for name in paths:
        path = folder / name
        _, faults = together(lambda path=path: checkpoint.damaged(path, place, size), group)  # type: ignore[misc]
        if not (wrong := [fault for each in faults for fault in each]):
            return together_read(path, wanted, group)
        notice(f"{name} is refused, trying the one before it: {wrong[0]}")
    if paths:
        notice("no whole checkpoint is left: the run begins again at step 1")
    return None


def together_read(path: Path, wanted: Wanted, group: Group) -> Checkpoint:
    """`read` on every process, or an error on every process."""
    kept: list[Checkpoint] = []

    def work() -> None:
        kept.append(read(path, wanted))

    together(work, group)
    return kept[0]


def read(path: Path, wanted: Wanted) -> Checkpoint:
    """The rows asked for, read from whichever files hold them; `run` is read whole. Hashes are not checked here.

    Raises ArtifactError when rows are missing from the files.
    """
    facts = checkpoint.read_manifest(path)
    loaded: dict[str, dict[str, Tensor]] = {"model": {}, "optimizer": {}, "run": {}}
    index: dict[tuple[str, str], list[tuple[int, int, int, Path, str]]] = {}
    for kind, file, name, shape in _entries(path, facts["files"]):
        full, place = pieces.parse(name)
        rows = shape[0] if shape else 1
        index.setdefault((kind, full), []).append((*(place or (0, rows, rows)), file, name))
    for (kind, full), parts in index.items():
        parts.sort()
        pieces.check([part[:3] for part in parts], full, path)
        rows = parts[0][2]
        span = (0, rows) if kind == "run" else wanted(kind, full, rows)
        if span is not None:
            loaded[kind][full] = _rows(parts, *span)
    return Checkpoint(facts["step"], facts["config"], loaded["model"], loaded["optimizer"], loaded["run"],
                      facts["environment"], facts.get("architecture", {}))  # fmt: skip


def _entries(path: Path, listed: Mapping[str, str]) -> Iterator[tuple[str, Path, str, list[int]]]:
    """(kind, file, name in it, shape) of every tensor of a checkpoint."""
    for file in sorted(listed):
        kind = file.split(".")[0].split("-")[0]
        try:
            with safetensors.safe_open(path / file, framework="pt") as opened:
                for name in opened.keys():  # noqa: SIM118 - a method, not a dict's
                    yield kind, path / file, name, opened.get_slice(name).get_shape()
        except (OSError, safetensors.SafetensorError) as error:
            raise ArtifactError("A file of the checkpoint is damaged.", f"{path / file}: {error}",
                                "remove this checkpoint and run the same command again") from error  # fmt: skip


def _rows(parts: list[tuple[int, int, int, Path, str]], start: int, stop: int) -> Tensor:
    """Rows [start, stop) of a tensor that lies in `parts`, sorted."""
    found: list[Tensor] = []
    for begin, end, _, file, name in parts:
        first, last = max(start, begin), min(stop, end)
        if first >= last and not (start == stop and not found):  # one empty piece gives the other dimensions
            continue
        with safetensors.safe_open(file, framework="pt") as opened:
            view = opened.get_slice(name)
            if not view.get_shape():
                scalar: Tensor = opened.get_tensor(name)
                return scalar
            found.append(view[max(0, first - begin) : max(0, last - begin, first - begin)])
    return found[0] if len(found) == 1 else torch.cat(found)


def _guarded(work: Callable[[], T], final: Path) -> Callable[[], T]:
    """The same work, with an OSError told as the disk's."""

    def inner() -> T:
        try:
            return work()
        except OSError as error:
            raise files.machine_error(error, f"saving {final}") from error

    return inner
