"""Step `by_score`: keep a part of the corpus by a number in its meta: a model's, an attribution's, a person's."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
from pydantic import Field

from ownlm.config import Settings
from ownlm.data.flow.step import Arrays, Note, drop
from ownlm.errors import UsageError
from ownlm.records import Document, Drop


class ByScore(Settings):
    """Keeps the documents whose score is in the wanted part of all scores. Sketch: 8 bytes per document; `decide` holds
    all of them. Documents with equal scores stay or go together, so a part may come out larger than asked."""

    key: str = "model_bits"
    """The meta key of the score; `model_bits` is what a trained model needs per byte (low: it finds the text likely)."""
    fraction: float = Field(gt=0, le=1)
    """Share of the documents that are kept."""
    part: Literal["lowest", "middle", "highest"] = "lowest"
    """Which part: for the bits of a model, lowest drops noise, middle drops what is trivial too (Marion et al. 2023,
    arXiv:2309.04564)."""
    without: Literal["drop", "keep"] = "drop"
    """What becomes of documents that have no score."""

    def sketch(self, documents: Iterator[Document]) -> Arrays:
        return {"score": np.array([self._score(document) for document in documents], np.float64)}

    def decide(self, sketches: Sequence[Arrays]) -> Sequence[Arrays]:
        found = [sketch["score"] for sketch in sketches]
        scores = np.sort(np.concatenate([np.empty(0), *found]))
        scores = scores[~np.isnan(scores)]
        bounds = np.array([math.inf, -math.inf])
        if len(scores):
            count = max(1, round(self.fraction * len(scores)))
            start = {"lowest": 0, "middle": (len(scores) - count) // 2, "highest": len(scores) - count}[
                self.part
            ]
            bounds = scores[[start, start + count - 1]]
        return [{"bounds": bounds} for _ in found]

    def apply(self, documents: Iterator[Document], decision: Arrays) -> Iterator[Document | Drop | Note]:
        low, high = (float(bound) for bound in decision["bounds"])
        for document in documents:
            score = self._score(document)
            if math.isnan(score):
                yield (
                    document
                    if self.without == "keep"
                    else drop(document, f"no score: meta has no {self.key}")
                )
            elif low <= score <= high:
                yield document
            else:
                side, bound = ("low", low) if score < low else ("high", high)
                yield drop(document, f"score too {side}: {self.key} {score:.4g}, bound {bound:.4g}")

    def _score(self, document: Document) -> float:
        """nan where there is none. Raises UsageError for what is no number."""
        value = document.meta.get(self.key, math.nan)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise UsageError(
                "A score is a number.", f"{document.source}: {self.key} = {value!r}", "name another key"
            )
        return float(value)
