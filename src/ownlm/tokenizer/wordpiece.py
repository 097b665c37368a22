"""WordPiece: the MaxMatch encoder ("WordPiece" in tokenizer.json).

A word is cut from the left into the longest tokens there are (Schuster and Nakajima 2012; Devlin et al. 2019,
arXiv:1810.04805); tokens that do not begin a word are spelled with a prefix ("##"). A word with a part that no token
stands for, or longer than `max_input_chars_per_word`, is the unknown token as a whole. One word costs
at most length x longest token look-ups, so text costs time in proportion to its length. The trainer is wordpiece_train.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

from ownlm.tokenizer.fields import Fields
from ownlm.tokenizer.piece_model import index, no_unknown, read_vocab

_CACHED = 200_000  # words
_LONGEST_CACHED = 64  # characters


class WordPiece:
    def __init__(
        self,
        vocab: Sequence[str],
        unk_token: str = "[UNK]",
        continuing_subword_prefix: str = "##",
        max_input_chars_per_word: int = 100,
    ) -> None:
        """vocab: id -> token. max_input_chars_per_word: in code points."""
        self.vocab, self.unk_token = list(vocab), unk_token
        self.prefix, self.max_chars = continuing_subword_prefix, max_input_chars_per_word
        self._ids = ids = index(self.vocab)
        self._unk = ids.get(unk_token)
        cut = len(self.prefix)
        self._inside = {token[cut:]: id for token, id in ids.items() if token.startswith(self.prefix)}
        self._longest_first = max(map(len, ids), default=0)
        self._longest_inside = max(map(len, self._inside), default=0)
        self._cache: dict[str, list[int]] = {}

    def encode_piece(self, piece: str) -> list[int]:
        """Ids of one word. Raises DataError for an unknown word when there is no unknown token."""
        known = self._cache.get(piece)
        if known is None:
            known = self._encode(piece)
            if len(piece) <= _LONGEST_CACHED and len(self._cache) < _CACHED:
                self._cache[piece] = known
        return list(known)

    def _encode(self, piece: str) -> list[int]:
        found = [] if len(piece) > self.max_chars else self._match(piece)
        if piece and not found:
            if self._unk is None:
                raise no_unknown(piece, "WordPiece")
            return [self._unk]
        return found

    def _match(self, piece: str) -> list[int]:
        """Longest tokens from the left; [] when a part has none."""
        ids: list[int] = []
        start, length = 0, len(piece)
        while start < length:
            found = self.longest(piece, start)
            if found is None:
                return []
            id, start, _ = found
            ids.append(id)
        return ids

    def longest(self, piece: str, start: int) -> tuple[int, int, int] | None:
        """(id, where it ends, how many longer strings are none) of the longest token at this place of the word."""
        table, longest = (self._inside, self._longest_inside) if start else (self._ids, self._longest_first)
        furthest = min(len(piece), start + longest)
        for end in range(furthest, start, -1):
            id = table.get(piece[start:end])
            if id is not None:
                return id, end, furthest - end
        return None

    def to_json(self) -> dict[str, Any]:
        return {
            "type": "WordPiece",
            "unk_token": self.unk_token,
            "continuing_subword_prefix": self.prefix,
            "max_input_chars_per_word": self.max_chars,
            "vocab": {token: id for id, token in enumerate(self.vocab) if token},
        }

    @classmethod
    def from_json(cls, raw: dict[str, Any], where: str) -> Self:
        """Raises ArtifactError naming the field."""
        fields = Fields(raw, where)
        fields.choice("type", ("WordPiece",), "WordPiece")
        model = cls(
            read_vocab(fields),
            fields.text("unk_token", "[UNK]"),
            fields.text("continuing_subword_prefix", "##"),
            fields.integer("max_input_chars_per_word", 0, 1 << 62, 100),
        )
        fields.done()
        return model
