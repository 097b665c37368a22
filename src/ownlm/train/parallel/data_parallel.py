"""Data parallelism: every process holds the whole model and works on its share of the rows of every step.

    rows of the step   0 1 | 2 3 | 4 5 | 6 7        p = 4 processes, each its own
    gradients          summed over the processes, in buckets     all-reduce: 2(p-1)/p of the model is sent
    update             the same on every process

Torch's DistributedDataParallel is not used: it hooks into `forward`, where our objectives call `model.hidden`; it
divides by p, where our losses already carry the whole step's divisor; and it hides the gradient of each piece of a
step unless told which is the last. What is lost is the overlap of the sums with the backward; the buckets
overlap with each other only. Li et al. 2020, "PyTorch Distributed", arXiv:2006.15704, section 3.2 (buckets).

ZeRO stage 1 (`share_optimizer`; Rajbhandari et al. 2020, arXiv:1910.02054, section 5.1): every weight has an owner,
which alone remembers the optimizer's state of it. The gradient is summed at the owner, and the updated weight comes
back from it. Whole weights are owned, not slices of a flat buffer as in the paper, so that every optimizer works
unchanged, also one that reads rows, norms or singular values; the price is that the shares are as even as the
weights allow (`owners.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from ownlm.errors import UsageError
from ownlm.train.batches import Batch
from ownlm.train.checkpoint import Checkpoint
from ownlm.train.optimizers.clip import global_norm
from ownlm.train.optimizers.optimizer import Named
from ownlm.train.parallel import exchange, sharded
from ownlm.train.parallel.exchange import Group
from ownlm.train.parallel.owners import Owners

BUCKET_BYTES = 25 << 20  # as in the paper: large enough for the bandwidth, small enough to begin early


class DataParallel:
    """A layout. `group`: the processes among which the rows are shared (None: all), e.g. one dimension of a mesh."""

    pipeline = None

    def __init__(self, model: nn.Module, group: Group = None, share_optimizer: bool = False,
                 bucket_bytes: int = BUCKET_BYTES) -> None:  # fmt: skip
        self.model, self.group, self.share_optimizer = model, group, share_optimizer
        self.bucket_bytes = bucket_bytes
        self.rank, self.num_processes = dist.get_rank(), dist.get_world_size()
        self.place, self.size = dist.get_rank(group), dist.get_world_size(group)
        self.owners = Owners(self.size)
        self.owners.assign(list(model.named_parameters()))  # also who writes what of a checkpoint
        self.sent_bytes = 0
        """By this process in gradients and weights, as the ring that gloo and nccl use sends them."""
        equalise(model, group)

    def share(self, batch: Batch) -> Batch:
        return share_rows(batch, self.place, self.size)

    def after_backward(self, model: nn.Module) -> None:
        """Sum the gradients over the processes. A weight without a gradient on every process stays without one; one
        that some lack (an expert without a token) counts as zero there."""
        weights = list(model.named_parameters())
        used = torch.tensor([weight.grad is not None for _, weight in weights], dtype=torch.int32)
        used = used.to(exchange.device_of(self.group))
        dist.all_reduce(used, op=dist.ReduceOp.MAX, group=self.group)
        trained = [pair for pair, some in zip(weights, used.tolist(), strict=True) if some]
        for _, weight in trained:
            if weight.grad is None:
                weight.grad = torch.zeros_like(weight)
        pending = []
        for owner, bucket in self._buckets(trained):
            gradients = [weight.grad for _, weight in bucket if weight.grad is not None]
            flat = torch.cat([gradient.flatten() for gradient in gradients])
            pending.append((owner, bucket, gradients, flat, self._sum(flat, owner)))
        for owner, bucket, gradients, flat, work in pending:
            work.wait()
            if owner is not None and owner != self.place:
                for _, weight in bucket:
                    weight.grad = None  # half a sum is no use to anybody
                continue
            for gradient, summed in zip(
                gradients, torch.split(flat, [g.numel() for g in gradients]), strict=True
            ):
                gradient.copy_(summed.view_as(gradient))

    def total(self, value: float) -> float:
        return exchange.total(value, self.group)

    def norm(self, gradients: Iterable[Tensor]) -> float:
        if not self.share_optimizer:
            return global_norm(gradients)
        return float(self.total(sum(float(gradient.norm()) ** 2 for gradient in gradients)) ** 0.5)

    def mine(self, named: Named, elementwise: bool) -> Named:
        if not self.share_optimizer:
            return named
        return [pair for pair in named if self.owners.of[pair[0]] == self.place]

    def before_update(self) -> None:
        return None

    def after_update(self) -> None:
        """Stage 1: every weight from its owner."""
        if not self.share_optimizer:
            return
        with torch.no_grad():
            for owner, bucket in self._buckets(list(self.model.named_parameters())):
                flat = torch.cat([weight.flatten() for _, weight in bucket])
                dist.broadcast(flat, group=self.group, group_src=owner)
                self.sent_bytes += flat.nbytes if owner == self.place else 0
                for (_, weight), new in zip(
                    bucket, torch.split(flat, [w.numel() for _, w in bucket]), strict=True
                ):
                    weight.copy_(new.view_as(weight))

    def write(self, folder: Path, made: Checkpoint, keep: int, keep_every: int | None) -> None:
        """Every process writes what it owns, also without stage 1, where all have all."""
        own = self.owners.of
        model = {k: sharded.whole(value) for k, value in made.model.items() if own.get(k, 0) == self.place}
        optimizer = {
            key: sharded.whole(value)
            for key, value in made.optimizer.items()
            if own.get(sharded.weight_of(key), 0) == self.place
        }
        sharded.write(folder, made, model, optimizer, keep, keep_every, self.group)

    def newest(self, folder: Path, notice: Callable[[str], None]) -> Checkpoint | None:
        def wanted(kind: str, name: str, rows: int) -> tuple[int, int] | None:
            others = (
                kind == "optimizer" and self.owners.of.get(sharded.weight_of(name), self.place) != self.place
            )
            return None if others else (0, rows)

        return sharded.newest(folder, notice, wanted, self.group)

    def _buckets(self, named: Named) -> list[tuple[int | None, Named]]:
        """(owner, weights of one dtype that together fill a bucket), the same on every process."""
        found: list[tuple[int | None, Named]] = []
        room: dict[tuple[int | None, torch.dtype], tuple[Named, int]] = {}
        for name, weight in named:
            owner = self.owners.of[name] if self.share_optimizer else None
            bucket, filled = room.get((owner, weight.dtype), ([], self.bucket_bytes))
            if filled + weight.nbytes > self.bucket_bytes or not bucket:
                bucket, filled = [], 0
                found.append((owner, bucket))
            bucket.append((name, weight))
            room[owner, weight.dtype] = bucket, filled + weight.nbytes
        return found

    def _sum(self, flat: Tensor, owner: int | None) -> Any:
        p = self.size
        if owner is None:
            self.sent_bytes += 2 * (p - 1) * flat.nbytes // p
            return dist.all_reduce(flat, group=self.group, async_op=True)
        self.sent_bytes += flat.nbytes if owner != self.place else 0
        return dist.reduce(flat, group=self.group, group_dst=owner, async_op=True)


def share_rows(batch: Batch, place: int, size: int) -> Batch:
    """Rows [place B/size, (place + 1) B/size). Raises UsageError where `size` does not divide B."""
    rows = len(batch.inputs)
    if rows % size:
        below, above = rows // size * size, (rows // size + 1) * size
        raise UsageError(
            "The rows of a batch cannot be shared evenly.",
            f"{rows} rows for {size} processes",
            f"set the batch size to {f'{below} or ' if below else ''}{above}",
        )
    each = rows // size
    return batch.rows(place * each, (place + 1) * each)


@torch.no_grad()
def equalise(model: nn.Module, group: Group) -> None:
    """The first process's weights and buffers on all: what was drawn or loaded apart would stay apart."""
    for tensor in [*model.parameters(), *model.buffers()]:
        dist.broadcast(tensor.data, group=group, group_src=0)
