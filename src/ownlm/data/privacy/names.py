"""The name model: people, organisations, places, nationalities, jobs and addresses in running text.

A linear chain over hashed features with the Viterbi path as its answer, trained as an averaged structured perceptron
(Collins 2002) by training.py; inference is NumPy, in integers, so it is the same on every machine. It knows no
document: each piece of text is judged by itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

import numpy as np
import xxhash
from safetensors import SafetensorError
from safetensors.numpy import load_file

from ownlm import errors
from ownlm.data.privacy import features
from ownlm.data.privacy.finding import Finding

LABELS = ("O", "PERSON", "GPE", "ORGANIZATION", "NRP", "STREET_ADDRESS", "ZIP_CODE", "TITLE")
DOUBT = 20  # taken from the score of O: a name that stays does more harm than a word that goes
_CAPITALISED = ("PERSON", "GPE", "ORGANIZATION", "NRP")
WEIGHTS = Path(__file__).with_name("names.safetensors")


@dataclass(frozen=True, slots=True, eq=False)
class NameModel:
    """weights: [2 ** BITS, L] int8; follow: [L, L] int32, from label to label, in the same unit; common: 32-bit
    hashes of words that are mostly written small."""

    weights: np.ndarray
    follow: np.ndarray
    common: frozenset[int]

    def hashes(self, words: list[str]) -> np.ndarray:
        """[T, COLUMNS] uint64."""
        joined = b"".join([_word(self, word) for word in words])
        return np.frombuffer(joined, "<u8").reshape(len(words), features.COLUMNS)

    def known(self, word: str) -> int:
        return int(xxhash.xxh32_intdigest(word.lower().encode()) in self.common)

    def labels(self, texts: Sequence[list[str]]) -> list[np.ndarray]:
        """The best path through the words of every text, [T] indices of LABELS each. One batch, for speed only: no
        text sees another."""
        gap = np.full((features.REACH, features.COLUMNS), features.NOTHING, np.uint64)
        padded = np.concatenate([part for words in texts for part in (self.hashes(words), gap)] or [gap])
        lengths = np.array([len(words) for words in texts], np.int64)
        starts = np.cumsum(lengths + features.REACH) - lengths - features.REACH
        rows = features.rows(padded)
        scores = np.take(self.weights, rows, axis=0).sum(axis=1, dtype=np.int32)
        scores[:, 0] -= DOUBT
        return viterbi_many(scores, starts, lengths, self.follow)


@lru_cache(maxsize=1 << 16)
def _word(model: NameModel, word: str) -> bytes:
    return features.word_hashes(word, model.known(word))


def viterbi(scores: np.ndarray, follow: np.ndarray) -> np.ndarray:
    """scores [T, L], follow [L, L] (from, to) -> the path [T] with the greatest sum; ties go to the lower label."""
    length, count = scores.shape
    if length == 0:
        return np.zeros(0, np.int64)
    best = scores[0]
    back = np.zeros((length, count), np.int64)
    columns = np.arange(count)
    for t in range(1, length):
        reached = best[:, None] + follow
        back[t] = reached.argmax(axis=0)
        best = reached[back[t], columns] + scores[t]
    path = np.zeros(length, np.int64)
    path[-1] = best.argmax()
    for t in range(length - 1, 0, -1):
        path[t - 1] = back[t, path[t]]
    return path


def viterbi_many(
    scores: np.ndarray, starts: np.ndarray, lengths: np.ndarray, follow: np.ndarray
) -> list[np.ndarray]:
    """viterbi of many texts at once, whose rows of `scores` begin at `starts`: longest first, so that those still
    running at step t are a prefix."""
    if not len(lengths):
        return []
    order = np.argsort(-lengths, kind="stable")
    begin, size = starts[order], lengths[order]
    running = np.searchsorted(-size, -np.arange(int(size[0])), side="left")  # texts longer than t
    best = np.zeros((len(size), follow.shape[0]), np.int64)
    back = np.zeros((len(running), len(size), follow.shape[0]), np.int8)
    for t, count in enumerate(running.tolist()):
        here = scores[begin[:count] + t]
        if t:
            reached = best[:count, :, None] + follow  # [count, from, to]
            back[t, :count] = reached.argmax(axis=1)
            here = here + reached.max(axis=1)
        best[:count] = here
    path = np.zeros((len(running), len(size)), np.int64)
    label = best.argmax(axis=1)  # the last label of every text
    for t in range(len(running) - 1, -1, -1):
        count = int(running[t])
        path[t, :count] = label[:count]
        label[:count] = back[t, np.arange(count), label[:count]]
    found: list[np.ndarray] = [path[:0, 0]] * len(size)
    for column, text in enumerate(order.tolist()):
        found[text] = path[: int(size[column]), column]
    return found


@cache
def model(path: Path = WEIGHTS) -> NameModel:
    """Loaded once per process. Raises ArtifactError when the file is missing or of other shapes."""
    try:
        arrays = load_file(path)
        loaded = NameModel(arrays["weights"], arrays["follow"], frozenset(arrays["common"].tolist()))
        shapes = (loaded.weights.shape, loaded.follow.shape)
    except (OSError, KeyError, ValueError, SafetensorError) as error:
        raise errors.ArtifactError(
            "The name model cannot be read.", f"{path}: {error}", "Reinstall ownlm."
        ) from error
    if shapes != ((1 << features.BITS, len(LABELS)), (len(LABELS), len(LABELS))):
        raise errors.ArtifactError(
            "The name model has other shapes than the code.", f"{path}: {shapes}", "Reinstall ownlm."
        )
    return loaded


def find(texts: Sequence[str]) -> list[list[Finding]]:
    """Per text the runs of one label, without the line breaks and signs at their ends; and, where a person's full
    name was found, the same words elsewhere in that text."""
    spans = [features.tokens(text) for text in texts]
    words = [[text[start:end] for start, end in row] for text, row in zip(texts, spans, strict=True)]
    paths = model().labels(words)
    return [list(_runs(*one)) for one in zip(texts, spans, words, paths, strict=True)]


def _runs(text: str, spans: list[tuple[int, int]], words: list[str], path: np.ndarray) -> Iterator[Finding]:
    labels = _spread(words, path.tolist())
    first = 0
    while first < len(labels):
        last = first
        while last + 1 < len(labels) and labels[last + 1] == labels[first]:
            last += 1
        kind = LABELS[labels[first]]
        if kind != "O" and not (kind in _CAPITALISED and all(map(_ordinary, words[first : last + 1]))):
            yield from _run(text, spans[first : last + 1], kind)
        first = last + 1


def _ordinary(word: str) -> bool:
    """A small common word or a sign: alone, no name is made of these."""
    return not word.isalnum() or (word.islower() and bool(model().known(word)))


def _spread(words: list[str], labels: list[int]) -> list[int]:
    """A capitalised word that is part of a person's name here is one wherever it stands, unless it is a common word
    that follows no name."""
    person = LABELS.index("PERSON")
    names = {
        word
        for word, label in zip(words, labels, strict=True)
        if label == person and len(word) > 2 and word[0].isupper()
    }
    if not names:
        return labels
    spread = list(labels)
    for place, word in enumerate(words):
        after_one = place > 0 and spread[place - 1] == person
        if spread[place] == 0 and word in names and (after_one or not model().known(word)):
            spread[place] = person
    return spread


def _run(text: str, spans: list[tuple[int, int]], kind: str) -> Iterator[Finding]:
    while spans and not text[spans[0][0]].isalnum():
        spans = spans[1:]
    while spans and not text[spans[-1][0]].isalnum():
        spans = spans[:-1]
    if spans:
        start, end = spans[0][0], spans[-1][1]
        if (
            end < len(text)
            and text[end] == "."
            and text[spans[-1][0] : end] in ("Inc", "Ltd", "Co", "Corp", "u", "St")
        ):
            end += 1
        yield Finding(start, end, kind)
