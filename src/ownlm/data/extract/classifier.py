"""How likely each block is main text: a small network over the rows of features.py, run in NumPy.

    h = relu(X A + a)                        [block, H]   each block by itself
    c = [h of the 3 before ... 3 after, mean of h over the page]
    p = sigmoid(relu(c B + b) C + c0)        [block]

The weights lie in weights.json beside this file; bench/extraction_training.py makes them. Kept in float64 and rounded,
so that a page is read alike on every machine. Why a network and not rules: such rules have dozens of
thresholds that someone tunes by hand; these are fitted, and cross-validated, in the open (see the training script).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ownlm.data.extract.features import NAMES, Floats
from ownlm.errors import ArtifactError

REACH = 3  # blocks to either side that a block is judged with
_DECIMALS = 6

Doubles = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Weights:
    first: Doubles  # A [feature, H]
    first_bias: Doubles
    second: Doubles  # B [(2 REACH + 2) H, K]
    second_bias: Doubles
    last: Doubles  # C [K]
    last_bias: float


@cache
def weights() -> Weights:
    """Raises ArtifactError when the file does not belong to these features."""
    text = resources.files("ownlm.data.extract").joinpath("weights.json").read_text("utf-8")
    value = json.loads(text)
    if value["features"] != list(NAMES):
        raise ArtifactError(
            "the weights of the extractor were made for other features",
            f"{len(value['features'])} features, {len(NAMES)} here",
            "python bench/extraction_training.py makes new ones",
        )
    return join(value["nets"])


def join(nets: list[dict[str, Any]]) -> Weights:
    """Several nets as one wider net whose logit is the mean of theirs (B is block-diagonal per place)."""
    parts = [{name: np.array(value, dtype=np.float64) for name, value in net.items()} for net in nets]
    width, out = parts[0]["first"].shape[1], parts[0]["second"].shape[1]
    places, num = 2 * REACH + 2, len(parts)
    second = np.zeros((places, num * width, num * out))
    for index, part in enumerate(parts):
        columns = slice(index * out, (index + 1) * out)
        second[:, index * width : (index + 1) * width, columns] = part["second"].reshape(places, width, out)
    return Weights(
        first=np.concatenate([part["first"] for part in parts], axis=1),
        first_bias=np.concatenate([part["first_bias"] for part in parts]),
        second=second.reshape(places * num * width, num * out),
        second_bias=np.concatenate([part["second_bias"] for part in parts]),
        last=np.concatenate([part["last"] for part in parts]) / num,
        last_bias=float(np.mean([part["last_bias"] for part in parts])),
    )


def probabilities(rows: Floats, net: Weights) -> Doubles:
    """[block] between 0 and 1, from float32 [block, feature]."""
    num = len(rows)
    hidden = np.maximum(rows @ net.first + net.first_bias, 0.0)
    padded = np.zeros((num + 2 * REACH, hidden.shape[1]))
    padded[REACH : REACH + num] = hidden
    mean = np.broadcast_to(hidden.mean(axis=0), hidden.shape)
    context = np.concatenate([*(padded[at : at + num] for at in range(2 * REACH + 1)), mean], axis=1)
    second = np.maximum(context @ net.second + net.second_bias, 0.0)
    logits = second @ net.last + net.last_bias
    return np.round(1.0 / (1.0 + np.exp(-np.clip(logits, -40.0, 40.0))), _DECIMALS)
