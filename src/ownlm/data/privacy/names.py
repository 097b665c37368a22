"""The name model: people, organisations, places, nationalities, jobs and addresses in running text.

A linear chain over hashed features with the Viterbi path as its answer, trained as an averaged structured perceptron
(Collins 2002) by training.py; inference is NumPy, in integers, so it is the same on every machine. It knows no
document: each piece of text is judged by itself.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

import numpy as np
import xxhash
from safetensors import SafetensorError
from safetensors.numpy import load_file

from ownlm import errors
from ownlm.data.privacy import features
from ownlm.data.privacy.addresses import assembled, firms
from ownlm.data.privacy.finding import Finding
from ownlm.data.privacy.wordtable import WordTable

LABELS = ("O", "PERSON", "GPE", "ORGANIZATION", "NRP", "STREET_ADDRESS", "ZIP_CODE", "TITLE")
DOUBT = 20  # taken from the score of O: a name that stays does more harm than a word that goes
_CAPITALISED = ("PERSON", "GPE", "ORGANIZATION", "NRP")
AT_ONCE = 150_000  # characters judged together at most, for 100 MB of memory at most
WEIGHTS = Path(__file__).with_name("names.safetensors")


@dataclass(frozen=True, eq=False)
class NameModel:
    """weights: [2 ** BITS, L] int8; follow: [L, L] int32, from label to label, in the same unit; common: 32-bit
    hashes of words that are mostly written small."""

    weights: np.ndarray
    follow: np.ndarray
    common: frozenset[int]

    def hashes(self, words: list[str]) -> np.ndarray:
        """[T, COLUMNS] uint64."""
        found = [features.word_hashes(word, self.known(word)) for word in words]
        return np.array(found, np.uint64).reshape(len(words), features.COLUMNS)

    def known(self, word: str) -> int:
        """1: a word mostly written small; 2: two such words written as one, as firms like it; 0: neither."""
        lower = word.lower()
        if self._common(lower):
            return 1
        halves = range(3, len(lower) - 3) if 7 <= len(lower) <= 24 else ()
        return 2 * any(self._common(lower[:cut]) and self._common(lower[cut:]) for cut in halves)

    def _common(self, lower: str) -> bool:
        return xxhash.xxh32_intdigest(lower.encode()) in self.common

    @cached_property
    def table(self) -> WordTable:
        return WordTable(self.weights, self.hashes)

    @cached_property
    def packed(self) -> np.ndarray:
        """[2 ** BITS]: the eight weights of a row as one number, to be taken in one go."""
        packed: np.ndarray = np.ascontiguousarray(self.weights).view(np.int64)[:, 0]
        return packed

    def scores(self, words: list[str | None]) -> np.ndarray:
        """[T, L] int32 for words with gaps (None) between texts: the sums over features.rows, word by word."""
        ids, hashes, says = self.table.look_up(words)
        wide = features.padded(hashes[ids])
        left, right = features.anchors(wide)
        places = np.concatenate((np.zeros(features.REACH, np.int64), ids, np.zeros(features.REACH, np.int64)))
        scores = says[features.SLOTS - 2].take(places[left], axis=0)
        scores += says[features.SLOTS - 1].take(places[right], axis=0)
        for slot in range(2 * features.REACH + 1):
            scores += says[slot].take(places[slot : slot + len(ids)], axis=0)
        # A row of eight 8-bit weights is taken as one 64-bit number.
        rows = features.joint_rows(wide, left, right)
        joint = self.packed.take(rows).view(np.int8).reshape(*rows.shape, len(LABELS))
        sums: np.ndarray = scores + joint.sum(axis=0, dtype=np.int32)
        return sums

    def labels(self, texts: Sequence[list[str]]) -> list[np.ndarray]:
        """The best path through the words of every text, [T] indices of LABELS each. One batch, for speed only: no
        text sees another."""
        gap = (None,) * features.REACH
        lengths = np.array([len(words) for words in texts], np.int64)
        starts = np.cumsum(lengths + features.REACH) - lengths
        scores = self.scores([*gap, *(word for words in texts for word in (*words, *gap))])
        scores[:, 0] -= DOUBT
        return viterbi_many(scores, starts, lengths, self.follow)


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
    labels = follow.shape[0]
    # The label that a best sum came from rides in its lowest bits, so that one maximum gives both; lowest label first.
    shift = max(1, (labels - 1).bit_length())
    kind = np.int32 if len(running) < 4096 else np.int64
    step = ((follow.astype(kind) << shift) + (labels - 1 - np.arange(labels, dtype=kind))[:, None])[
        :, :, None
    ]
    best = np.zeros((labels, len(size)), kind)
    back = np.zeros((len(running), labels, len(size)), np.int8)
    for t, count in enumerate(running.tolist()):
        here = scores[begin[:count] + t].T.astype(kind)
        if t:
            reached = ((best[:, None, :count] << shift) + step).max(axis=0)  # over from: [to, count]
            back[t, :, :count] = labels - 1 - (reached & ((1 << shift) - 1))
            here += reached >> shift
        best[:, :count] = here
    path = np.zeros((len(running), len(size)), np.int64)
    label = best.argmax(axis=0)  # the last label of every text
    for t in range(len(running) - 1, -1, -1):
        count = int(running[t])
        path[t, :count] = label[:count]
        label[:count] = back[t, label[:count], np.arange(count)]
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


def find(texts: Sequence[str]) -> Iterator[list[Finding]]:
    """Per text the runs of one label, without the line breaks and signs at their ends, addresses put together; and,
    where a person's full name was found, the same words elsewhere in that text."""
    first = size = 0
    for last, text in enumerate(texts):
        if size + len(text) > AT_ONCE and size:
            yield from _find(texts[first:last])
            first, size = last, 0
        size += len(text)
    yield from _find(texts[first:])


