"""Documents that say the same in other words: SemDeDup (Abbas et al. 2023).

Embeddings are grouped by spherical k-means, and only documents of one group are compared, by cosine. Where the paper
puts each document into one group we put it into its two nearest, since near pairs are often cut apart by a border.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from pydantic import Field, model_validator

from ownlm.config import Settings
from ownlm.data.dedup import embed, pairs, roster, words
from ownlm.data.dedup.roster import Keep
from ownlm.data.flow.step import Arrays, Note
from ownlm.errors import DataError, UsageError
from ownlm.records import Document, Drop
from ownlm.runtime.seed import generator

BLOCK = 1024  # documents compared with their group at a time
GROUP = 1000  # documents per group
MOST = 32  # pairs kept per document
ROUNDS = 8
LEARNERS = 100_000  # documents that the centers are learned from
CAPPED = "documents with more than 32 likely duplicates, compared with the first 32"


class SemanticDuplicates(Settings):
    """Drops documents whose embedding is near that of one that stays. Sketch: the id, and 4 bytes per word with the
    own embedding. decide holds 1.6 KB per document (4 bytes per number of a given embedding) and the learned words.
    """

    threshold: float = Field(default=0.8, gt=0, le=1)
    """Least cosine of duplicates. For the own embedding; other embeddings ask for other thresholds."""
    embeddings: Path | None = None
    """A .npy file of your own embeddings, float [rows, width]; without, they are learned from the corpus."""
    embedding_ids: Path | None = None
    """With embeddings: a text file, the document id of each row on its line."""
    min_words: int = Field(default=20, ge=1)
    """Shorter documents are left alone (own embedding only: their embeddings say too little)."""
    keep: Keep = "first"
    """Which of the duplicates stays: the first, the longest, or the best by quality_score."""
    seed: int = 1
    """Of the projection and the groups."""

    @model_validator(mode="after")
    def _agree(self) -> SemanticDuplicates:
        if (self.embeddings is None) != (self.embedding_ids is None):
            raise ValueError("embeddings and embedding_ids go together")
        return self

    def sketch(self, documents: Iterator[Document]) -> Arrays:
        names, rows = roster.Roster(self.keep), []
        for document in documents:
            names.add(document)
            text = "" if self.embeddings else document.text
            rows.append(words.numbers(words.words([text]).hashes))
        tokens, ends = words.joined(rows, np.uint32)
        return {**names.arrays(), "tokens": tokens, "ends": ends}

    def decide(self, sketches: Sequence[Arrays]) -> Sequence[Arrays]:
        rolls = roster.gather(sketches, "ends")
        vectors = self._given(sketches) if self.embeddings else self._learned(sketches)
        by_rank = np.argsort(rolls.rank, kind="stable")
        left, right, capped = near(vectors[by_rank], self.threshold, self.seed)
        of = pairs.by_document(pairs.greedy(left, right, len(by_rank)), rolls.rank)
        return roster.decisions(sketches, of, capped)

    def _learned(self, sketches: Sequence[Arrays]) -> np.ndarray:
        embedder = embed.learn(sketches, self.seed)
        found = [np.zeros((0, 2 * embed.WIDTH), np.float32)]
        for part in sketches:
            vectors = embedder.embed(part["tokens"], part["ends"])
            vectors[np.diff(np.asarray(part["ends"]), prepend=0) < self.min_words] = 0
            found.append(vectors)
        return np.concatenate(found)

    def _given(self, sketches: Sequence[Arrays]) -> np.ndarray:
        if self.embeddings is None or self.embedding_ids is None:
            raise UsageError("No embeddings are given.", "", "set embeddings and embedding_ids")
        rows, lines = _loaded(self.embeddings, self.embedding_ids)
        place = {name: number for number, name in enumerate(lines)}
        chosen = []
        for part in sketches:
            starts = np.concatenate([[0], np.asarray(part["id_ends"])]).tolist()
            letters = np.asarray(part["ids"]).tobytes()
            for first, behind in itertools.pairwise(starts):
                name = letters[first:behind].decode("utf-8")
                if name not in place:
                    raise DataError(
                        "A document has no embedding.", f"{name} is not in {self.embedding_ids}",
                        "make the embeddings of exactly the documents that reach this step",
                    )  # fmt: skip
                chosen.append(place[name])
        vectors = np.asarray(rows[chosen], dtype=np.float32)
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        unit: np.ndarray = vectors / np.where(lengths > 0, lengths, 1)
        return unit

    def apply(self, documents: Iterator[Document], decision: Arrays) -> Iterator[Document | Drop | Note]:
        return roster.apply(documents, decision, "same meaning", CAPPED)


def _loaded(path: Path, ids: Path) -> tuple[np.ndarray, list[str]]:
    try:
        rows: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
        lines = ids.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise UsageError(
            "The embeddings cannot be read.", f"{path}, {ids}: {error}", "write them with numpy.save"
        ) from error
    if rows.ndim != 2 or rows.dtype.kind != "f" or len(rows) != len(lines) or not np.isfinite(rows).all():
        raise UsageError(
            "The embeddings do not fit.",
            f"{path}: {rows.dtype} {rows.shape}, {ids}: {len(lines)} lines",
            "give finite floats [rows, width] and one line per row",
        )
    return rows, lines


def near(vectors: np.ndarray, threshold: float, seed: int) -> pairs.Candidates:
    """Pairs with a cosine of at least `threshold`; vectors float32 [D, W] of length 1 (0: never a duplicate), in order
    of rank. Finds all pairs that share one of their two nearest groups; a document keeps its first MOST partners.
    """
    groups = _groups(vectors, max(1, len(vectors) // GROUP), seed)
    found, num_capped = [np.zeros(0, np.int64)], 0
    order = np.argsort(groups.ravel(), kind="stable")
    members = np.split(order // groups.shape[1], np.cumsum(np.bincount(groups.ravel()))[:-1])
    for group in members:
        group = np.unique(group)
        for first in range(0, len(group), BLOCK):
            block = group[first : first + BLOCK]
            earlier = group[: first + len(block)]
            close = vectors[block] @ vectors[earlier].T >= threshold - 1e-6
            close &= earlier[None, :] < block[:, None]
            place = np.cumsum(close, axis=1)
            num_capped += int((place[:, -1] > MOST).sum())
            right, left = np.nonzero(close & (place <= MOST))
            found.append(earlier[left] * len(vectors) + block[right])
    keys = np.unique(np.concatenate(found))
    return pairs.Candidates(keys // max(1, len(vectors)), keys % max(1, len(vectors)), num_capped)


def _groups(vectors: np.ndarray, count: int, seed: int) -> np.ndarray:
    """int64 [D, 2 or 1]: the nearest centers of spherical k-means (Dhillon and Modha 2001)."""
    if count == 1:
        return np.zeros((len(vectors), 1), dtype=np.int64)
    random = generator(seed, "groups")
    learners = vectors[np.sort(random.permutation(len(vectors))[:LEARNERS])]
    centers = learners[np.sort(random.permutation(len(learners))[:count])]
    for _ in range(ROUNDS):
        nearest = _nearest(learners, centers, 1)[:, 0]
        sums = np.zeros_like(centers)
        np.add.at(sums, nearest, learners)
        lengths = np.linalg.norm(sums, axis=1, keepdims=True)
        centers = np.where(lengths > 0, sums / np.where(lengths > 0, lengths, 1), centers)
    return _nearest(vectors, centers, 2)


def _nearest(vectors: np.ndarray, centers: np.ndarray, count: int) -> np.ndarray:
    rows = [np.zeros((0, count), np.int64)]
    for first in range(0, len(vectors), BLOCK):
        similar = vectors[first : first + BLOCK] @ centers.T
        rows.append(np.argsort(-similar, axis=1, kind="stable")[:, :count])
    return np.concatenate(rows)
