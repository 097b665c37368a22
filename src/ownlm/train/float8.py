"""8-bit floating point, simulated in float32: what training loses in it, on any machine, without its speed.

    y  = Q43(x) Q43(W)^T + b             forward: E4M3
    dx = Q52(dy) Q43(W),  dW = Q52(dy)^T Q43(x)      backward: the gradient in E5M2

    Q(t) = round(clamp(t s)) / s,   s = largest number of the format / 2^margin / (largest |t| of the last 16 steps)

Formats and recipe: Micikevicius et al. 2022, arXiv:2209.05433, tables 1 and 2; delayed scaling per tensor as in
Transformer Engine: the scale of a step comes from the steps before it, so that one pass over a tensor is enough.
Deviations: the first step scales by its own largest value (with a scale of 1 its gradients would round to zero); what
is not finite stays so, where the hardware would turn it into the largest number and hide a damaged model; products
add up in float32; the linear layers inside the blocks alone, as in the papers: not embedding, output layer, attention.

The model is untouched: its parameters keep their names and float32, and outside `active` it computes as ever.

Letters: L linear layers, S steps remembered, N rows of a product, I and O widths of a layer.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ownlm.errors import ArtifactError, UsageError
from ownlm.train.health.steplog import StepLog

HISTORY_STEPS = 16
TENSORS = ("input", "weight", "gradient")


@dataclass(frozen=True, slots=True)
class Format:
    """1 sign bit, `mantissa_bits`, the other bits are exponent."""

    mantissa_bits: int
    smallest_exponent: int
    """Of a normal number; below it the spacing stays (subnormal numbers)."""
    largest: float


E4M3 = Format(3, -6, 448.0)
"""No infinities: the codes they would take hold numbers up to 448."""
E5M2 = Format(2, -14, 57344.0)


def rounded(x: Tensor, form: Format) -> Tensor:
    """float32 of any shape -> the nearest numbers of the format, ties to even, saturated; float32 again.

    NaN and infinities stay.
    """
    bounded = x.clamp(-form.largest, form.largest)
    # The exponent bits alone, read as a number, are the power of two at or below |x|.
    power = (bounded.contiguous().view(torch.int32) & 0x7F800000).view(torch.float32)
    spacing = power.clamp(min=2.0**form.smallest_exponent) * 2.0**-form.mantissa_bits
    near = (bounded / spacing).round() * spacing  # exact but for the rounding: spacings are powers of two
    return torch.where(x.isinf(), x, near)


class Float8:
    """The scales of a run, and the switch that makes its linear layers use them. A Part of the checkpoint."""

    def __init__(self, model: nn.Module, margin: int = 0) -> None:
        """margin: powers of two left free above the largest value seen. Raises UsageError without a linear layer."""
        found = [(name, module) for name, module in model.named_modules()
                 if type(module) is nn.Linear and "blocks." in name]  # fmt: skip
        if not found:
            raise UsageError("There is nothing to compute in float8.", "no linear layer inside blocks",
                             "choose another precision")  # fmt: skip
        self.names, self.layers = [name for name, _ in found], [module for _, module in found]
        device = self.layers[0].weight.device
        shape = (len(found), len(TENSORS))
        self.largest = (
            torch.tensor([E4M3.largest, E4M3.largest, E5M2.largest], device=device) / 2.0**margin
        )  # [3]
        self.history = torch.zeros(*shape, HISTORY_STEPS, device=device)  # [L,3,S] largest |t|, newest last
        self.seen = torch.zeros(shape, device=device)  # [L,3] largest |t| of this step so far

    def scales(self) -> Tensor:
        """[L, 3] factors on input, weight and gradient; 0 where nothing was seen yet."""
        most = self.history.amax(dim=2)
        return torch.where(most > 0, self.largest / most.clamp(min=torch.finfo(torch.float32).tiny), 0.0)

    @contextmanager
    def active(self) -> Iterator[None]:
        """Inside, the layers compute in float8. Backward passes belong inside or after it, as autograd likes."""
        scales = self.scales()
        for number, layer in enumerate(self.layers):
            layer.forward = partial(self._linear, layer, number, scales)  # type: ignore[method-assign]
        try:
            yield
        finally:
            for layer in self.layers:
                del layer.forward

    def forget_step(self) -> None:
        """The step was not trained: what it showed leaves no trace."""
        self.seen.zero_()

    def end_step(self) -> None:
        """What this step showed goes into the history; what was not finite, or not used (an expert), does not."""
        usable = self.seen.isfinite() & (self.seen > 0)
        newest = torch.where(usable, self.seen, self.history[:, :, -1])
        self.history = torch.cat((self.history[:, :, 1:], newest[:, :, None]), dim=2)
        self.seen = torch.zeros_like(self.seen)

    def _linear(self, layer: nn.Linear, number: int, scales: Tensor, x: Tensor) -> Tensor:
        out: Tensor = _Linear.apply(x, layer.weight, layer.bias, self, number, scales[number])  # type: ignore[no-untyped-call]
        return out

    def quantized(self, t: Tensor, number: int, which: int, scales: Tensor) -> Tensor:
        """Q(t); notes its largest value."""
        most = t.abs().amax()
        self.seen[number, which] = torch.maximum(self.seen[number, which], most)
        own = self.largest[which] / most.clamp(min=1e-30)
        scale = torch.where(scales[which] > 0, scales[which], own)
        return rounded(t.float() * scale, E5M2 if which == 2 else E4M3) / scale

    def state(self) -> dict[str, Tensor]:
        return {"history": self.history, "layers": _as_bytes(self.names)}

    def load(self, state: Mapping[str, Tensor]) -> None:
        if state["history"].shape != self.history.shape or not torch.equal(
            state["layers"], _as_bytes(self.names)
        ):
            raise ArtifactError("The checkpoint's float8 history is of other layers.",
                                f"{tuple(state['history'].shape)} saved, {tuple(self.history.shape)} in this run",
                                "remove the checkpoints folder to start afresh")  # fmt: skip
        self.history = state["history"].to(self.history.device).clone()
        self.seen.zero_()

    def log(self, step: int, log: StepLog) -> None:
        """One line: the scales that step + 1 computes with."""
        values = self.scales().tolist()
        log.append(step, {"scales": {name: dict(zip(TENSORS, row, strict=True)) for name, row in zip(self.names, values, strict=True)}})  # fmt: skip


def saved_history(checkpoint: Path) -> dict[str, list[list[float]]]:
    """A checkpoint's folder -> layer: largest |input|, |weight|, |gradient| of its last 16 steps, oldest first.

    Raises ArtifactError where the run was not in float8.
    """
    from ownlm.train import checkpoint as checkpoints

    run = checkpoints.read(checkpoint).run
    if "float8.history" not in run:
        raise ArtifactError("This checkpoint has no float8 history.", str(checkpoint), "train with precision=float8")  # fmt: skip
    names: list[str] = json.loads(bytes(run["float8.layers"].tolist()))
    return dict(zip(names, run["float8.history"].tolist(), strict=True))


def _as_bytes(names: list[str]) -> Tensor:
    return torch.tensor(list(json.dumps(names).encode()), dtype=torch.uint8)


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, state: Float8, number: int, scales: Tensor) -> Tensor:  # fmt: skip
        ctx.state, ctx.number, ctx.scales, ctx.has_bias = state, number, scales, bias is not None
        narrow = state.quantized(x, number, 0, scales)  # [...,I]
        matrix = state.quantized(weight, number, 1, scales)  # [O,I]
        ctx.save_for_backward(narrow, matrix)
        return F.linear(narrow, matrix, bias)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        narrow, matrix = ctx.saved_tensors
        (gradient,) = upstream  # [...,O]
        quantized = ctx.state.quantized(gradient, ctx.number, 2, ctx.scales)
        for_weight = quantized.flatten(0, -2).t() @ narrow.flatten(0, -2)  # [O,I] from [N,O] and [N,I]
        for_bias = gradient.flatten(0, -2).sum(0) if ctx.has_bias else None
        return quantized @ matrix, for_weight, for_bias, None, None, None
