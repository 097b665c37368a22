"""Evaluation items as sorted word grams, and the places of a document that repeat one, exactly or lightly edited.

Two rules, both on words (word_folding.py):

exact  a run of `ngram` equal words (13: Brown et al. 2020, GPT-3, appendix C), at least `min_hits` such n-grams.
fuzzy  a window of up to 2 x ngram words of an item, of which `share` stand in the document in the same order; at
       most one insertion or deletion of up to two words on either side of the anchor. Windows shorter than `ngram`
       may have one word changed. This is found by SEED equal words in a row as the anchor.

Words of one Latin letter do not count, since they are the names of choices (A. B. C.) as often as articles. An item
without a string of `ngram` words is sought as a whole too, its strings joined. What is no evidence: strings of fewer
than LEAST_WORDS words (an item with nothing longer counts as too short); a string that more than TEMPLATE items share and that is no longer than a window is a form
("Which of the following is true?"); a seed that occurs at more than MOST_PLACES places is not followed. In scripts
without spaces, where a word is one character, all lengths count twice (Han, kana) or three times (Thai ...).

Memory: 16 bytes per word of the items, 4 to 8 for the bitmap, and about 110 per different word.
Letters: W words of the document, T words of all pieces, P pieces, H hits, K words of a window.
"""

from __future__ import annotations

import string
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from itertools import repeat

import numpy as np
import xxhash

from ownlm.data.eval_items import Item
from ownlm.data.word_folding import fold, is_unspaced
from ownlm.runtime.native import kernels

SEED = 5  # gram_hashes is written for five
LEAST_WORDS = 8
LEAST_DISTINCT = 5  # different words, numbers not counted: "P(X = 2, 3, 4, 5, 6, 7)" is no evidence
TEMPLATE = 10
MOST_PLACES = 64
_LETTERS = frozenset(string.ascii_lowercase)
_LETTER = 0xFFFFFFFF
_SHIFTS = (0, -2, -1, 1, 2)
_BLOCK_WORDS = 1 << 16
_BLOCK_HITS = 1 << 13
_SCALE = 3  # the most that lengths count, for pieces of which more than half the words are single characters
_FIRST_HAN = "\u2e80"
_MIX = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9], np.uint64)


@dataclass(frozen=True, slots=True)
class Hit:
    """Words start..end of the document repeat words of a piece of an item."""

    item: str
    kind: str  # "exact" or "fuzzy"
    start: int
    end: int
    share: float  # of the words compared; 1.0 for exact


@dataclass(slots=True)
class Facts:
    """What the index protects; for the report."""

    num_items: int = 0
    num_pieces: int = 0
    num_words: int = 0
    too_short: list[str] = field(default_factory=list)  # names of items that cannot be found
    num_templates: int = 0  # pieces left out as forms
    num_bytes: int = 0


def gram_hashes(ids: np.ndarray) -> np.ndarray:
    """uint64 [W - SEED + 1] of every SEED words in a row, of uint32 [W]."""
    if len(ids) < SEED:
        return np.empty(0, np.uint64)
    wide = ids.astype(np.uint64)
    pairs = wide[:-1] * _MIX[0]  # in three steps: words 0 1, words 0 1 2 3, words 0 1 2 3 4
    pairs += wide[1:]
    fours = pairs[:-2] * _MIX[1]
    fours ^= pairs[2:]
    mixed: np.ndarray = fours[:-1] * _MIX[2]
    mixed += wide[SEED - 1 :]
    mixed ^= mixed >> np.uint64(32)
    mixed *= np.uint64(0x94D049BB133111EB)
    return mixed


