"""BPE over characters, as the "BPE" model of tokenizer.json defines it; pieces are merged in O(n log n).

Sennrich et al. 2016, arXiv:1508.07909: start from the characters of a piece and merge the adjacent pair of the lowest
rank, leftmost first. What tokenizer.json adds: a prefix for characters inside a word (continuing_subword_prefix), a
suffix for the last one (end_of_word_suffix, CLIP), bytes for unknown characters (byte_fallback, Llama), unknown tokens
joined into one (fuse_unk), whole pieces looked up first (ignore_merges, Llama 3). `dropout` makes ids random: refused.
"""

from __future__ import annotations

import heapq
import warnings
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, Self

from ownlm.tokenizer.fields import Fields
from ownlm.tokenizer.piece_kernels import LONG, Merger, merger
from ownlm.tokenizer.piece_model import index, read_vocab

Found = tuple[float, int] | None
"""(rank, id of the joined token) of a pair, or None when it does not merge."""
_CACHED = 200_000  # pieces
_LONGEST_CACHED = 64  # characters


def merge_all(ids: list[int], find: Callable[[int, int], Found]) -> list[int]:
    """Merge adjacent pairs, lowest rank first and leftmost among equals, until none is found. O(n log n).

    A linked list over the positions and a heap of candidates; a candidate that is out of date is dropped when it
    surfaces. Ids below 0 never merge if `find` knows no pair with them.
    """
    end = len(ids)
    ids = list(ids)
    live = [True] * end
    after, before = list(range(1, end + 1)), list(range(-1, end - 1))
    heap: list[tuple[float, int, int, int, int]] = []

    def offer(at: int, other: int) -> None:
        found = find(ids[at], ids[other])
        if found is not None:
            heapq.heappush(heap, (found[0], at, ids[at], ids[other], found[1]))

    for at in range(end - 1):
        offer(at, at + 1)
    while heap:
        _, at, left, right, joined = heapq.heappop(heap)
        other = after[at]
        if not live[at] or ids[at] != left or other >= end or ids[other] != right:
            continue
        ids[at], live[other] = joined, False
        after[at] = following = after[other]
        if following < end:
            before[following] = at
            offer(at, following)
        if before[at] >= 0:
            offer(before[at], at)
    return [ids[at] for at in range(end) if live[at]]