def _find(texts: Sequence[str]) -> Iterator[list[Finding]]:
    parts = [features.SPLIT.split(text) for text in texts]  # gap, word, gap, word, ..., gap
    paths = model().labels([row[1::2] for row in parts])
    for text, row, path in zip(texts, parts, paths, strict=True):
        yield list(assembled(text, list(firms(text, list(_runs(text, row, path)))))) if path.any() else []


def _runs(text: str, parts: list[str], path: np.ndarray) -> Iterator[Finding]:
    words = parts[1::2]
    labels = _spread(words, path.tolist())
    ends = list(itertools.accumulate(map(len, parts)))
    first = 0
    for label, run in itertools.groupby(labels):
        last = first + len(list(run))
        kind = LABELS[label]
        if label and (kind not in _CAPITALISED or _is_name(words, first, last)):
            yield from _run(
                text,
                list(zip(ends[2 * first : 2 * last : 2], ends[2 * first + 1 : 2 * last : 2], strict=True)),
                kind,
            )
        first = last


def _is_name(words: list[str], first: int, last: int) -> bool:
    """Not so when all its words are ordinary. Who writes capitals writes them in names: what is small there is none, but
    for well-known peoples and countries."""
    run = words[first:last]
    if any(word[0].isupper() for word in run):
        return True
    capitals = (len(words) > 8 and words[0][0].isupper()) or any(
        len(word) > 1 and word[0].isupper() for word in words[1:]
    )
    return not all(_ordinary(word, capitals) for word in run)


def _ordinary(word: str, capitals: bool) -> bool:
    """A small word or a sign: alone, no name is made of these."""
    if not word.islower():
        return not any(map(str.isalnum, word))
    return model().known(word) == 1 or (capitals and not features.is_people_or_country(word))


def _spread(words: list[str], labels: list[int]) -> list[int]:
    """A capitalised word that is part of a person's name here is one wherever it stands, unless it is a common word
    that follows no name."""
    person = LABELS.index("PERSON")
    if person not in labels:
        return labels
    names = {
        word
        for word, label in zip(words, labels, strict=True)
        if label == person and len(word) > 2 and word[0].isupper()
    }
    if sum(map(words.count, names)) == labels.count(person):
        return labels
    spread = list(labels)
    for place, word in enumerate(words):
        after_one = place > 0 and spread[place - 1] == person
        if spread[place] == 0 and word in names and (after_one or model().known(word) != 1):
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
