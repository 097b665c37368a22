"""A trained linear scorer: one weight per bucket, the mean over each kind of feature, a calibrated probability.

    logit(text) = scale * (bias + sum over kinds of mean(weight[bucket])) + offset        p = 1 / (1 + exp(-logit))

scale and offset are Platt's (1999), fitted on text that the weights were not trained on. On disk it is one safetensors
file: `weights` float32 [2^bits] and, in the header, the rest as JSON; loading runs no code.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save

from ownlm.data.linear import features
from ownlm.errors import ArtifactError, UsageError
from ownlm.runtime.files import write_atomic

FORMAT = "ownlm.linear.1"


@dataclass(frozen=True, slots=True)
class Linear:
    """What `positive` is: the name of the class whose probability is given, e.g. "good" or "toxic"."""

    weights: np.ndarray  # float32 [2^bits]
    bias: float
    scale: float
    offset: float
    positive: str
    report: dict[str, Any]  # what the trainer measured: held-out AUC with its interval, counts

    @property
    def bits(self) -> int:
        return len(self.weights).bit_length() - 1

    def margin(self, text: str) -> float:
        """The uncalibrated logit. Time linear, memory bounded."""
        sums, counts = np.zeros(features.KINDS), np.zeros(features.KINDS, dtype=np.int64)
        for data in features.pieces(text):
            for kind, found in enumerate(features.buckets(data, self.bits)):
                sums[kind] += self.weights.take(found).sum(dtype=np.float64)
                counts[kind] += len(found)
        return float(self.bias + (sums / np.maximum(counts, 1)).sum())

    def score(self, text: str) -> float:
        """Probability of the positive class, 0 to 1, rounded to 1e-4."""
        logit = self.scale * self.margin(text) + self.offset
        return round(0.5 * (1.0 + math.tanh(logit / 2)), 4)


def write(path: Path, model: Linear) -> None:
    """Raises MachineError when the disk refuses; the file is whole or not there."""
    facts = {
        "format": FORMAT,
        "model": json.dumps(
            {
                "bias": model.bias,
                "scale": model.scale,
                "offset": model.offset,
                "positive": model.positive,
                "report": model.report,
            },
            allow_nan=False,
        ),
    }
    write_atomic(path, save({"weights": model.weights}, facts))


def load(path: Path) -> Linear:
    """Loaded once per process and version of the file. Raises UsageError when absent, ArtifactError when damaged."""
    try:
        facts = path.stat()
    except OSError as error:
        raise UsageError(
            "There is no model file here.", str(path), "make one with `ownlm data train-quality`"
        ) from error
    return _load(path, facts.st_mtime_ns, facts.st_size)


@cache
def _load(path: Path, changed: int, size: int) -> Linear:
    try:
        with safe_open(path, "numpy") as file:
            facts = file.metadata() or {}
            weights = file.get_tensor("weights")
        if facts.get("format") != FORMAT or weights.dtype != np.float32 or not np.isfinite(weights).all():
            raise ValueError(f"format {facts.get('format')!r}, weights {weights.dtype}")
        if weights.ndim != 1 or len(weights) & (len(weights) - 1) or not 8 <= len(weights) <= 1 << 28:
            raise ValueError(f"{weights.shape} weights, not a power of two")
        rest = json.loads(facts["model"])
        bias, scale, offset = (float(rest[name]) for name in ("bias", "scale", "offset"))
        return Linear(weights, bias, scale, offset, str(rest["positive"]), dict(rest["report"]))
    except Exception as error:  # safetensors, json and key errors are one thing to the user
        raise ArtifactError(
            "The linear model cannot be read.",
            f"{path}: {error}",
            "make it again with `ownlm data train-quality`",
        ) from error
