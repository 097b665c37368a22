"""The optimizers by name, with the rate each is published with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from ownlm.config import nearest
from ownlm.errors import UsageError
from ownlm.train.optimizers.adam import AdamW
from ownlm.train.optimizers.muon import Muon
from ownlm.train.optimizers.optimizer import Named, Optimizer


@dataclass(frozen=True, slots=True)
class Entry:
    kind: type[Optimizer]
    learning_rate: float
    """Peak rate where none is given."""


OPTIMIZERS = {
    "muon": Entry(Muon, 0.02),
    "adamw": Entry(AdamW, 3e-4),
}


def build(name: str, parameters: Named, options: dict[str, Any], dtype: torch.dtype) -> Optimizer:
    """`options` are keywords of the optimizer's constructor; dtype: of Muon's products.

    Raises UsageError for an unknown name or option, with the nearest that is known.
    """
    if name not in OPTIMIZERS:
        raise UsageError("This optimizer is not known.", repr(name), f"did you mean {close}?" if (close := nearest(name, list(OPTIMIZERS))) else f"use one of {', '.join(OPTIMIZERS)}")  # fmt: skip
    kind = OPTIMIZERS[name].kind
    if kind is Muon:
        options = {"dtype": dtype, **options}
    try:
        return kind(parameters, **options)
    except TypeError as error:
        raise UsageError(
            "The optimizer has no such option.", f"{name}: {error}", "see its constructor"
        ) from error
