"""From the name of a layout to the layout: what a command asks for when it is one of several processes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields

import torch
import torch.distributed as dist
from torch import nn

from ownlm.config import nearest
from ownlm.errors import UsageError
from ownlm.train.config import TrainConfig
from ownlm.train.parallel.composed import Composed
from ownlm.train.parallel.data_parallel import DataParallel
from ownlm.train.parallel.fully_sharded import FullySharded
from ownlm.train.parallel.layout import Alone, Layout
from ownlm.train.parallel.mesh import Mesh, Sizes

NAMES = {
    "alone": "one process",
    "ddp": "every process holds everything; gradients are summed",
    "zero1": "optimizer state is shared out",
    "zero2": "and gradients; weights are gathered for the whole pass",
    "zero3": "and weights, gathered block by block",
    "mesh": "pipeline, data, context, tensor and expert parallelism, as many of each as the sizes say",
}


def layout_from(
    name: str,
    model: nn.Module,
    config: TrainConfig,
    notice: Callable[[str], None],
    sizes: Mapping[str, int] | None = None,
    offload: bool = False,
) -> Layout:
    """The layout called `name`, for a process that has joined the run (`dist.joined`); `model` lies on its device.

    sizes: how many processes along each dimension: {"dp": 2, "tp": 2}; only mesh has others than dp. With precision bfloat16
    zero2 and zero3 also gather the weights in bfloat16. Raises UsageError for what does not fit together.
    """
    if name not in NAMES:
        close = nearest(name, list(NAMES))
        raise UsageError("This layout is not known.", repr(name), f"did you mean {close}?" if close else f"use one of {', '.join(NAMES)}")  # fmt: skip
    processes = dist.get_world_size() if dist.is_initialized() else 1
    _check(name, processes, sizes or {}, offload)
    if name == "alone":
        return Alone()
    if name in ("ddp", "zero1"):
        return DataParallel(model, share_optimizer=name == "zero1")
    if name == "mesh":
        return Composed(model, Mesh(Sizes(**(sizes or {})), next(model.parameters()).device))
    dtype = torch.bfloat16 if config.precision == "bfloat16" else None
    return FullySharded(model, notice, name == "zero2", offload, dtype)


def _check(name: str, processes: int, sizes: Mapping[str, int], offload: bool) -> None:
    problems = []
    if name == "alone" and processes > 1:
        problems.append(
            f"{processes} processes would train {processes} times the same: name a layout for several"
        )
    if name != "alone" and not dist.is_initialized():
        problems.append(
            f"{name} needs launched processes: python -m torch.distributed.run --nproc-per-node N ..."
        )
    if unknown := set(sizes) - {field.name for field in fields(Sizes)}:
        problems.append(f"the dimensions {sorted(unknown)} do not exist: pp, dp, cp, tp, ep do")
    if name == "mesh":
        pass  # its own sizes are checked when it is made
    elif others := {key: size for key, size in sizes.items() if key != "dp" and size != 1}:
        problems.append(f"{name} has only the dimension dp, not {others}")
    elif sizes.get("dp", processes) != processes:
        problems.append(f"dp = {sizes['dp']} with {processes} processes: set dp = {processes}")
    if offload and name not in ("zero2", "zero3"):
        problems.append(f"{name} has no offload: use zero2 or zero3")
    if problems:
        raise UsageError("The layout does not fit this run.", "; ".join(problems), "correct these options")
