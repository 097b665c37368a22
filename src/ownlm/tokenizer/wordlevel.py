"""The simplest model: a piece is a token or the unknown token ("WordLevel" in tokenizer.json)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

from ownlm.tokenizer.fields import Fields
from ownlm.tokenizer.piece_model import index, no_unknown, read_vocab


class WordLevel:
    def __init__(self, vocab: Sequence[str], unk_token: str = "<unk>") -> None:
        """vocab: id -> token. An unknown token that is not in the vocabulary makes unknown words an error."""
        self.vocab, self.unk_token = list(vocab), unk_token
        self._ids = index(self.vocab)
        self._unk = self._ids.get(unk_token)

    def encode_piece(self, piece: str) -> list[int]:
        """One id. Raises DataError for an unknown word when there is no unknown token."""
        id = self._ids.get(piece, self._unk)
        if id is None:
            raise no_unknown(piece, "word")
        return [id]

    def to_json(self) -> dict[str, Any]:
        vocab = {token: id for id, token in enumerate(self.vocab) if token}
        return {"type": "WordLevel", "vocab": vocab, "unk_token": self.unk_token}

    @classmethod
    def from_json(cls, raw: dict[str, Any], where: str) -> Self:
        """Raises ArtifactError naming the field."""
        fields = Fields(raw, where)
        fields.choice("type", ("WordLevel",), "WordLevel")
        model = cls(read_vocab(fields), fields.text("unk_token"))
        fields.done()
        return model
