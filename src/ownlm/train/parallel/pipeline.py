"""Pipeline parallelism: consecutive layers on consecutive processes, micro-batches passed along (schedules: bubble.py).

    stage 0: embedding, first layers ── x [R,S,D] ──► stage 1: layers ── x ──► last stage: layers, norm, loss
                                     ◄── dL/dx ─────                  ◄── dL/dx ──

The decoder is not changed. A stage is a view of it in which the layers of other stages let x through, and in which the
"embedding" of all but the first gives out what arrived: its `hidden` then runs exactly this stage, and the objective
of the last stage finds a model as always. A tied embedding is on the first and the last process, its gradient the sum.

Letters: R rows of a micro-batch, S tokens of a row here, D model width, p processes, v stages per process.
"""

from __future__ import annotations

import copy
import dataclasses
import itertools
from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from ownlm.errors import UsageError
from ownlm.train.batches import Batch
from ownlm.train.config import TrainConfig
from ownlm.train.objectives.causal import Causal
from ownlm.train.parallel import bubble
from ownlm.train.parallel.bubble import Action
from ownlm.train.parallel.mesh import Mesh
from ownlm.train.precision import autocast
from ownlm.train.setup import Setup


class Through(nn.Module):
    """In the place of a layer that is elsewhere."""

    def forward(self, x: Tensor, *_: object) -> Tensor:
        """x as it is."""
        return x


class Arrived(nn.Module):
    """In the place of the embedding: x [R, S, D] of the stage before. With the tied output matrix where it is needed."""

    x: Tensor

    def __init__(self, weight: nn.Parameter | None) -> None:
        super().__init__()
        self.weight = weight

    def forward(self, ids: Tensor) -> Tensor:
        """ids are only counted by the decoder."""
        return self.x


def stages_of(num_layers: int, num_stages: int) -> list[range]:
    """The layers of each stage: as even as can be, the first ones one more. Raises UsageError for an empty stage."""
    if num_layers < num_stages:
        raise UsageError(
            "A pipeline has more stages than the model has layers.",
            f"{num_layers} layers, {num_stages} stages (pp x stages per process)",
            f"use at most {num_layers} stages",
        )
    share, more = divmod(num_layers, num_stages)
    ends = [0]
    for stage in range(num_stages):
        ends.append(ends[-1] + share + (stage < more))
    return [range(a, b) for a, b in itertools.pairwise(ends)]


def cut(model: Any, mesh: Mesh, chunks: int) -> list[nn.Module]:
    """Take from the decoder, in place, what other processes have; the views that are this process's stages."""
    p, rank = mesh.size("pp"), mesh.at("pp")
    layers = stages_of(len(model.blocks), p * chunks)
    views = [
        _view(model, layers[c * p + rank], c * p + rank == 0, c * p + rank == p * chunks - 1)
        for c in range(chunks)
    ]
    kept = {n for c in range(chunks) for n in layers[c * p + rank]}
    for n in range(len(model.blocks)):
        if n not in kept:
            model.blocks[n] = Through()
    first, last = rank == 0, rank == p - 1
    if not first:
        model.positions = model.embedding_norm = None
    if not first and not (last and model.output is None):
        model.embedding = Through()
    if not last:
        model.norm = model.output = None
    return views


def _view(model: Any, layers: range, first: bool, last: bool) -> nn.Module:
    """A decoder of the same modules, less those of other stages."""
    view = copy.copy(model)
    view._modules = dict(model._modules)  # a shallow copy shares it
    view.blocks = nn.ModuleList(block if n in layers else Through() for n, block in enumerate(model.blocks))
    if not first:
        view.embedding = Arrived(model.embedding.weight if last and model.output is None else None)
        view.positions = view.embedding_norm = None
        view.architecture = dataclasses.replace(
            model.architecture, embedding_scale=1.0
        )  # done by the first stage
    if not last:
        view.norm = view.output = None
    return view  # type: ignore[no-any-return]