class EvalIndex:
    """Built once from all items; read-only afterwards."""

    def __init__(self, items: Iterable[Item], ngram: int, share: float) -> None:
        self.ngram, self.share = ngram, share
        self.facts = Facts()
        self._names: list[str] = []
        # 0 is a word that no item has
        self._vocabulary: dict[str, int] = dict.fromkeys(_LETTERS, _LETTER)
        pieces, scales, owners = self._pieces(items)
        lengths = np.array([len(piece) for piece in pieces], np.int64)
        self._scales = np.array(scales, np.int64)
        self._owners = np.array(owners, np.int64)
        self._begins = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])  # [P + 1]
        self._words = np.concatenate([np.empty(0, np.uint32), *pieces])  # [T]
        self._sort_seeds()
        self.facts.num_pieces, self.facts.num_words = len(lengths), len(self._words)
        self.facts.num_bytes = 110 * len(self._vocabulary) + sum(
            array.nbytes for array in (self._words, self._seeds, self._places, self._bitmap, self._begins, self._owners)
        )  # fmt: skip

    def _pieces(self, items: Iterable[Item]) -> tuple[list[np.ndarray], list[int], list[int]]:
        """Per piece its words [.], how its lengths count, and its item."""
        found: list[tuple[np.ndarray, int, int, bytes]] = []
        seen: Counter[bytes] = Counter()
        for number, item in enumerate(items):
            self._names.append(item.name)
            long = self._evidence(item)
            if not long:
                self.facts.too_short.append(item.name)
            own: dict[bytes, tuple[np.ndarray, int]] = {}
            for piece, scale in long:
                vocabulary = self._vocabulary
                ids = np.array(
                    [vocabulary.setdefault(word, len(vocabulary) + 1) for word in piece], np.uint32
                )
                own[xxhash.xxh3_128_digest(ids.tobytes())] = ids, scale
            seen.update(own.keys())
            found += [(ids, scale, number, digest) for digest, (ids, scale) in own.items()]
        self.facts.num_items = len(self._names)
        kept = [one for one in found if seen[one[3]] <= TEMPLATE or len(one[0]) > 2 * self.ngram * one[1]]
        self.facts.num_templates = len(found) - len(kept)
        return [one[0] for one in kept], [one[1] for one in kept], [one[2] for one in kept]

    def _evidence(self, item: Item) -> list[tuple[list[str], int]]:
        """The pieces that are long and varied enough, with how their lengths count."""
        folded = [fold(piece) for piece in item.pieces]
        scales = [_scale(piece) for piece in folded]
        if len(folded) > 1 and all(len(piece) < self.ngram * scale for piece, scale in zip(folded, scales)):
            folded.append([word for piece in folded for word in piece])
            scales.append(max(scales))
        found = []
        for piece, scale in zip(folded, scales):
            counted = [word for word in piece if word not in _LETTERS]
            varied = sum(not word.isdigit() for word in set(counted)) >= LEAST_DISTINCT
            if varied and len(piece) >= LEAST_WORDS * scale and len(counted) >= LEAST_WORDS * scale - 1:
                found.append((counted, scale))
        return found

    def _sort_seeds(self) -> None:
        grams = gram_hashes(self._words)
        whole = np.ones(len(grams), bool)  # no seed across the border of two pieces
        for back in range(1, SEED):
            borders = self._begins[1:-1] - back
            whole[borders[(borders >= 0) & (borders < len(whole))]] = False
        places = np.flatnonzero(whole)
        order = np.argsort(grams[places], kind="stable")
        self._places = places[order].astype(np.uint32)
        self._seeds = grams[places][order]
        bits = max(16, int(32 * len(places)).bit_length())
        self._shift = np.uint64(64 - bits)
        self._bitmap = np.zeros(1 << (bits - 3), np.uint8)
        low = self._seeds >> self._shift
        np.bitwise_or.at(
            self._bitmap, low >> np.uint64(3), np.uint8(1) << (low & np.uint64(7)).astype(np.uint8)
        )

    def search(self, text: str, min_hits: int = 1) -> list[Hit]:
        """Every hit in a document, by place; at most one per item and overlapping place."""
        found = fold(text)
        ids = np.fromiter(map(self._vocabulary.get, found, repeat(0)), np.uint32, len(found))
        kept = np.flatnonzero(ids != _LETTER)
        ids = ids[kept]
        hits: list[Hit] = []
        step = _BLOCK_WORDS
        overlap = 4 * self.ngram * _SCALE
        for begin in range(0, max(1, len(ids) - SEED + 1), step):
            block = ids[max(0, begin - overlap) : begin + step + overlap]
            hits += self._block(block, max(0, begin - overlap), min_hits)
        return [
            replace(hit, start=int(kept[hit.start]), end=int(kept[hit.end - 1]) + 1) for hit in _merged(hits)
        ]

    def _block(self, ids: np.ndarray, offset: int, min_hits: int) -> list[Hit]:
        module = kernels()
        if module is None:
            candidates, wanted = self.seed_places(ids)
        else:
            candidates, wanted = module.seed_places(ids, self._bitmap, int(self._shift), self._seeds)
        if not len(candidates):
            return []
        left = np.searchsorted(self._seeds, wanted)
        counts = np.searchsorted(self._seeds, wanted, "right") - left
        followed = counts <= MOST_PLACES
        candidates, left, counts = candidates[followed], left[followed], counts[followed]
        if not len(candidates):
            return []
        at = np.repeat(candidates, counts)  # [H] word of the document
        ranks = np.arange(len(at)) - np.repeat(np.cumsum(counts) - counts, counts)
        place = self._places[np.repeat(left, counts) + ranks].astype(np.int64)  # [H] word of the items
        return self._judge(ids, at, place, offset, min_hits)

    def seed_places(self, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where a gram of the document is a seed: places int64 [C], rising, and their hashes uint64 [C]. The kernel of
        this name computes the same."""
        grams = gram_hashes(ids)
        low = grams >> self._shift
        bit = self._bitmap[low >> np.uint64(3)] >> (low & np.uint64(7)).astype(np.uint8)
        places = np.flatnonzero(bit & 1)
        left = np.searchsorted(self._seeds, grams[places])
        places = places[self._seeds[np.minimum(left, len(self._seeds) - 1)] == grams[places]]
        return places, grams[places]

    def _judge(
        self, ids: np.ndarray, at: np.ndarray, place: np.ndarray, offset: int, min_hits: int
    ) -> list[Hit]:
        piece = np.searchsorted(self._begins, place, "right") - 1
        order = np.lexsort((at, place - at, piece))
        at, place, piece = at[order], place[order], piece[order]
        same = (np.diff(at) == 1) & (np.diff(place) == 1) & (np.diff(piece) == 0)
        first = np.flatnonzero(np.concatenate([[True], ~same]))
        lengths = np.diff(np.append(first, len(at))) + SEED - 1  # words in a row
        at, place, piece = at[first], place[first], piece[first]
        hits: list[Hit] = []
        runs: list[tuple[int, int, int, int]] = []  # piece, diagonal, first word, word after the last
        for begin in range(0, len(at), _BLOCK_HITS):
            some = slice(begin, begin + _BLOCK_HITS)
            back, on = self._extended(ids, at[some], place[some], piece[some], lengths[some])
            exact = back + lengths[some] + on >= self.ngram * self._scales[piece[some]]
            starts, ends = at[some] - back, at[some] + lengths[some] + on
            for one in np.flatnonzero(exact):
                number = begin + one
                runs.append(
                    (int(piece[number]), int(place[number] - at[number]), int(starts[one]), int(ends[one]))
                )
            rest = begin + np.flatnonzero(~exact)
            if len(rest):
                hits += self._fuzzy(ids, at[rest], place[rest], piece[rest], offset)
        return hits + self._exact(runs, offset, min_hits)

    def _extended(
        self, ids: np.ndarray, at: np.ndarray, place: np.ndarray, piece: np.ndarray, lengths: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Equal words before and after each run, up to an n-gram: seeds that were not followed leave gaps."""
        steps = np.arange(self.ngram * int(self._scales[piece].max()))
        before, after = at[:, None] - 1 - steps, (at + lengths)[:, None] + steps
        before_item, after_item = place[:, None] - 1 - steps, (place + lengths)[:, None] + steps
        back = (before >= 0) & (before_item >= self._begins[piece][:, None])
        back &= ids[np.maximum(before, 0)] == self._words[np.maximum(before_item, 0)]
        on = (after < len(ids)) & (after_item < self._begins[piece + 1][:, None])
        on &= (
            ids[np.minimum(after, len(ids) - 1)] == self._words[np.minimum(after_item, len(self._words) - 1)]
        )
        return np.logical_and.accumulate(back, axis=1).sum(axis=1), np.logical_and.accumulate(on, axis=1).sum(
            axis=1
        )

    def _exact(self, runs: list[tuple[int, int, int, int]], offset: int, min_hits: int) -> list[Hit]:
        """Runs of one diagonal that touch are one run; pieces with fewer than min_hits n-grams in all are no hit."""
        whole: list[list[int]] = []
        for piece, diagonal, start, end in sorted(runs):
            if whole and whole[-1][:2] == [piece, diagonal] and start <= whole[-1][3]:
                whole[-1][3] = max(end, whole[-1][3])
            else:
                whole.append([piece, diagonal, start, end])
        num_ngrams: Counter[int] = Counter()
        for piece, _, start, end in whole:
            num_ngrams[piece] += end - start - self.ngram * int(self._scales[piece]) + 1
        return [
            Hit(self._names[self._owners[piece]], "exact", offset + start, offset + end, 1.0)
            for piece, _, start, end in whole
            if num_ngrams[piece] >= min_hits
        ]

    def _fuzzy(
        self, ids: np.ndarray, at: np.ndarray, place: np.ndarray, piece: np.ndarray, offset: int
    ) -> list[Hit]:
        begins, ends = self._begins[piece], self._begins[piece + 1]
        widths = np.minimum(2 * self.ngram * self._scales[piece], ends - begins)  # [H]
        origin = np.clip(place + SEED // 2 - widths // 2, begins, ends - widths)
        anchor = place - origin  # [H] words of the window before the seed
        best = _aligned(ids, self._words, at - anchor, origin, anchor, widths)
        needed = np.ceil(self.share * widths).astype(np.int64)
        needed = np.where(widths < self.ngram, np.maximum(needed, widths - (widths >= LEAST_WORDS)), needed)
        return [
            Hit(
                self._names[self._owners[piece[one]]],
                "fuzzy",
                offset + max(0, int(at[one] - anchor[one])),
                offset + min(len(ids), int(at[one] - anchor[one] + widths[one])),
                round(float(best[one] / widths[one]), 3),
            )
            for one in np.flatnonzero(best >= needed)
        ]


def _scale(piece: list[str]) -> int:
    """How many times lengths count: a Chinese word has 1 to 2 characters, a Thai one 3 to 5."""
    unspaced = [word for word in piece if is_unspaced(word)]
    if 2 * len(unspaced) <= len(piece):
        return 1
    return 2 if 2 * sum(word >= _FIRST_HAN for word in unspaced) > len(unspaced) else _SCALE


def _merged(hits: list[Hit]) -> list[Hit]:
    """Hits of one item that overlap become one: exact if one of them is. Sorted by place, then item."""
    merged: list[Hit] = []
    last: dict[str, int] = {}
    for hit in sorted(hits, key=lambda hit: (hit.start, hit.item, -hit.end, hit.kind)):
        number = last.get(hit.item)
        before = merged[number] if number is not None else None
        if number is None or before is None or hit.start >= before.end:
            last[hit.item] = len(merged)
            merged.append(hit)
        else:
            kind = "exact" if "exact" in (hit.kind, before.kind) else "fuzzy"
            end, share = max(hit.end, before.end), max(hit.share, before.share)
            merged[number] = Hit(hit.item, kind, before.start, end, share)
    return merged


def _aligned(
    document: np.ndarray, items: np.ndarray, at: np.ndarray, origin: np.ndarray, anchor: np.ndarray, widths: np.ndarray
) -> np.ndarray:  # fmt: skip
    """Words of each window found in order: the best of a shift by up to two words before the anchor and after it.

    With n_s(t) the equal words among the first t under shift s, the part before the anchor a gives
    n_0(a) + max over s and t <= a of n_s(t) - n_0(t); the part after it likewise from the other end.
    """
    steps = np.arange(int(widths.max()))  # [K]
    inside = steps < widths[:, None]  # [H, K]
    wanted = items[np.minimum(origin[:, None] + steps, len(items) - 1)]
    counts = []
    for shift in _SHIFTS:
        places = at[:, None] + steps + shift
        valid = inside & (places >= 0) & (places < len(document))
        equal = valid & (document[np.clip(places, 0, len(document) - 1)] == wanted)
        counts.append(np.cumsum(equal, axis=1, dtype=np.int16))  # after word t
    straight = counts[0]
    before = steps < anchor[:, None]
    left = np.zeros(len(at), np.int64)
    right = straight[:, -1].astype(np.int64)
    for shifted in counts[1:]:
        gain = shifted - straight
        left = np.maximum(left, np.where(before, gain, 0).max(axis=1))
        right = np.maximum(right, np.where(before, -1, shifted[:, -1:] - gain).max(axis=1))
    total: np.ndarray = left + right
    return total
