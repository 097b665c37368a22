"""Weights, gradients and optimizer state in shards: ZeRO stages 2 and 3 by torch's `fully_shard`, on the untouched model.

    between steps    process r holds rows r of every weight, of its gradient and of the optimizer's state
    forward          a block's weights are gathered before it runs, and let go after it      (stage 3)
                     ... and kept until its backward has run                                  (stage 2)
    backward         gathered again where they were let go; gradients are summed into the shards (reduce-scatter)

Embedding, last norm and output layer form one more group that stays gathered from the forward to its backward, as the
objectives read `embedding.weight` after `model.hidden`. Rajbhandari et al. 2020, ZeRO, arXiv:1910.02054; Zhao et
al. 2023, PyTorch FSDP, arXiv:2304.11277 (here its successor, one DTensor per weight).

The optimizers know nothing of it. One that updates every entry by itself gets the shard as if it were the weight. One
that needs the whole (Muon orthogonalises a matrix) works on weights that have an owner: gradient and weight are
gathered there, updated, and the rows go back; its state lies with the owner alone, so it is shared out too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import (
    CPUOffloadPolicy,
    MixedPrecisionPolicy,
    OffloadPolicy,
    fully_shard,
    register_fsdp_forward_method,
)
from torch.distributed.tensor import DTensor

from ownlm.errors import UsageError
from ownlm.model.moe import expert_layers
from ownlm.train.batches import Batch
from ownlm.train.checkpoint import Checkpoint
from ownlm.train.optimizers.optimizer import Named
from ownlm.train.parallel import exchange, sharded, shards
from ownlm.train.parallel.data_parallel import equalise, share_rows
from ownlm.train.parallel.owners import Owners
from ownlm.train.pieces import Piece


class FullySharded:
    """A layout; `model` is sharded in place when it is made, before the run is set up.

    keep_gathered: stage 2, else 3. offload: shards and optimizer state in the CPU's memory (ZeRO-Offload, Ren et al.
    2021, arXiv:2101.06840). gathered_dtype: of the weights while they are gathered, e.g. bfloat16 with float32 shards;
    gradients are summed in float32 then. mesh: one dimension (None: all processes).
    Raises UsageError for a mixture of experts: an expert without a token on one process would leave its sum waiting.
    """

    pipeline = None

    pipeline = None

    def __init__(self, model: nn.Module, notice: Callable[[str], None], keep_gathered: bool = False,
                 offload: bool = False, gathered_dtype: torch.dtype | None = None, mesh: DeviceMesh | None = None) -> None:  # fmt: skip
        if any(True for _ in expert_layers(model)):
            raise UsageError(
                "A mixture of experts cannot be fully sharded.",
                "an expert that gets no token has no gradient on that process",
                "take the layout zero1, or expert parallelism",
            )
        device = next(model.parameters()).device
        self.mesh = mesh or DeviceMesh(device.type, list(range(dist.get_world_size())))
        self.group = self.mesh.get_group()
        self.model = model
        self.rank, self.num_processes = dist.get_rank(), dist.get_world_size()
        self.place, self.size = dist.get_rank(self.group), dist.get_world_size(self.group)
        self.owners = Owners(self.size)
        self.shards: list[tuple[DTensor, nn.Parameter]] = []
        """(weight, what the optimizer updates: its local rows)"""
        self.wholes: list[tuple[list[Any], list[nn.Parameter] | None, int]] = []
        """(weights of one owner, there alone what the optimizer updates, the owner)"""
        if offload and device.type != "cuda":
            notice("nothing to offload: the weights are in the CPU's memory already")
        policy = CPUOffloadPolicy() if offload and device.type == "cuda" else OffloadPolicy()
        equalise(model, self.group)
        _shard(model, self.mesh, not keep_gathered, policy, gathered_dtype)
        self.local = [_local(weight) for weight in model.parameters()]

    def share(self, batch: Batch) -> Batch:
        return share_rows(batch, self.place, self.size)

    def after_backward(self, model: nn.Module) -> None:
        """The backward has summed the gradients already."""

    def total(self, value: float) -> float:
        return exchange.total(value, self.group)

    def norm(self, gradients: Iterable[Tensor]) -> float:
        return float(self.total(sum(float(_local(gradient).norm()) ** 2 for gradient in gradients)) ** 0.5)

    @torch.no_grad()
    def mine(self, named: Named, elementwise: bool) -> Named:
        own: Named = []
        pairs = [(name, weight) for name, weight in named if isinstance(weight, DTensor)]
        if elementwise:
            for name, weight in pairs:
                own.append((name, nn.Parameter(_local(weight))))
                self.shards.append((weight, own[-1][1]))
            return own
        self.owners.assign([(name, weight) for name, weight in named])
        for owner in range(self.size):
            weights = [weight for name, weight in pairs if self.owners.of[name] == owner]
            values = self._gather(weights, owner)
            stand_ins = None if values is None else [nn.Parameter(value) for value in values]
            self.wholes.append((weights, stand_ins, owner))
            if stand_ins is not None:
                own += zip(
                    [name for name, _ in pairs if self.owners.of[name] == owner], stand_ins, strict=True
                )
        return own

    @torch.no_grad()
    def before_update(self) -> None:
        for weight, shard in self.shards:
            shard.grad = None if weight.grad is None else _local(weight.grad)
        for weights, stand_ins, owner in self.wholes:
            used = [weight for weight in weights if weight.grad is not None]  # the same on every process
            values = self._gather(weights, owner)
            gradients = self._gather([weight.grad for weight in used if weight.grad is not None], owner)
            if stand_ins is None or values is None or gradients is None:
                continue
            waiting = iter(gradients)
            for weight, stand_in, value in zip(weights, stand_ins, values, strict=True):
                stand_in.data = value
                stand_in.grad = None if weight.grad is None else next(waiting)

    @torch.no_grad()
    def after_update(self) -> None:
        """The rows of the owned weights go back to where they belong; the gathered copies are let go."""
        for _, shard in self.shards:
            shard.grad = None
        for weights, stand_ins, owner in self.wholes:
            if not weights:
                continue
            source = None if stand_ins is None else [each.data for each in stand_ins]
            rows = [weight.shape[0] for weight in weights]
            shards.scatter(source, [_local(weight) for weight in weights], rows, owner, self.group)
            for stand_in in stand_ins or []:
                stand_in.grad = None
                stand_in.data = stand_in.data.new_empty(0)

    def _gather(self, tensors: Sequence[Tensor], owner: int) -> list[Tensor] | None:
        """All rows of sharded tensors, on their owner; None elsewhere."""
        if not tensors:
            return [] if owner == self.place else None
        rows = [tensor.shape[0] for tensor in tensors]
        return shards.gather([_local(tensor) for tensor in tensors], rows, owner, self.group)

    def write(self, folder: Path, made: Checkpoint, keep: int, keep_every: int | None) -> None:
        model = {name: self._rows(value, value) for name, value in made.model.items() if self._writes(value)}
        weights = dict(self.model.named_parameters())
        optimizer = {}
        for key, value in made.optimizer.items():
            weight = weights.get(sharded.weight_of(key))
            if weight is None or sharded.weight_of(key) in self.owners.of:
                if weight is not None or self.place == 0:
                    optimizer[key] = Piece(value)
            elif value.shape == _local(weight).shape and value.ndim:
                optimizer[key] = self._rows(weight, value)
            elif self.place == 0:  # one number per weight: the same everywhere
                optimizer[key] = Piece(value)
        sharded.write(folder, made, model, optimizer, keep, keep_every, self.group)

    def newest(self, folder: Path, notice: Callable[[str], None]) -> Checkpoint | None:
        weights = dict(self.model.named_parameters())

        def wanted(kind: str, name: str, rows: int) -> tuple[int, int] | None:
            whole_name = name if kind == "model" else sharded.weight_of(name)
            if kind == "optimizer" and whole_name in self.owners.of:
                return (0, rows) if self.owners.of[whole_name] == self.place else None
            weight = weights.get(whole_name)
            if weight is None or rows != weight.shape[0]:
                return 0, rows
            return shards.span(rows, self.place, self.size)

        found = sharded.newest(folder, notice, wanted, self.group)
        if found is None:
            return None
        model = {name: _like(weights.get(name), value) for name, value in found.model.items()}
        return Checkpoint(found.step, found.config, model, found.optimizer, found.run, found.environment, found.architecture)  # fmt: skip

    def held_bytes(self) -> dict[str, int]:
        """Bytes on this process now: the shards, what is gathered at the moment beside them, and gradients."""
        weights = list(self.model.parameters())
        gradients = [_local(weight.grad) for weight in weights if weight.grad is not None]
        return {
            "shards": sum(shard.nbytes for shard in self.local),
            "gathered": sum(weight.nbytes for weight in weights if not isinstance(weight, DTensor)),
            "gradients": sum(gradient.nbytes for gradient in gradients),
        }

    def _writes(self, value: Tensor) -> bool:
        return isinstance(value, DTensor) or self.place == 0

    def _rows(self, weight: Tensor, value: Tensor) -> Piece:
        """`value` as this process's rows of something shaped as `weight`."""
        if not isinstance(weight, DTensor):
            return Piece(value)
        start, _ = shards.span(weight.shape[0], self.place, self.size)
        return Piece(_local(value), start, weight.shape[0])