class Pipeline:
    """One process of a pipeline: runs its list of actions for every batch."""

    def __init__(self, views: Sequence[Any], mesh: Mesh, name: bubble.Name) -> None:
        self.views, self.mesh, self.name = views, mesh, name
        self.p, self.rank, self.group = mesh.size("pp"), mesh.at("pp"), mesh.groups["pp"]
        self.num_stages = self.p * len(views)

    def run(self, share: Batch, trained: int, setup: Setup, config: TrainConfig, model: nn.Module) -> float:
        """Gradients of this process's stages into their weights; the loss, 0 on all processes but the last.

        Micro-batches as in `loop.forward_backward`: equal pieces of whole rows, at most micro_tokens each.
        """
        if type(setup.objective) is not Causal or share.extra:
            raise UsageError(
                "A pipeline knows only next-token prediction on plain batches.",
                f"{setup.objective!r}, extra: {', '.join(share.extra) or 'none'}",
                "use pp = 1 with this objective",
            )
        if config.gradient_steps is not None:
            raise UsageError(
                "The stages of a pipeline have different layers, whose norms cannot be logged together.",
                f"gradient_steps = {config.gradient_steps}, pp = {self.p}",
                "leave gradient_steps out, or use pp = 1",
            )
        step = _Step(self, share, trained, setup, config, model)
        if setup.float8 is not None:
            setup.float8.forget_step()
        with setup.installed(model):
            self._play(step)
        return step.loss

    def _play(self, step: _Step) -> None:
        for action in bubble.schedule(self.name, self.p, step.num_micro, len(self.views))[self.rank]:
            (step.forward if action.kind == "forward" else step.backward)(action)
        for work, _ in step.sent:
            work.wait()


class _Step:
    """What is on its way within one optimizer step."""

    def __init__(self, pipeline: Pipeline, share: Batch, trained: int, setup: Setup, config: TrainConfig,
                 model: nn.Module) -> None:  # fmt: skip
        B, S = share.inputs.shape
        self.rows = max(1, min(B, config.micro_tokens // S))
        while B % self.rows:
            self.rows -= 1
        self.num_micro = B // self.rows
        self.pipeline, self.share, self.trained, self.setup, self.model = (
            pipeline,
            share,
            trained,
            setup,
            model,
        )
        self.arrived: dict[tuple[int, int], Tensor] = {}  # (chunk, micro) -> x
        self.left: dict[tuple[int, int], Tensor] = {}  # (chunk, micro) -> what backward starts from
        self.sent: list[tuple[dist.Work, Tensor]] = []  # a tensor must live until it is gone
        self.loss = 0.0

    def forward(self, action: Action) -> None:
        line, view = self.pipeline, self.pipeline.views[action.chunk]
        stage = action.chunk * line.p + line.rank
        piece = self.share.rows(action.micro * self.rows, (action.micro + 1) * self.rows).to(
            self.setup.device
        )
        if stage > 0:
            view.embedding.x = x = self._receive(stage - 1, 2 * stage, action.micro).requires_grad_()
            self.arrived[action.chunk, action.micro] = x
        with autocast(self.setup.precision, self.setup.device):
            if stage == line.num_stages - 1:
                out = self.setup.objective(view, piece, self.trained)
                self.loss += float(out.detach())
            else:
                out = view.hidden(piece.inputs).to(self._dtype())
        self.left[action.chunk, action.micro] = out
        if stage < line.num_stages - 1:
            self._send(out.detach(), stage + 1, 2 * (stage + 1), action.micro)

    def backward(self, action: Action) -> None:
        line, key = self.pipeline, (action.chunk, action.micro)
        stage = action.chunk * line.p + line.rank
        out = self.left.pop(key)
        if stage == line.num_stages - 1:
            torch.autograd.backward(out if self.setup.scaler is None else out * self.setup.scaler.scale)
        else:
            torch.autograd.backward(out, self._receive(stage + 1, 2 * stage + 1, action.micro))
        if stage > 0:
            gradient = self.arrived.pop(key).grad
            if gradient is None:
                raise UsageError("A stage's layers do not use their input.", f"stage {stage}", "this is a mistake in the model")  # fmt: skip
            self._send(gradient, stage - 1, 2 * (stage - 1) + 1, action.micro)

    def _send(self, tensor: Tensor, stage: int, kind: int, micro: int) -> None:
        tensor = tensor.contiguous()
        to = self.pipeline.mesh.rank_of(pp=stage % self.pipeline.p)
        work = dist.isend(tensor, to, self.pipeline.group, self._tag(kind, micro))
        if work is not None:
            self.sent.append((work, tensor))

    def _receive(self, stage: int, kind: int, micro: int) -> Tensor:
        shape = (self.rows, self.share.inputs.shape[1], int(self.pipeline.views[0].architecture.hidden_size))
        tensor = torch.empty(shape, dtype=self._dtype(), device=self.setup.device)
        source = self.pipeline.mesh.rank_of(pp=stage % self.pipeline.p)
        dist.recv(tensor, source, self.pipeline.group, self._tag(kind, micro))
        return tensor

    def _tag(self, kind: int, micro: int) -> int:
        """One for every message of a step: with several stages per process the order of arrival is not theirs."""
        return kind * self.num_micro + micro

    def _dtype(self) -> torch.dtype:
        return next(self.model.parameters()).dtype