class CharBPE:
    """The "BPE" model of tokenizer.json."""

    def __init__(
        self,
        vocab: Sequence[str],
        merges: Sequence[tuple[str, str]],
        *,
        unk_token: str | None = None,
        byte_fallback: bool = False,
        fuse_unk: bool = False,
        continuing_subword_prefix: str = "",
        end_of_word_suffix: str = "",
        ignore_merges: bool = False,
    ) -> None:
        """vocab: id -> token; merges: lowest rank first, each making a token of the vocabulary (KeyError if not)."""
        self.vocab, self.merges = list(vocab), list(merges)
        self.unk_token, self.byte_fallback, self.fuse_unk = unk_token, byte_fallback, fuse_unk
        self.prefix, self.suffix = continuing_subword_prefix, end_of_word_suffix
        self.ignore_merges = ignore_merges
        self.num_dropped = 0  # characters that no token could stand for; see encode_piece
        self._ids = ids = index(self.vocab)
        self._unk = None if unk_token is None else ids[unk_token]
        cut = len(self.prefix)
        self._ranks = {
            (ids[left], ids[right]): (float(rank), ids[left + right[cut:]])
            for rank, (left, right) in enumerate(self.merges)
        }  # of a pair given twice the later rank counts, as in `tokenizers`
        self._bytes = [ids.get(f"<0x{byte:02X}>") for byte in range(256)] if byte_fallback else []
        self._cache: dict[str, list[int]] = {}

    def encode_piece(self, piece: str) -> list[int]:
        """Ids of one piece.

        A character that is not in the vocabulary becomes its bytes, else the unknown token; with neither, `tokenizers`
        leaves it out, and so do we, counted in `num_dropped` and with a warning the first time.
        """
        known = self._cache.get(piece)
        if known is None:
            known = self._encode(piece)
            if len(piece) <= _LONGEST_CACHED and len(self._cache) < _CACHED:
                self._cache[piece] = known
        return list(known)

    def _encode(self, piece: str) -> list[int]:
        id = self.whole(piece)
        if id is not None:
            return [id]
        ids = self.start(piece)
        if len(ids) > LONG and self._fast is not None:
            return self._fast.merge(ids)
        return merge_all(ids, lambda left, right: self._ranks.get((left, right)))

    @cached_property
    def _fast(self) -> Merger | None:
        return merger(self._ranks)

    def whole(self, piece: str) -> int | None:
        """The id of a piece that is a token, where `ignore_merges` looks there first."""
        return self._ids.get(piece) if self.ignore_merges else None

    def pair(self, left: int, right: int) -> Found:
        return self._ranks.get((left, right))

    def start(self, piece: str) -> list[int]:
        """One id per character, before merging."""
        ids: list[int] = []
        unknown = False  # is there an unknown token that has not been written yet?
        last = len(piece) - 1
        for at, character in enumerate(piece):
            token = (self.prefix if at else "") + character + (self.suffix if at == last else "")
            id = self._ids.get(token)
            if id is not None:
                if unknown:
                    ids.append(self._unknown())
                    unknown = False
                ids.append(id)
                continue
            if self.byte_fallback:
                values = [self._bytes[byte] for byte in token.encode("utf-8")]
                if None not in values:  # a waiting unknown token comes after the bytes, as in `tokenizers`
                    ids.extend(value for value in values if value is not None)
                    continue
            if self._unk is None:
                self._drop(character)
                continue
            if unknown and not self.fuse_unk:
                ids.append(self._unk)
            unknown = True
        if unknown:
            ids.append(self._unknown())
        return ids

    def _unknown(self) -> int:
        return -1 if self._unk is None else self._unk  # only asked for when there is one

    def _drop(self, character: str) -> None:
        if not self.num_dropped:
            warnings.warn(
                f"this BPE vocabulary has neither {character!r} nor an unknown token: such characters are left out of the "
                "ids (counted in num_dropped)",
                stacklevel=4,
            )
        self.num_dropped += 1

    def to_json(self) -> dict[str, Any]:
        return {
            "type": "BPE",
            "dropout": None,
            "unk_token": self.unk_token,
            "continuing_subword_prefix": self.prefix or None,
            "end_of_word_suffix": self.suffix or None,
            "fuse_unk": self.fuse_unk,
            "byte_fallback": self.byte_fallback,
            "ignore_merges": self.ignore_merges,
            "vocab": {token: id for id, token in enumerate(self.vocab) if token},
            "merges": [list(pair) for pair in self.merges],
        }

    @classmethod
    def from_json(cls, raw: dict[str, Any], where: str) -> Self:
        """Raises ArtifactError naming the field."""
        fields = Fields(raw, where)
        fields.choice("type", ("BPE",), "BPE")
        if fields.any("dropout"):  # 0 and null mean none
            raise fields.wrong("dropout", f"{str(raw['dropout'])[:40]}: ids would be random, refused")
        vocab = read_vocab(fields)
        unk = fields.text("unk_token", None)
        ids = index(vocab)
        if unk is not None and unk not in ids:
            raise fields.wrong("unk_token", f"{unk[:40]!r} is not in vocab")
        prefix = fields.text("continuing_subword_prefix", None) or ""
        merges = _read_merges(fields, ids, prefix)
        model = cls(
            vocab,
            merges,
            unk_token=unk,
            byte_fallback=bool(fields.flag("byte_fallback", False)),
            fuse_unk=bool(fields.flag("fuse_unk", False)),
            continuing_subword_prefix=prefix,
            end_of_word_suffix=fields.text("end_of_word_suffix", None) or "",
            ignore_merges=bool(fields.flag("ignore_merges", False)),
        )
        fields.done()
        return model


def _read_merges(fields: Fields, ids: dict[str, int], prefix: str) -> list[tuple[str, str]]:
    merges = []
    for n, row in enumerate(fields.rows("merges")):
        parts = row.split(" ") if isinstance(row, str) else row
        if not isinstance(parts, list) or len(parts) != 2 or not all(isinstance(part, str) for part in parts):
            raise fields.wrong(f"merges[{n}]", "not a pair of tokens")
        left, right = parts
        if prefix and not right.startswith(prefix):
            raise fields.wrong(f"merges[{n}]", f"{right[:40]!r} does not begin with {prefix!r}")
        for token in (left, right, left + right[len(prefix) :]):
            if token not in ids:
                raise fields.wrong(f"merges[{n}]", f"{token[:40]!r} is not in vocab")
        merges.append((left, right))
    return merges
