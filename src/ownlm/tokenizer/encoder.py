"""Text -> ids by byte-level BPE: the readable encoder, and the choice between it and the compiled one.

Both do the same: split into pieces, then within each piece merge the adjacent pair of the lowest rank, leftmost
first, until no pair has a rank (Sennrich et al. 2016, arXiv:1508.07909, over bytes as in GPT-2).
"""

from __future__ import annotations

import heapq
import os
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from ownlm.errors import DataError
from ownlm.runtime import native
from ownlm.tokenizer.pretokenize import PATTERNS, class_table, split

_CACHED_WORDS = 500_000  # bound on the fallback's word cache, so that odd text cannot fill the memory
_LONGEST_CACHED = 64  # bytes; longer words hardly ever come back
_BYTES_PER_THREAD = 1 << 20  # below this a second thread costs more than it brings


class Encoder(Protocol):
    """Ordinary text to ids; nothing in the text is a special token here."""

    def encode(self, text: str) -> list[int]: ...

    def encode_batch(self, texts: Sequence[str], threads: int | None = None) -> list[np.ndarray]: ...


def surrogate_error(error: UnicodeEncodeError) -> DataError:
    at = error.start
    return DataError(
        "This text holds half a surrogate pair, which no UTF-8 text can.",
        f"character {at}: {error.object[at]!r}",
        "read the text with errors='replace', or repair it before encoding",
    )


class ReferenceEncoder:
    """The readable encoder: a dictionary of words over `regex`, and a heap per unseen word (n log n)."""

    def __init__(self, family: str, byte_ids: np.ndarray, merges: np.ndarray, dtype: type) -> None:
        """byte_ids: [256] id of each byte. merges: [M, 3] (left, right, result) ids, lowest rank first."""
        self._family, self._dtype = family, dtype
        self._byte_ids = byte_ids.tolist()
        self._ranks = {(a, b): (rank, c) for rank, (a, b, c) in enumerate(merges.tolist())}
        self._words: dict[str, list[int]] = {}

    def encode(self, text: str) -> list[int]:
        words, ids = self._words, []
        for piece in split(text, self._family):
            known = words.get(piece)
            if known is None:
                try:
                    known = self._merge([self._byte_ids[byte] for byte in piece.encode("utf-8")])
                except UnicodeEncodeError:
                    raise _surrogate(text) from None
                if len(piece) <= _LONGEST_CACHED and len(words) < _CACHED_WORDS:
                    words[piece] = known
            ids.extend(known)
        return ids

    def encode_batch(self, texts: Sequence[str], threads: int | None = None) -> list[np.ndarray]:
        return [np.array(self.encode(text), dtype=self._dtype) for text in texts]

    def _merge(self, ids: list[int]) -> list[int]:
        """Merge one piece in place: a linked list of live positions and a heap of (rank, position)."""
        ranks, end = self._ranks, len(ids)
        after, before = list(range(1, end + 1)), list(range(-1, end - 1))
        heap = [
            (found[0], at, ids[at], ids[at + 1])
            for at in range(end - 1)
            if (found := ranks.get((ids[at], ids[at + 1]))) is not None
        ]
        heapq.heapify(heap)
        while heap:
            _, at, left, right = heapq.heappop(heap)
            other = after[at]
            if ids[at] != left or other >= end or ids[other] != right:
                continue  # one of the two has been merged away since
            ids[at], ids[other] = ranks[left, right][1], -1
            after[at] = following = after[other]
            if following < end:
                before[following] = at
            for first in (before[at], at):
                second = after[first] if first >= 0 else end
                if second < end and (found := ranks.get((ids[first], ids[second]))) is not None:
                    heapq.heappush(heap, (found[0], first, ids[first], ids[second]))
        return [token for token in ids if token >= 0]


class NativeEncoder:
    """The compiled encoder (native/encode.hpp); same ids."""

    def __init__(self, family: str, byte_ids: np.ndarray, merges: np.ndarray, dtype: type) -> None:
        kernels = native.kernels()
        assert kernels is not None, "make_encoder looks first"
        self._kernel = kernels.Encoder(
            list(PATTERNS).index(family), class_table(), byte_ids.astype(np.uint32), merges.astype(np.uint32)
        )
        self._wide = dtype is np.uint32

    def encode(self, text: str) -> list[int]:
        try:
            ids: list[int] = self._kernel.encode(text)
            return ids
        except UnicodeEncodeError as error:
            raise surrogate_error(error) from None

    def encode_batch(self, texts: Sequence[str], threads: int | None = None) -> list[np.ndarray]:
        if threads is None:
            size = sum(map(len, texts))
            threads = max(1, min(len(os.sched_getaffinity(0)), size // _BYTES_PER_THREAD))
        encode = self._kernel.encode_batch32 if self._wide else self._kernel.encode_batch16
        try:
            ids, ends = encode(texts if isinstance(texts, list) else list(texts), threads)
        except UnicodeEncodeError as error:
            raise surrogate_error(error) from None
        bounds = ends.tolist()
        return [ids[start:end] for start, end in zip([0, *bounds], bounds, strict=False)]


def _surrogate(text: str) -> DataError:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        return surrogate_error(error)
    raise AssertionError("only called for text that does not encode")


def make_encoder(family: str, byte_ids: np.ndarray, merges: np.ndarray, vocab_size: int) -> Encoder:
    """The compiled encoder where it is there and the vocabulary fits its tables (2**20 ids), otherwise the readable
    one. Ids fit uint16 up to 65,536 tokens."""
    dtype = np.uint16 if vocab_size <= 1 << 16 else np.uint32
    kind = ReferenceEncoder if native.kernels() is None or vocab_size > 1 << 20 else NativeEncoder
    return kind(family, byte_ids, merges, dtype)
