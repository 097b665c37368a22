"""What a run decides once, before its first step: precision, compilation, threads, allocator, optimizers, peak."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ownlm.errors import UsageError
from ownlm.runtime import hardware
from ownlm.train import allocator, compile, peak, precision
from ownlm.train.config import TrainConfig
from ownlm.train.health.spikes import SpikeGuard
from ownlm.train.objectives.causal import Causal, Objective
from ownlm.train.optimizers.optimizer import Optimizer, split
from ownlm.train.optimizers.table import OPTIMIZERS, build
from ownlm.train.parallel.layout import Alone, Layout
from ownlm.train.scaling import LossScaler


class Part(Protocol):
    """What goes into a checkpoint beside weights and optimizers."""

    def state(self) -> dict[str, Tensor]: ...

    def load(self, state: Mapping[str, Tensor]) -> None: ...


@dataclass(frozen=True, slots=True)
class Group:
    """Weights with an optimizer and a rate of their own."""

    name: str
    optimizer: Optimizer
    learning_rate: float  # peak


@dataclass(frozen=True, slots=True)
class Setup:
    device: torch.device
    precision: precision.Precision
    threads: int
    compiled: list[Any]  # the compiled call of every block; empty: eager
    groups: tuple[Group, ...]
    objective: Objective
    layout: Layout
    guard: SpikeGuard
    scaler: LossScaler | None  # with float16 only
    peak: float  # operations per second of this machine's matrix products in this precision
    parts: dict[str, Part] = field(default_factory=dict)

    def update(self, rate: float) -> None:
        """One optimizer step at `rate` of the peak rates."""
        for group in self.groups:
            group.optimizer.step(group.learning_rate * rate)

    def optimizer_state(self) -> dict[str, Tensor]:
        """group.slot.parameter -> the live tensor."""
        return {f"{g.name}.{key}": value for g in self.groups for key, value in g.optimizer.state().items()}

    def environment(self) -> dict[str, str | int | bool]:
        """What decides how the same computation is rounded; kept in the checkpoint and compared on resume."""
        return {
            "torch": torch.__version__,
            "processor": hardware.facts().processor,
            "device": str(self.device),
            "capability": torch.backends.cpu.get_cpu_capability(),
            "precision": self.precision,
            "threads": self.threads,
            "compiled": bool(self.compiled),
            "processes": self.layout.num_processes,
        }


def prepare(
    model: nn.Module,
    config: TrainConfig,
    notice: Callable[[str], None],
    objective: Objective | None = None,
    layout: Layout | None = None,
) -> Setup:
    """Settle everything and tell it through `notice`. Sets the process's thread count and malloc's thresholds."""
    if getattr(getattr(model, "architecture", None), "logit_softcap", None) is not None:
        raise UsageError(
            "The fused loss of training does not know capped logits.",
            f"logit_softcap = {model.architecture.logit_softcap}",  # type: ignore[union-attr]
            "train an architecture without logit_softcap",
        )
    device = next(model.parameters()).device
    threads = config.threads or hardware.facts().cores
    torch.set_num_threads(threads)
    if (reason := allocator.keep_big_blocks()) is not None:
        notice(reason)
    chosen, reason = precision.resolve(config.precision, device)
    compiled: list[Any] = []
    if config.compile:
        compiled, refused = compile.compile_blocks(model)
        reason += "; " + (refused or "blocks compiled at the first step")
    notice(f"training on {device} with {threads} threads; {reason}")
    torch.manual_seed(config.seed)
    limit = peak.matmul_peak(chosen, str(device), threads)
    guard, scaler = SpikeGuard(config), LossScaler() if chosen == "float16" else None
    parts: dict[str, Part] = {"guard": guard} | ({} if scaler is None else {"scaler": scaler})
    return Setup(device, chosen, threads, compiled, groups_of(model, config, chosen), objective or Causal(),
                 layout or Alone(), guard, scaler, limit, parts)  # fmt: skip


def groups_of(model: nn.Module, config: TrainConfig, chosen: precision.Precision) -> tuple[Group, ...]:
    """The matrices inside the blocks, and everything else; one group where both have the same optimizer and rate."""
    hidden, rest = split(model)
    dtype = torch.bfloat16 if chosen == "bfloat16" else torch.float32
    options = dict(config.optimizer_options)
    decay = {} if config.weight_decay is None else {"weight_decay": config.weight_decay}
    rate = config.learning_rate or OPTIMIZERS.get(config.optimizer, OPTIMIZERS["adamw"]).learning_rate
    if config.optimizer != "muon" and config.embedding_optimizer in (config.optimizer, "adamw"):
        named = [(name, weight) for name, weight in model.named_parameters()]
        # Norms, biases and other vectors are not pulled to zero.
        matrices = [pair for pair in named if pair[1].ndim > 1]
        vectors = [pair for pair in named if pair[1].ndim <= 1]
        rates = {"matrices": rate, "vectors": config.embedding_learning_rate or rate}
        made = [
            Group("matrices", build(config.optimizer, matrices, options | decay, dtype), rates["matrices"])
        ]
        if vectors:
            made.append(Group("vectors", build(config.optimizer, vectors, options | {"weight_decay": 0.0}, dtype), rates["vectors"]))  # fmt: skip
        return tuple(made)
    other = {"weight_decay": 0.0, "eps": 1e-10} if config.embedding_optimizer == "adamw" else {}
    return (
        Group("blocks", build(config.optimizer, hidden, options | decay, dtype), rate),
        Group(
            "rest",
            build(config.embedding_optimizer, rest, other, dtype),
            config.embedding_learning_rate or 0.005,
        ),
    )
