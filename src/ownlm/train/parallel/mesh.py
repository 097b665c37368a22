"""The processes of a run as one grid: which of them share a pipeline, a batch, a sequence, a matrix, the experts.

    2 x 2 x 2: pp, dp, tp        pp 0   dp 0:  0 1   dp 1:  2 3         neighbours along the last axis talk most
                                 pp 1   dp 0:  4 5   dp 1:  6 7         and have neighbouring ranks (one machine)

    pp  pipeline: layers          dp  data: rows of the batch       cp  context: pieces of every sequence
    tp  tensor: heads, columns    ep  expert: the experts of a mixture, and rows of the batch as well

The groups are torch's own DeviceMesh; an axis of size 1 has none and costs nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

from ownlm.errors import UsageError

Axis = Literal["pp", "dp", "cp", "tp", "ep"]
AXES: tuple[Axis, ...] = ("pp", "dp", "cp", "tp", "ep")


@dataclass(frozen=True, slots=True)
class Sizes:
    """Processes along each axis; their product is the number of processes."""

    pp: int = 1
    dp: int = 1
    cp: int = 1
    tp: int = 1
    ep: int = 1

    def __post_init__(self) -> None:
        wrong = {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) < 1}
        if wrong:
            raise UsageError("Every axis of the mesh has at least one process.", str(wrong), "give 1 or more")

    @property
    def total(self) -> int:
        return self.pp * self.dp * self.cp * self.tp * self.ep

    def __str__(self) -> str:
        return (
            " x ".join(f"{axis} {size}" for axis in AXES if (size := getattr(self, axis)) > 1) or "1 process"
        )


class Mesh:
    """This process's place in the grid, and its groups. Every process of the run makes one, with the same sizes."""

    def __init__(self, sizes: Sizes, device: torch.device) -> None:
        """Raises UsageError when the sizes do not multiply to the number of processes."""
        world = dist.get_world_size()
        if sizes.total != world:
            others = sizes.total // sizes.dp
            fix = f"dp = {world // others}" if world % others == 0 else f"sizes other than dp whose product divides {world}"  # fmt: skip
            raise UsageError(
                "The mesh has another number of processes than the run.",
                f"{sizes} = {sizes.total} processes, the run has {world}",
                f"use {fix}, or start {sizes.total} processes",
            )
        self.sizes, self.device = sizes, device
        self.coordinates: dict[Axis, int] = dict.fromkeys(AXES, 0)
        self.groups: dict[Axis, dist.ProcessGroup] = {}
        wide = [axis for axis in AXES if self.size(axis) > 1]
        if wide:
            grid: DeviceMesh = init_device_mesh(device.type, tuple(self.size(a) for a in wide), mesh_dim_names=tuple(wide))  # fmt: skip
            for axis in wide:
                self.groups[axis] = grid.get_group(axis)
                self.coordinates[axis] = grid.get_local_rank(axis)

    def size(self, axis: Axis) -> int:
        return int(getattr(self.sizes, axis))

    def at(self, axis: Axis) -> int:
        """This process's coordinate."""
        return self.coordinates[axis]

    def sum(self, tensor: Tensor, *axes: Axis) -> Tensor:
        """Add up in place over the processes along these axes."""
        for axis in axes:
            if axis in self.groups:
                dist.all_reduce(tensor, group=self.groups[axis])
        return tensor

    def rank_of(self, **changes: int) -> int:
        """Global rank of the process at other coordinates on these axes, the same on the others."""
        place: dict[str, int] = {axis: changes.get(axis, at) for axis, at in self.coordinates.items()}
        rank = 0
        for axis in AXES:
            rank = rank * self.size(axis) + place[axis]
        return rank


def divide(what: str, count: int, by: int, axis: Axis) -> int:
    """count / by. Raises UsageError with the nearest sizes of the axis, and of the thing, that would do."""
    if count % by == 0:
        return count // by
    good = [n for n in range(1, count + 1) if count % n == 0]
    near = sorted(sorted(good, key=lambda n: (abs(n - by), n))[:2])
    below = count // by * by
    counts = [str(n) for n in (below, below + by) if n]
    raise UsageError(
        f"{what} cannot be divided evenly over the processes.",
        f"{count} over {axis} = {by}",
        f"use {axis} = {' or '.join(map(str, near))}, or {' or '.join(counts)} of them",
    )
