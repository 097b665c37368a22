"""Rows of a tensor under a name that says which: how a file holds the part of a weight that one process has.

    blocks.0.mixer.q.weight@32:64:96        rows 32 .. 63 of 96
    blocks.0.mixer.q.weight                 the whole tensor

So a checkpoint that many processes wrote, each its shard, is an ordinary checkpoint whose files happen to hold
pieces, and any reader can tell whether all rows are there. A tensor is cut along its first dimension only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ownlm.errors import ArtifactError

_NAME = re.compile(r"(.*)@(\d+):(\d+):(\d+)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Piece:
    """Rows start .. start + len(tensor) - 1 of a tensor of `rows` rows; start None: the whole tensor."""

    tensor: Tensor
    start: int | None = None
    rows: int = 0

    def name(self, whole: str) -> str:
        """The name under which it is filed."""
        if self.start is None:
            return whole
        return f"{whole}@{self.start}:{self.start + len(self.tensor)}:{self.rows}"


def parse(name: str) -> tuple[str, tuple[int, int, int] | None]:
    """(name of the whole tensor, (start, stop, rows), or None when it is whole)."""
    match = _NAME.fullmatch(name)
    return (match[1], (int(match[2]), int(match[3]), int(match[4]))) if match else (name, None)


def join(tensors: Mapping[str, Tensor], where: Path) -> dict[str, Tensor]:
    """Whole tensors of all pieces. Raises ArtifactError where rows are missing or there twice."""
    found: dict[str, list[tuple[int, int, int, Tensor]]] = {}
    result: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        whole, place = parse(name)
        if place is None:
            result[name] = tensor
        else:
            found.setdefault(whole, []).append((*place, tensor))
    for whole, parts in found.items():
        parts.sort(key=lambda part: part[:2])
        check([part[:3] for part in parts], whole, where)
        result[whole] = torch.cat([part[3] for part in parts])
    return result


def check(parts: list[tuple[int, int, int]], name: str, where: Path) -> None:
    """Sorted (start, stop, rows) must follow each other from 0 to rows, and agree on rows."""
    at = 0
    for start, stop, rows in parts:
        if start != at or stop < start or rows != parts[0][2]:
            break
        at = stop
    else:
        if at == parts[0][2]:
            return
    raise ArtifactError(
        "The checkpoint lacks rows of a tensor.",
        f"{where}: {name}: rows {', '.join(f'{a}..{b} of {n}' for a, b, n in parts)}",
        "go on from the checkpoint before it: remove this folder, and run the same command again",
    )
