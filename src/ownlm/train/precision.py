"""In which number format the matrix products run. Weights, gradients and optimizer state stay float32."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch

from ownlm.runtime.hardware import facts

Precision = Literal["float32", "bfloat16", "float16", "float8"]


def resolve(
    wanted: Literal["auto", "float32", "bfloat16", "float16", "float8"],
    device: torch.device,
    weights: Literal["float32", "bfloat16"] = "float32",
) -> tuple[Precision, str]:
    """The format and the reason for it, as one sentence.

    bfloat16 without native instructions is 50 times slower than float32, so `auto` asks the hardware.
    """
    if wanted != "auto":
        return wanted, f"{wanted}: asked for"
    if weights == "bfloat16":
        return "bfloat16", "bfloat16: the weights are"
    if device.type == "cuda":
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return "bfloat16", "bfloat16: this GPU has it"
        return "float32", "float32: this GPU has no bfloat16"
    if facts().has_bf16:
        return "bfloat16", "bfloat16: this processor has the instructions"
    return "float32", "float32: this processor has no bfloat16 instructions"


def autocast(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    """Matrix products in `precision`; sums, norms and softmax as torch's autocast lists say."""
    if precision in ("float32", "float8"):
        return nullcontext()
    return torch.autocast(device.type, dtype=torch.float16 if precision == "float16" else torch.bfloat16)
