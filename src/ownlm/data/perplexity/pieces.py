"""A text as ids for the n-gram model, without a tokenizer: known words whole, other words letter by letter.

    0..255   a byte: punctuation, or a letter of a spelled word        256   "a spelled word begins"
    257...   the words of the vocabulary, in the order of their hashes

White space is left out, ASCII letters are lower-cased and digits are all 0 (data/linear/features.py). So every text has
a probability, and a made-up word costs what its letters cost.
"""

from __future__ import annotations

import numpy as np

from ownlm.data.linear import features

SPELLED = 256
FIRST_WORD = 257
_SPACE = 32


def ids(data: bytes, words: np.ndarray) -> tuple[np.ndarray, int]:
    """Ids of one folded piece, int64 [T], and its bytes that are not white space. words: hashes, uint64, sorted."""
    codes = np.frombuffer(data, dtype=np.uint8)
    starts, ends = features.word_edges(data)
    place, known = _looked_up(features.word_hashes(data, starts, ends), words)
    solid = codes != _SPACE
    steps = np.zeros(len(codes) + 1, dtype=np.int64)
    steps[starts[known]], steps[ends[known]] = 1, -1  # neighbouring words are never adjacent: no overlaps
    emitted = solid & (np.cumsum(steps[:-1]) == 0)
    emitted[starts[known]] = True
    found = codes.astype(np.int64)
    found[starts[known]] = FIRST_WORD + place[known]
    order = np.cumsum(emitted) - 1
    spelled = order[starts[~known]]
    return np.insert(found[emitted], spelled, SPELLED), int(np.count_nonzero(solid))


def _looked_up(hashes: np.ndarray, words: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if not len(words):
        return np.zeros(len(hashes), dtype=np.int64), np.zeros(len(hashes), dtype=bool)
    place = np.minimum(np.searchsorted(words, hashes), len(words) - 1)
    return place, words[place] == hashes


def vocabulary(counted: list[np.ndarray], most: int, fewest: int = 2) -> np.ndarray:
    """Hashes of the `most` most frequent words that occur `fewest` times or more, sorted; ties by hash."""
    distinct, counts = np.unique(
        np.concatenate(counted) if counted else np.zeros(0, np.uint64), return_counts=True
    )
    best = np.argsort(-counts, kind="stable")[:most]
    return np.sort(distinct[best[counts[best] >= fewest]])
