"""Step `perplexity`: drop what an n-gram model of good text finds too surprising, or sort it into head, middle, tail.

The model comes from `ownlm data train-perplexity` on the user's good text. Writes meta "perplexity", and with `buckets`
meta "perplexity_bucket" as CCNet does (Wenzek et al. 2020, section 3.3: thirds of each language). The unit is 5 bytes of
text, about one English word (data/perplexity/model.py). Word order counts: shuffled text is more surprising.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal

from pydantic import field_validator

from ownlm.config import Settings
from ownlm.data.flow.step import Note, drop
from ownlm.data.perplexity import model as perplexity
from ownlm.errors import UsageError
from ownlm.records import Document, Drop

Bucket = Literal["head", "middle", "tail"]


class Perplexity(Settings):
    """Drops "perplexity too high: 5210", "perplexity too low: 3" and "perplexity bucket tail: 900"."""

    model: Path
    """File that `ownlm data train-perplexity` made."""
    max_perplexity: float | None = None
    """Documents above are dropped. Without it, and without buckets: the 99th percentile of the model's held-out text."""
    min_perplexity: float = 0.0
    """Documents below are dropped: boilerplate that the model knows by heart. 0.0 drops none."""
    buckets: tuple[float, float] | None = None
    """Upper bounds of head and middle, e.g. the 30th and 60th percentile that the trainer reports; the rest is tail."""
    keep: tuple[Bucket, ...] = ("head", "middle", "tail")
    """Buckets that stay."""

    @field_validator("buckets")
    @classmethod
    def _ordered(cls, value: tuple[float, float] | None) -> tuple[float, float] | None:
        if value is not None and not 0.0 < value[0] < value[1]:
            raise ValueError("give two rising numbers above 0: the bounds of head and middle")
        return value

    @field_validator("keep")
    @classmethod
    def _some(cls, value: tuple[Bucket, ...]) -> tuple[Bucket, ...]:
        if not value:
            raise ValueError("keep at least one of head, middle, tail")
        return value

    def __call__(self, documents: Iterator[Document]) -> Iterator[Document | Drop | Note]:
        judge = perplexity.load(self.model)
        most = self._most(judge)
        for document in documents:
            value = round(judge.perplexity(document.text), 2)
            bucket = self._bucket(value)
            if value > most:
                yield drop(document, f"perplexity too high: {value:.0f}")
            elif value < self.min_perplexity:
                yield drop(document, f"perplexity too low: {value:.0f}")
            elif bucket and bucket not in self.keep:
                yield drop(document, f"perplexity bucket {bucket}: {value:.0f}")
            else:
                found = {"perplexity": value} | ({"perplexity_bucket": bucket} if bucket else {})
                yield replace(document, meta={**document.meta, **found})

    def _most(self, judge: perplexity.Model) -> float:
        if self.max_perplexity is not None or self.buckets is not None:
            return float("inf") if self.max_perplexity is None else self.max_perplexity
        try:
            return float(judge.report["percentiles"]["99"])
        except KeyError as error:
            raise UsageError(
                "There is no threshold: this model was trained on too few documents to measure one.",
                f"{self.model}: {judge.report.get('held_out', 0)} held-out documents",
                "set max_perplexity or buckets",
            ) from error

    def _bucket(self, value: float) -> str:
        if self.buckets is None:
            return ""
        return "head" if value <= self.buckets[0] else "middle" if value <= self.buckets[1] else "tail"
