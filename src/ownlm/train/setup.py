"""What a run decides once, before its first step: precision, compilation, threads, allocator, optimizers, peak."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ownlm.errors import UsageError
from ownlm.runtime import hardware
from ownlm.train import allocator, compile, peak, precision, recompute
from ownlm.train.config import TrainConfig
from ownlm.train.float8 import Float8
from ownlm.train.health.spikes import SpikeGuard
from ownlm.train.ladder.mup import rate_groups
from ownlm.train.master_weights import MasterWeights
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
    recompute: recompute.Recompute = "none"
    float8: Float8 | None = None
    master: MasterWeights | None = None  # with 16-bit weights only

    @contextmanager
    def installed(self, model: nn.Module) -> Iterator[None]:
        """Inside, the model computes as this run does: compiled, sparing activations, in 8 bits. Holds a step's
        forward and backward; outside the model is what it was."""
        with ExitStack() as stack:
            stack.enter_context(compile.compiled(model, self.compiled))
            if self.recompute != "none":
                stack.enter_context(recompute.recomputed(model, self.recompute))
            if self.float8 is not None:
                stack.enter_context(self.float8.active())
            yield

    def update(self, rate: float) -> None:
        """One optimizer step at `rate` of the peak rates."""
        if self.master is not None:
            self.master.before_update()
        self.layout.before_update()
        for group in self.groups:
            group.optimizer.step(group.learning_rate * rate)
        self.layout.after_update()
        if self.master is not None:
            self.master.after_update()
        if self.float8 is not None:
            self.float8.end_step()

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
    chosen, reason = precision.resolve(config.precision, device, config.weights)
    compiled: list[Any] = []
    check_precision(model, config, chosen, layout or Alone())
    if config.compile and chosen == "float8":
        reason += "; not compiled: the 8-bit simulation is eager"
    elif config.compile and config.recompute == "attention":
        reason += "; not compiled: recompute = attention chooses among operations, which compiled code hides"
    elif config.compile:
        compiled, refused = compile.compile_blocks(model)
        reason += "; " + (refused or "blocks compiled at the first step")
    notice(f"training on {device} with {threads} threads; {reason}")
    torch.manual_seed(config.seed)
    limit = peak.matmul_peak(chosen, str(device), threads)
    guard, scaler = SpikeGuard(config), LossScaler() if chosen == "float16" else None
    parts: dict[str, Part] = {"guard": guard} | ({} if scaler is None else {"scaler": scaler})
    groups, float8, master = groups_of(model, config, chosen, layout or Alone()), None, None
    if chosen == "float8":
        parts["float8"] = float8 = Float8(model)
    if config.weights == "bfloat16":
        parts["master"] = master = MasterWeights(model, torch.bfloat16)
    return Setup(device, chosen, threads, compiled, groups, objective or Causal(), layout or Alone(), guard, scaler,
                 limit, parts, config.recompute, float8, master)  # fmt: skip


def check_precision(
    model: nn.Module, config: TrainConfig, chosen: precision.Precision, layout: Layout
) -> None:
    """Raises UsageError for what does not go together. A model in 16 bits gets its float32 weights back first."""
    if layout.num_processes > 1 and (chosen == "float8" or config.weights != "float32"):
        raise UsageError(
            "Float8 and 16-bit weights are for one process.",
            f"precision = {chosen}, weights = {config.weights}, {layout.num_processes} processes",
            "set precision to bfloat16 and weights to float32",
        )
    if config.weights != "float32":
        model.float()
    recompute.check(model, config.recompute)


def groups_of(model: nn.Module, config: TrainConfig, chosen: precision.Precision, layout: Layout = Alone()) -> tuple[Group, ...]:  # fmt: skip
    """The matrices inside the blocks, and everything else; one group where both have the same optimizer and rate."""
    hidden, rest = split(model)
    dtype = torch.bfloat16 if chosen == "bfloat16" else torch.float32
    options = dict(config.optimizer_options)
    decay = {} if config.weight_decay is None else {"weight_decay": config.weight_decay}
    rate = config.learning_rate or OPTIMIZERS.get(config.optimizer, OPTIMIZERS["adamw"]).learning_rate
    if config.base_width is not None:  # muP: one rate found at that width serves every width
        mup_groups = rate_groups(model, config.base_width, config.optimizer)
        return tuple(Group(name, build(config.optimizer, weights, options | ({"weight_decay": 0.0} if name == "vectors" else decay), dtype, layout.mine), rate * factor)
                     for name, weights, factor in mup_groups)  # fmt: skip
    if config.optimizer != "muon" and config.embedding_optimizer in (config.optimizer, "adamw"):
        named = [(name, weight) for name, weight in model.named_parameters()]
        # Norms, biases and other vectors are not pulled to zero.
        matrices = [pair for pair in named if pair[1].ndim > 1]
        vectors = [pair for pair in named if pair[1].ndim <= 1]
        rates = {"matrices": rate, "vectors": config.embedding_learning_rate or rate}
        made = [
            Group(
                "matrices",
                build(config.optimizer, matrices, options | decay, dtype, layout.mine),
                rates["matrices"],
            )
        ]
        if vectors:
            made.append(Group("vectors", build(config.optimizer, vectors, options | {"weight_decay": 0.0}, dtype, layout.mine), rates["vectors"]))  # fmt: skip
        return tuple(made)
    other = {"weight_decay": 0.0, "eps": 1e-10} if config.embedding_optimizer == "adamw" else {}
    return (
        Group("blocks", build(config.optimizer, hidden, options | decay, dtype, layout.mine), rate),
        Group(
            "rest",
            build(config.embedding_optimizer, rest, other, dtype, layout.mine),
            config.embedding_learning_rate or 0.005,
        ),
    )
