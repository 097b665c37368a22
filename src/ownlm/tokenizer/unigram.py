"""Unigram language model segmentation ("Unigram" in tokenizer.json): the most likely cut of a piece into scored tokens.

Kudo 2018, arXiv:1804.10959; the search is viterbi.py, the trainer unigram_train.py. As in `tokenizers` every token of the
vocabulary can match, unknown characters cost the lowest score minus 10, and a run of them is one unknown token.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from typing import Any, Self

from ownlm.tokenizer.fields import Fields
from ownlm.tokenizer.piece_kernels import LONG, Cutter, cutter
from ownlm.tokenizer.piece_model import no_unknown
from ownlm.tokenizer.viterbi import best_cut, trie

UNKNOWN_PENALTY = 10.0  # nats below the rarest token (sentencepiece: kUnkPenalty)
_CACHED = 200_000  # pieces
_LONGEST_CACHED = 64  # characters


class Unigram:
    def __init__(
        self,
        vocab: Sequence[str],
        scores: Sequence[float],
        unk_id: int | None = None,
        byte_fallback: bool = False,
    ) -> None:
        """vocab: id -> token; scores: natural logarithms of probability, one per token."""
        self.vocab, self.scores = list(vocab), [float(score) for score in scores]
        self.unk_id, self.byte_fallback = unk_id, byte_fallback
        rows = zip(self.vocab, self.scores, range(len(self.vocab)), strict=True)
        self.trie = trie(row for row in rows if row[0])
        self.unknown_score = min(self.scores, default=0.0) - UNKNOWN_PENALTY
        self._ids = {token: id for id, token in enumerate(self.vocab)}
        self._bytes = [self._ids.get(f"<0x{byte:02X}>", -1) for byte in range(256)]
        self._cache: dict[str, list[int]] = {}

    def encode_piece(self, piece: str) -> list[int]:
        """Ids of one piece. Raises DataError for unknown characters when there is neither bytes nor unknown token."""
        known = self._cache.get(piece)
        if known is None:
            known = self._encode(piece)
            if len(piece) <= _LONGEST_CACHED and len(self._cache) < _CACHED:
                self._cache[piece] = known
        return list(known)

    def cut(self, piece: str) -> list[tuple[int, int, int]]:
        """[(start, end, id)] of the most likely cut; id -1: an unknown character."""
        if len(piece) > LONG and self._fast is not None:
            return self._fast.cut(piece, self.unknown_score, -1)
        return best_cut(piece, self.trie, self.unknown_score, -1)

    @cached_property
    def _fast(self) -> Cutter | None:
        rows = zip(self.vocab, self.scores, range(len(self.vocab)), strict=True)
        return cutter(row for row in rows if row[0])

    def score(self, piece: str) -> float:
        """Logarithm of the probability of the most likely cut, unknown characters at their penalty."""
        return sum(self.unknown_score if id < 0 else self.scores[id] for _, _, id in self.cut(piece))

    def _encode(self, piece: str) -> list[int]:
        ids: list[int] = []
        unknown: list[str] = []
        for start, end, id in self.cut(piece):
            if id < 0 or id == self.unk_id:
                unknown.append(piece[start:end])
                continue
            if unknown:
                ids.extend(self._unknown("".join(unknown)))
                unknown = []
            ids.append(id)
        if unknown:
            ids.extend(self._unknown("".join(unknown)))
        return ids

    def _unknown(self, run: str) -> list[int]:
        if run in self._ids:  # only when the text spells the unknown token itself
            return [self._ids[run]]
        if self.byte_fallback:
            values = [self._bytes[byte] for byte in run.encode("utf-8")]
            if -1 not in values:
                return values
        if self.unk_id is None:
            raise no_unknown(run, "Unigram")
        return [self.unk_id]

    def to_json(self) -> dict[str, Any]:
        return {
            "type": "Unigram",
            "unk_id": self.unk_id,
            "vocab": [[token, score] for token, score in zip(self.vocab, self.scores, strict=True)],
            "byte_fallback": self.byte_fallback,
        }

    @classmethod
    def from_json(cls, raw: dict[str, Any], where: str) -> Self:
        """Raises ArtifactError naming the field."""
        fields = Fields(raw, where)
        fields.choice("type", ("Unigram",), "Unigram")
        tokens, scores = [], []
        seen: set[str] = set()
        for n, row in enumerate(fields.rows("vocab")):
            if not isinstance(row, list) or len(row) != 2 or not isinstance(row[0], str):
                raise fields.wrong(f"vocab[{n}]", "not [token, score]")
            if type(row[1]) not in (int, float) or not math.isfinite(row[1]):
                raise fields.wrong(f"vocab[{n}]", f"{str(row[1])[:40]} is no finite score")
            if row[0] in seen:
                raise fields.wrong(f"vocab[{n}]", f"{row[0][:40]!r} occurs twice")
            seen.add(row[0])
            tokens.append(row[0])
            scores.append(float(row[1]))
        unk = fields.any("unk_id")
        if unk is not None and (type(unk) is not int or not 0 <= unk < len(tokens)):
            raise fields.wrong("unk_id", f"{str(unk)[:40]} is no id of the vocabulary")
        model = cls(tokens, scores, unk, bool(fields.flag("byte_fallback", False)))
        fields.done()
        return model
