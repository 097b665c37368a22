"""The optimizers by name, with the rate each is published with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from ownlm.config import nearest
from ownlm.errors import UsageError
from ownlm.train.optimizers.adafactor import Adafactor
from ownlm.train.optimizers.adagrad import AdaGrad
from ownlm.train.optimizers.adam import Adam, AdamW
from ownlm.train.optimizers.adam8bit import Adam8bit
from ownlm.train.optimizers.lamb import LAMB
from ownlm.train.optimizers.lars import LARS
from ownlm.train.optimizers.lion import Lion
from ownlm.train.optimizers.muon import Muon
from ownlm.train.optimizers.optimizer import Named, Optimizer
from ownlm.train.optimizers.rmsprop import RMSProp
from ownlm.train.optimizers.sgd import SGD
from ownlm.train.optimizers.sophia import Sophia


@dataclass(frozen=True, slots=True)
class Entry:
    kind: type[Optimizer]
    learning_rate: float
    """Peak rate where none is given: of the paper, or of the authors' code."""
    bytes_per_weight: float
    """Remembered of a large matrix; about 0: grows with rows + columns only."""


OPTIMIZERS = {
    "muon": Entry(Muon, 0.02, 4),
    "adamw": Entry(AdamW, 3e-4, 8),
    "adam": Entry(Adam, 1e-3, 8),
    "adam8bit": Entry(
        Adam8bit, 3e-4, 2 + 8 / 256
    ),  # as AdamW: the paper's claim is that nothing is tuned anew
    "sgd": Entry(SGD, 0.1, 4),  # of residual networks, He et al. 2015
    "adagrad": Entry(AdaGrad, 0.01, 4),
    "rmsprop": Entry(RMSProp, 1e-3, 4),
    "lion": Entry(Lion, 1e-4, 4),
    "sophia": Entry(Sophia, 1e-4, 8),  # of the authors' code; their runs take 0.8 of AdamW's rate
    "lamb": Entry(LAMB, 6.25e-4, 8),  # 512 rows a step; grows with the square root of the rows
    "lars": Entry(LARS, 2.0, 4),  # 512 images a step
    "adafactor": Entry(Adafactor, 1e-2, 0),  # of its relative steps
}


ELEMENTWISE = frozenset({"adamw", "adam", "sgd", "adagrad", "rmsprop", "lion"})
"""Every entry is updated by itself, so a shard of a weight is updated as within the whole. All others need it whole."""


def build(
    name: str, parameters: Named, options: dict[str, Any], dtype: torch.dtype,
    mine: Callable[[Named, bool], Named] | None = None,
) -> Optimizer:  # fmt: skip
    """`options` are keywords of the optimizer's constructor; dtype: of Muon's products; mine: see Layout.mine.

    Raises UsageError for an unknown name or option, with the nearest that is known.
    """
    if name not in OPTIMIZERS:
        raise UsageError("This optimizer is not known.", repr(name), f"did you mean {close}?" if (close := nearest(name, list(OPTIMIZERS))) else f"use one of {', '.join(OPTIMIZERS)}")  # fmt: skip
    if mine is not None:
        parameters = mine(parameters, name in ELEMENTWISE)
    kind = OPTIMIZERS[name].kind
    if kind is Muon:
        options = {"dtype": dtype, **options}
    try:
        return kind(parameters, **options)
    except TypeError as error:
        raise UsageError(
            "The optimizer has no such option.", f"{name}: {error}", "see its constructor"
        ) from error
