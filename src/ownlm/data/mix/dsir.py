"""Select the documents that look like a target corpus, by importance resampling over hashed n-grams.

Xie, Santurkar, Ma, Liang 2023, "Data Selection for Language Models via Importance Resampling" (arXiv:2302.03169),
sections 3 and 4: bag-of-n-grams models of the target and of the raw corpus over 10,000 hash buckets of unigrams and
bigrams; log weight = sum over the document's n-grams of log p_target - log p_raw; Gumbel noise added; the k largest
stay, which is sampling k documents without replacement in proportion to their weights.

Deviations: one is added to every bucket count (the paper adds 1e-8 to every probability); documents keep their own
length (the paper cuts all to 128 words), so `per_ngram` offers the mean in place of the sum, since a sum lets long
documents decide; Gumbel noise comes from a hash of seed and document id, so that it does not depend on the order.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

import numpy as np
from pydantic import Field

from ownlm.config import Settings
from ownlm.data.flow.step import Arrays, Note, drop
from ownlm.data.mix.hashed_ngrams import features
from ownlm.data.mix.target import read_texts
from ownlm.errors import DataError
from ownlm.records import Document, Drop


class Dsir(Settings):
    """Importance resampling towards a target. Sketch: 6 bytes per distinct n-gram of a document, about as much as the
    text, at most 60 KB per document; `decide` reads the sketches twice and holds 40 bytes per document."""

    target: Path
    """Text like what is wanted: .txt (one text), .jsonl (objects with "text"), also .gz."""
    keep: float = Field(gt=0)
    """Below 1: share of the documents; from 1 on: number of documents."""
    buckets: int = Field(default=10_000, ge=16, le=65_536)
    """Hash buckets for unigrams and bigrams."""
    per_ngram: bool = False
    """Mean log weight per n-gram in place of the sum: the length of a document then does not decide."""
    temperature: float = Field(default=1.0, ge=0)
    """Scale of the Gumbel noise; 0 takes the documents of largest weight."""
    seed: int = 0
    """Of the Gumbel noise."""

    def sketch(self, documents: Iterator[Document]) -> Arrays:
        numbers, counts, ends, noise = [], [], [0], []
        for document in documents:
            where, count = features(document.text, self.buckets)
            numbers.append(where.astype(np.uint16))
            counts.append(np.minimum(count, (1 << 32) - 1).astype(np.uint32))
            ends.append(ends[-1] + len(where))
            noise.append(self._gumbel(document.id))
        return {
            "bucket": np.concatenate([*numbers, np.zeros(0, np.uint16)]),
            "count": np.concatenate([*counts, np.zeros(0, np.uint32)]),
            "end": np.array(ends, np.int64),
            "noise": np.array(noise, np.float64),
        }

    def decide(self, sketches: Sequence[Arrays]) -> Sequence[Arrays]:
        raw = np.zeros(self.buckets, np.float64)
        for sketch in sketches:
            raw += np.bincount(sketch["bucket"], sketch["count"], self.buckets)
        wanted = target_counts(self.target.resolve(), self.target.stat().st_mtime_ns, self.buckets)
        ratio = np.log(_probabilities(wanted)) - np.log(_probabilities(raw))
        weights, keys = [], []
        for sketch in sketches:
            weight = self._weights(sketch, ratio)
            weights.append(weight)
            keys.append(weight + self.temperature * np.asarray(sketch["noise"]))
        every = np.concatenate([*keys, np.zeros(0)])
        number = min(len(every), round(self.keep * len(every)) if self.keep < 1 else int(self.keep))
        kept = np.zeros(len(every), bool)
        kept[np.argsort(-every, kind="stable")[:number]] = True
        cuts = np.cumsum([len(key) for key in keys])[:-1]
        return [
            {"kept": part.astype(np.uint8), "weight": weight}
            for part, weight in zip(np.split(kept, cuts), weights, strict=True)
        ]

    def apply(self, documents: Iterator[Document], decision: Arrays) -> Iterator[Document | Drop | Note]:
        for number, document in enumerate(documents):
            if decision["kept"][number]:
                meta = {**document.meta, "dsir_log_weight": round(float(decision["weight"][number]), 6)}
                yield Document(document.id, document.text, document.source, document.licence, meta)
            else:
                yield drop(document, "dsir: not selected")

    def _weights(self, sketch: Arrays, ratio: np.ndarray) -> np.ndarray:
        """Log importance weight of every document of a part, float64."""
        count, starts = np.asarray(sketch["count"], np.float64), np.asarray(sketch["end"][:-1])
        some = sketch["end"][1:] > starts
        weight = np.zeros(len(starts))
        if some.any():  # sums of each document by itself: the same bits whatever stands beside it
            weight[some] = np.add.reduceat(ratio[sketch["bucket"]] * count, starts[some])
            if self.per_ngram:
                weight[some] /= np.add.reduceat(count, starts[some])
        return weight

    def _gumbel(self, document_id: str) -> float:
        data = f"{self.seed}\0{document_id}".encode("utf-8", "surrogatepass")
        bits = int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little") >> 11
        return -math.log(-math.log((bits + 0.5) / (1 << 53)))


@cache
def target_counts(path: Path, modified: int, buckets: int) -> np.ndarray:
    """n-grams of the target file per bucket, float64; once per process and state of the file."""
    return corpus_counts(read_texts(path), buckets, str(path))


def corpus_counts(texts: Iterator[str], buckets: int, name: str) -> np.ndarray:
    """n-grams per bucket, float64 [buckets]. Raises DataError when there is not one."""
    total = np.zeros(buckets, np.float64)
    for text in texts:
        where, count = features(text, buckets)
        total[where] += count
    if not total.any():
        raise DataError(
            "The target corpus has no words.", name, "give a file with the kind of text that you want"
        )
    return total


def _probabilities(counts: np.ndarray) -> np.ndarray:
    return np.asarray((counts + 1) / (counts.sum() + len(counts)))


def kl_to_target(counts: np.ndarray, target: np.ndarray) -> float:
    """KL(target || corpus) in nats between the smoothed n-gram models of two count vectors: section 5 of the paper."""
    p, q = _probabilities(target), _probabilities(counts)
    return float((p * np.log(p / q)).sum())
