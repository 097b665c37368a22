"""What a run decides once, before its first step: precision, compilation, threads, allocator, optimizers, peak."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ownlm.errors import UsageError
from ownlm.runtime import hardware
from ownlm.train import allocator, compile, optimizers, peak, precision
from ownlm.train.config import TrainConfig


@dataclass(frozen=True, slots=True)
class Setup:
    device: torch.device
    precision: precision.Precision
    threads: int
    compiled: list[Any]  # the compiled call of every block; empty: eager
    optimizers: tuple[optimizers.AdamW, optimizers.Muon]
    output_weight: nn.Parameter  # [V,D]
    peak: float  # operations per second of this machine's matrix products in this precision

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
        }


def prepare(model: nn.Module, config: TrainConfig, notice: Callable[[str], None]) -> Setup:
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
    hidden, rest = optimizers.split(model)
    dtype = torch.bfloat16 if chosen == "bfloat16" else torch.float32
    pair = (optimizers.AdamW(rest), optimizers.Muon(hidden, weight_decay=config.weight_decay, dtype=dtype))
    output = getattr(model, "output", None)
    weight = model.embedding.weight if output is None else output.weight  # type: ignore[union-attr]
    torch.manual_seed(config.seed)
    limit = peak.matmul_peak(chosen, str(device), threads)
    return Setup(device, chosen, threads, compiled, pair, weight, limit)  # type: ignore[arg-type]