def _shard(model: Any, mesh: DeviceMesh, reshard: bool, policy: OffloadPolicy, dtype: torch.dtype | None) -> None:  # fmt: skip
    """`fully_shard` on every block and on the rest."""
    mixed = MixedPrecisionPolicy(
        param_dtype=dtype, reduce_dtype=None if dtype is None else torch.float32, cast_forward_inputs=dtype is not None
    )  # fmt: skip
    parts = [*model.blocks, model]
    for part in parts:
        fully_shard(part, mesh=mesh, reshard_after_forward=reshard and part is not model, mp_policy=mixed,
                    offload_policy=policy)  # fmt: skip
        # Sums, not means: the losses carry the divisor of the whole step. Gloo has no scaled sum, so none is asked for.
        part.set_gradient_divide_factor(1.0)
        part.set_force_sum_reduction_for_comms(True)
    register_fsdp_forward_method(model, "hidden")


def _local(tensor: Tensor) -> Tensor:
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def _like(weight: Tensor | None, rows: Tensor) -> Tensor:
    """The rows of a weight as the DTensor that the weight is."""
    if not isinstance(weight, DTensor):
        return rows
    local = rows.to(weight.to_local().device)
    return DTensor.from_local(local, weight.device_mesh, weight.placements, run_check=False, shape=weight.shape,
                              stride=weight.stride())  # fmt: skip
