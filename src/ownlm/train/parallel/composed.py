"""Any of the five ways to share a model out, together: cut the model, then train with the layout that comes of it.

    mesh = Mesh(Sizes(pp=2, tp=2, dp=2), device)          every process, after joining the run
    layout = Composed(model, mesh)                        cuts the whole model in place
    for record in train(model, batch_at, config, folder, layout=layout): ...

Every process makes the same whole model from the same seed first, and reads the same batches. The losses, the
gradients and the checkpoints are those of a single process, up to the order in which sums are taken.

    sums of gradients   over dp, cp, ep for whole weights; over dp, cp for an expert's (its tokens came to it)
                        over tp for what each process computes of a part (norms of heads); first and last stage for
                        a tied embedding
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from ownlm.errors import ArtifactError, MachineError, UsageError
from ownlm.train import checkpoint
from ownlm.train.batches import Batch
from ownlm.train.checkpoint import Checkpoint
from ownlm.train.optimizers.optimizer import Named
from ownlm.train.parallel import bubble, context, expert, pipeline, tensor, whole
from ownlm.train.parallel.mesh import Axis, Mesh, divide

BUCKET = 1 << 24
"""Entries of gradients that are added up in one message (64 MB of float32)."""


class Composed:
    """The layout of a mesh. Raises UsageError, with the model as it was or to be thrown away, where it does not fit."""

    def __init__(
        self, model: Any, mesh: Mesh, schedule: bubble.Name = "1f1b", stages_per_process: int = 1
    ) -> None:
        bubble.schedule(
            schedule, mesh.size("pp"), mesh.size("pp"), stages_per_process
        )  # raises for wrong sizes
        pipeline.stages_of(len(model.blocks), mesh.size("pp") * stages_per_process)
        self.mesh, self.rank, self.num_processes = mesh, dist.get_rank(), mesh.sizes.total
        cut, partial = tensor.split(model, mesh)
        experts = expert.spread(model, mesh)
        context.spread(model, mesh)
        tied = model.output is None
        self._pipeline: pipeline.Pipeline | None = None
        if mesh.size("pp") > 1:
            views = pipeline.cut(model, mesh, stages_per_process)
            for view in views:
                context.place_tokens(view, mesh)
            self._pipeline = pipeline.Pipeline(views, mesh, schedule)
        here = dict(model.named_parameters())
        self.cut = {name: dim for name, dim in cut.items() if name in here}
        self.partial, self.experts = partial & here.keys(), experts & here.keys()
        stored = model.state_dict(keep_vars=True)
        self.own = here.keys() | {name for name, _ in model.named_buffers() if name in stored}
        self._tied = tied and mesh.size("pp") > 1 and "embedding.weight" in here
        self._sparse = [name for name in here if ".experts." in name]
        self._gradients: dict[int, tuple[str, Tensor]] = {}

    @property
    def pipeline(self) -> Callable[[nn.Module, Batch, int, Any, Any], float] | None:
        """In the place of the loop's own forward and backward; None where there is no pipeline."""
        return None if self._pipeline is None else self._through

    def _through(self, model: nn.Module, batch: Batch, trained: int, setup: Any, config: Any) -> float:
        if self._pipeline is None:
            raise UsageError("This mesh has no pipeline.", str(self.mesh.sizes), "use pp > 1")
        loss = self._pipeline.run(self.share(batch), trained, setup, config, model)
        self.after_backward(model)
        if setup.scaler is not None:
            setup.scaler.unscale(model.parameters())
        # Only the last stage has a loss.
        return float(self.mesh.sum(self._number(loss), "pp", "dp", "cp", "ep"))

    def share(self, batch: Batch) -> Batch:
        """Rows by dp and ep, columns by cp; the processes of a pipeline and of a matrix have the same."""
        parts = self.mesh.size("dp") * self.mesh.size("ep")
        rows = divide("The rows of a batch", len(batch.inputs), parts, "dp")
        mine = self.mesh.at("dp") * self.mesh.size("ep") + self.mesh.at("ep")
        return context.share(batch.rows(mine * rows, (mine + 1) * rows), self.mesh)

    def after_backward(self, model: nn.Module) -> None:
        named = dict(model.named_parameters())
        self._fill(named)
        groups: dict[tuple[Axis, ...], list[Tensor]] = {}
        for name, weight in named.items():
            if weight.grad is not None and (axes := self._sums(name)):
                groups.setdefault(axes, []).append(weight.grad)
        for axes, gradients in groups.items():
            for bucket in _buckets(gradients):
                flat = self.mesh.sum(torch.cat([each.flatten() for each in bucket]), *axes)
                for each, total in zip(
                    bucket, torch.split(flat, [each.numel() for each in bucket]), strict=True
                ):
                    each.copy_(total.view_as(each))
        if self._tied:
            self._add_other_end(named["embedding.weight"])
        self._gradients = {id(w.grad): (name, w.grad) for name, w in named.items() if w.grad is not None}

    def _sums(self, name: str) -> tuple[Axis, ...]:
        axes: list[Axis] = ["dp", "cp"]
        axes += [] if name in self.experts else ["ep"]
        axes += ["tp"] if name in self.partial else []
        return tuple(axis for axis in axes if self.mesh.size(axis) > 1)

    def _fill(self, named: Mapping[str, nn.Parameter]) -> None:
        """An expert without tokens here may have had some elsewhere: its gradient is zero then, not missing."""
        if not self._sparse or self.mesh.size("dp") * self.mesh.size("cp") * self.mesh.size("ep") == 1:
            return
        has = torch.tensor(
            [float(named[name].grad is not None) for name in self._sparse], device=self.mesh.device
        )
        anywhere = self.mesh.sum(has, "dp", "cp", *(() if self.experts else ("ep",)))
        for name, count in zip(self._sparse, anywhere.tolist(), strict=True):
            if count and named[name].grad is None:
                named[name].grad = torch.zeros_like(named[name])

    def _add_other_end(self, weight: nn.Parameter) -> None:
        """The tied matrix's gradient as an embedding and as an output layer: the sum of two, the same on both ends."""
        if weight.grad is None:
            weight.grad = torch.zeros_like(weight)
        ends = (self.mesh.rank_of(pp=0), self.mesh.rank_of(pp=self.mesh.size("pp") - 1))
        other = ends[1] if self.rank == ends[0] else ends[0]
        theirs = torch.empty_like(weight.grad)
        for work in dist.batch_isend_irecv(
            [dist.P2POp(dist.isend, weight.grad.clone(), other), dist.P2POp(dist.irecv, theirs, other)]
        ):
            work.wait()
        weight.grad += theirs

    def _number(self, value: float) -> Tensor:
        return torch.tensor(value, dtype=torch.float64, device=self.mesh.device)

    def total(self, value: float) -> float:
        """Over the shares of the batch. Processes that have the same share may still differ in what their clocks say:
        the largest of theirs counts."""
        found = self.mesh.sum(self._number(value), "dp", "cp", "ep")
        for axis in ("pp", "tp"):
            if axis in self.mesh.groups:
                dist.all_reduce(found, dist.ReduceOp.MAX, group=self.mesh.groups[axis])
        return float(found)

    def norm(self, gradients: Iterable[Tensor]) -> float:
        """Every weight once: pieces added up over tp, experts over ep, stages over pp."""
        squares = torch.zeros(
            4, dtype=torch.float64, device=self.mesh.device
        )  # whole, cut by tp, by ep, by both
        for gradient in gradients:
            name, _ = self._gradients[id(gradient)]
            if self._tied and name == "embedding.weight" and self.mesh.at("pp") > 0:
                continue  # the first stage counts it
            squares[(name in self.cut) + 2 * (name in self.experts)] += float(gradient.norm()) ** 2
        cut_by_tp = self.mesh.sum(squares[1::2].clone(), "tp")
        by_ep = self.mesh.sum(torch.stack([squares[2], cut_by_tp[1]]), "ep")
        return float(self.mesh.sum(squares[0] + cut_by_tp[0] + by_ep.sum(), "pp").sqrt())

    def mine(self, named: Named, elementwise: bool) -> Named:
        """All that are here. Raises UsageError where an optimizer needs whole matrices of which there are pieces."""
        pieces = [name for name, _ in named if name in self.cut]
        if pieces and not elementwise:
            raise UsageError(
                "This optimizer needs whole matrices, and tensor parallelism has cut them.",
                f"{len(pieces)} pieces, the first is {pieces[0]}",
                "use an optimizer that works on each number alone (adamw, adam, lion, sgd), or tp = 1",
            )
        return named

    def before_update(self) -> None:
        return None

    def after_update(self) -> None:
        return None

    def gather(self, model: nn.Module) -> dict[str, Tensor] | None:
        """The whole model's weights on process 0, None elsewhere. Every process calls it."""
        return whole.gather(dict(model.named_parameters()), self.cut, self.mesh)

    def write(self, folder: Path, made: Checkpoint, keep: int, keep_every: int | None) -> None:
        """As a single process writes it; every process returns when it is durable, or raises when it is not."""
        model = whole.gather(made.model, self.cut, self.mesh)
        optimizer = whole.gather(made.optimizer, self._dims(made.optimizer, made.model), self.mesh)
        failed = ""
        if model is not None and optimizer is not None:
            try:
                checkpoint.write(
                    folder, dataclasses.replace(made, model=model, optimizer=optimizer), keep, keep_every
                )
            except MachineError as error:
                failed = str(error)
        outcome = self._number(bool(failed))
        dist.broadcast(outcome, 0)
        if float(outcome):
            raise MachineError("The checkpoint could not be written.", failed or "process 0 could not", "see process 0's message, then run the same command again")  # fmt: skip

    def newest(self, folder: Path, notice: Callable[[str], None]) -> Checkpoint | None:
        """This process's pieces of the newest whole checkpoint, written by whatever layout. Every process reads the
        folder; raises ArtifactError when they do not see the same."""
        found = checkpoint.newest(folder, notice if self.rank == 0 else lambda _: None)
        step = -1 if found is None else found.step
        seen = torch.tensor([step, -step], device=self.mesh.device)
        dist.all_reduce(seen, dist.ReduceOp.MAX)
        if int(seen[0]) != -int(seen[1]):
            raise ArtifactError(
                "The processes see different checkpoints.",
                f"steps {-int(seen[1])} to {int(seen[0])} under {folder}",
                "put the run's folder where every machine of the run reads the same files",
            )
        if found is None:
            return None
        dims = self._dims(found.optimizer, found.model)
        keys = {key: whole.owner(key, found.model) for key in found.optimizer}
        return dataclasses.replace(
            found,
            model={n: whole.part(v, self.cut.get(n), self.mesh) for n, v in found.model.items() if self._has(n)},
            optimizer={k: whole.part(v, dims.get(k), self.mesh) for k, v in found.optimizer.items() if self._has(keys[k])},
        )  # fmt: skip

    def _has(self, name: str) -> bool:
        return not name or name in self.own

    def _dims(self, optimizer: Mapping[str, Tensor], model: Mapping[str, Tensor]) -> dict[str, int]:
        """Of an optimizer's tensors those that are shaped, and so cut, like their weight."""
        owners = {key: whole.owner(key, model) for key in optimizer}
        return {
            key: self.cut[name]
            for key, name in owners.items()
            if name in self.cut and optimizer[key].shape == model[name].shape
        }


def _buckets(gradients: list[Tensor]) -> Iterator[list[Tensor]]:
    """Pieces of at most BUCKET entries (a larger tensor is alone), of one dtype each."""
    bucket: list[Tensor] = []
    for gradient in sorted(gradients, key=lambda each: str(each.dtype)):
        full = bucket and sum(each.numel() for each in bucket) + gradient.numel() > BUCKET
        if bucket and (full or bucket[0].dtype != gradient.dtype):
            yield bucket
            bucket = []
        bucket.append(gradient)
    if bucket:
        yield bucket
