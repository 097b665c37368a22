"""Train a linear scorer from labelled texts: logistic regression by AdaGrad, then calibration, then an honest test.

AdaGrad (Duchi, Hazan and Singer 2011) suits hashed features: rare ones get large steps. Texts are dealt by their SHA-256
into training (70 %), calibration (10 %) and test (20 %), so equal texts never lie on two sides and the split does not
depend on their order. Classes weigh the same however many texts each has. Same texts in any order and same seed: same
weights. Memory: about 8 bytes per distinct feature of each text, of which training looks at
the first 64 KiB (scoring looks at all).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ownlm.data.linear import features, ranking
from ownlm.data.linear.model import Linear
from ownlm.errors import DataError
from ownlm.runtime import seed as seeds

_FEWEST = 20  # texts of each class: with fewer there is nothing to test on


@dataclass(frozen=True, slots=True)
class Recipe:
    bits: int = 18
    """2^bits weights of 4 bytes: 18 is 1 MB."""
    epochs: int = 5
    rate: float = 1.0
    """Step of AdaGrad."""
    decay: float = 1e-4
    """Each update shrinks the weights that it touches by this share of the step."""
    seed: int = 0


@dataclass(frozen=True, slots=True)
class _Text:
    ids: np.ndarray  # uint32 [F], distinct buckets
    values: np.ndarray  # float32 [F], the share of the text's features of that kind, summed over kinds
    label: float  # 1.0 positive, 0.0 negative
    part: str  # train, calibrate, test
    digest: bytes


def train(
    labelled: Iterable[tuple[str, bool]], positive: str = "good", recipe: Recipe | None = None
) -> Linear:
    """(text, is it positive) pairs -> a calibrated model whose `report` has the held-out AUC with its interval.

    Raises DataError when a class has fewer than 20 distinct texts or a part of the split has one class only.
    """
    recipe = recipe or Recipe()
    texts, repeated = _prepared(labelled, recipe)
    parts = {name: [text for text in texts if text.part == name] for name in ("train", "calibrate", "test")}
    counts = {name: (sum(text.label == 1.0 for text in part), len(part)) for name, part in parts.items()}
    if any(not 0 < ones < total for ones, total in counts.values()) or min(_classes(texts)) < _FEWEST:
        ones, zeros = _classes(texts)
        raise DataError(
            "There are too few labelled texts to train and test on.",
            f"{ones} {positive} and {zeros} other texts, {repeated} more left out as repeated",
            f"give at least {_FEWEST} distinct texts of each class, better some thousands",
        )
    weights, bias = _fit(parts["train"], recipe)
    scale, offset = _platt(*_margins(parts["calibrate"], weights, bias))
    margins, labels = _margins(parts["test"], weights, bias)
    report = _report(scale * margins + offset, labels) | {
        "texts": {name: {"positive": ones, "all": total} for name, (ones, total) in counts.items()},
        "repeated": repeated,
    }
    return Linear(weights, bias, scale, offset, positive, report)


def _prepared(labelled: Iterable[tuple[str, bool]], recipe: Recipe) -> tuple[list[_Text], int]:
    """Distinct texts in the order of their digests, and how many were left out as repeated (first label counts)."""
    found: dict[bytes, _Text] = {}
    total = 0
    for text, label in labelled:
        total += 1
        digest = hashlib.sha256(text.encode("utf-8", "replace")).digest()
        if digest not in found:
            part = "train" if digest[0] < 179 else "calibrate" if digest[0] < 205 else "test"
            found[digest] = _Text(*_vector(text, recipe), float(label), part, digest)
    return [found[digest] for digest in sorted(found)], total - len(found)


def _vector(text: str, recipe: Recipe) -> tuple[np.ndarray, np.ndarray]:
    data = next(features.pieces(text), b"")
    kinds = features.buckets(data, recipe.bits)
    ids = np.concatenate(kinds)
    shares = np.concatenate([np.full(len(kind), 1.0 / max(len(kind), 1)) for kind in kinds])
    distinct, place = np.unique(ids, return_inverse=True)
    return distinct.astype(np.uint32), np.bincount(place, shares, minlength=len(distinct)).astype(np.float32)


def _classes(texts: list[_Text]) -> tuple[int, int]:
    ones = sum(text.label == 1.0 for text in texts)
    return ones, len(texts) - ones


def _fit(texts: list[_Text], recipe: Recipe) -> tuple[np.ndarray, float]:
    ones, zeros = _classes(texts)
    cost = {1.0: len(texts) / (2 * ones), 0.0: len(texts) / (2 * zeros)}
    weights = np.zeros(1 << recipe.bits, dtype=np.float32)
    squares = np.full(1 << recipe.bits, 1e-8, dtype=np.float32)
    bias, bias_square = 0.0, 1e-8
    for epoch in range(recipe.epochs):
        for index in seeds.generator(recipe.seed, "linear", epoch).permutation(len(texts)):
            text = texts[index]
            margin = bias + float(weights[text.ids] @ text.values)
            error = (1.0 / (1.0 + np.exp(-np.clip(margin, -30, 30))) - text.label) * cost[text.label]
            slope = error * text.values + recipe.decay * weights[text.ids]
            squares[text.ids] += slope * slope
            weights[text.ids] -= recipe.rate * slope / np.sqrt(squares[text.ids])
            bias_square += error * error
            bias -= 0.1 * recipe.rate * error / bias_square**0.5
    return weights, float(bias)


def _margins(texts: list[_Text], weights: np.ndarray, bias: float) -> tuple[np.ndarray, np.ndarray]:
    margins = [bias + float(weights[text.ids].astype(np.float64) @ text.values) for text in texts]
    return np.array(margins), np.array([text.label for text in texts])


def _platt(margins: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """Scale (at least a hair above 0) and offset by Newton's method, with Platt's softened targets."""
    ones, zeros = labels.sum(), len(labels) - labels.sum()
    target = np.where(labels == 1.0, (ones + 1) / (ones + 2), 1 / (zeros + 2))
    spread = max(float(np.std(margins)), 1e-9)
    x = np.stack([margins / spread, np.ones_like(margins)], axis=1)
    at = np.array([1.0, 0.0])
    for _ in range(50):
        p = 1.0 / (1.0 + np.exp(-np.clip(x @ at, -30, 30)))
        slope = x.T @ (p - target) + 1e-3 * at
        curve = (x * (p * (1 - p))[:, None]).T @ x + 1e-3 * np.eye(2)
        step = np.linalg.solve(curve, slope)
        at = at - np.clip(step, -2, 2)
        if float(np.abs(step).max()) < 1e-9:
            break
    return max(float(at[0]), 1e-3) / spread, float(at[1])


def _report(logits: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    p = 1.0 / (1.0 + np.exp(-np.clip(logits, -30, 30)))
    found = ranking.area(p[labels == 1.0], p[labels == 0.0])
    precision, recall = ranking.precision_recall(p[labels == 1.0], p[labels == 0.0], 0.5)
    rounded = {"auc": found.auc, "auc_low": found.low, "auc_high": found.high, "brier": float(np.mean((p - labels) ** 2)),
               "precision_at_half": precision, "recall_at_half": recall}  # fmt: skip
    return {name: round(value, 4) for name, value in rounded.items()}
