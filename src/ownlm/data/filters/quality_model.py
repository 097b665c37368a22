"""Step `quality_model`: score every document with a linear model that the user trained, and keep the better ones.

The model comes from `ownlm data train-quality`: from labelled texts, or from a good and a bad corpus, as GPT-3 (Brown et
al. 2020, appendix A) and CCNet do. Writes meta "quality_score", the calibrated probability of the positive class.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal

from pydantic import field_validator

from ownlm.config import Settings
from ownlm.data.flow.step import Note, drop
from ownlm.data.linear import model as linear
from ownlm.records import Document, Drop
from ownlm.runtime import seed as seeds


class QualityModel(Settings):
    """Drops "low quality: 0.12". About 15 MB/s per core on pages of 4 kB."""

    model: Path
    """File that `ownlm data train-quality` made."""
    min_score: float = 0.5
    """keep=threshold: documents below this probability are dropped. 0.0 only writes the score."""
    keep: Literal["threshold", "pareto"] = "threshold"
    """pareto keeps a document when a Pareto number (shape `alpha`) is above 1 - score, so that some of the worse ones
    stay and the text does not all become like the good corpus (GPT-3, appendix A: alpha 9)."""
    alpha: float = 9.0
    """Shape of the Pareto distribution: larger keeps fewer documents with low scores."""
    seed: int = 0
    """Of the Pareto numbers. Each document's depends on its id and this alone, not on its place."""

    @field_validator("min_score")
    @classmethod
    def _share(cls, value: float) -> float:
        if not 0.0 <= value <= 1.0:
            raise ValueError("must be between 0 and 1")
        return value

    @field_validator("alpha")
    @classmethod
    def _shape(cls, value: float) -> float:
        if not 0.0 < value < float("inf"):
            raise ValueError("must be above 0")
        return value

    def __call__(self, documents: Iterator[Document]) -> Iterator[Document | Drop | Note]:
        scorer = linear.load(self.model)
        for document in documents:
            score = scorer.score(document.text)
            if self._keeps(document, score):
                yield replace(document, meta={**document.meta, "quality_score": score})
            else:
                yield drop(document, f"low quality: {score:.2f}")

    def _keeps(self, document: Document, score: float) -> bool:
        if self.keep == "threshold":
            return score >= self.min_score
        return seeds.generator(self.seed, "pareto", document.id).pareto(self.alpha) > 1.0 - score
