"""What turns one normalised, pre-tokenized piece of text into ids: the face that every tokenizer model has.

The models (char_bpe, wordpiece, word_level, unigram, characters) know nothing of normalisers, pre-tokenizers, special
tokens or decoders; those stand around them (pipeline.py, adapters/).
"""

from __future__ import annotations

from typing import Any, Protocol, Self

from ownlm.errors import DataError
from ownlm.tokenizer.fields import Fields

MAX_IDS = 1 << 24  # no public vocabulary comes near; a file with larger ids is damaged


class PieceModel(Protocol):
    """BPE, WordPiece, Unigram, WordLevel, characters: one piece of text -> ids."""

    vocab: list[str]
    """id -> token as tokenizer.json spells it; "" for an id that the file leaves to its added tokens."""

    def encode_piece(self, piece: str) -> list[int]:
        """Ids of one piece. Raises DataError when the piece cannot be written and there is no unknown token."""
        ...

    def to_json(self) -> dict[str, Any]:
        """The "model" object of a tokenizer.json."""
        ...

    @classmethod
    def from_json(cls, raw: dict[str, Any], where: str) -> Self:
        """Raises ArtifactError naming the field."""
        ...


def read_vocab(fields: Fields) -> list[str]:
    """The field "vocab", {token: id}, as a list by id; ids that no token has hold "".

    Raises ArtifactError for an id that is negative, given twice, no whole number, or far beyond the number of tokens.
    """
    raw = fields.any("vocab")
    if not isinstance(raw, dict):
        raise fields.wrong("vocab", "missing or not an object")
    limit = min(MAX_IDS, 4 * len(raw) + (1 << 16))
    by_id: dict[int, str] = {}
    for token, id in raw.items():
        if type(id) is not int or not 0 <= id < limit:
            raise fields.wrong("vocab", f"token {str(token)[:40]!r} has the id {str(id)[:40]}")
        if id in by_id:
            raise fields.wrong("vocab", f"id {id} belongs to both {by_id[id][:40]!r} and {token[:40]!r}")
        by_id[id] = token
    return [by_id.get(id, "") for id in range(max(by_id, default=-1) + 1)]


def index(vocab: list[str]) -> dict[str, int]:
    """token -> id; ids without a token ("") are left out."""
    return {token: id for id, token in enumerate(vocab) if token}


def no_unknown(piece: str, kind: str) -> DataError:
    """The error of a model that meets text outside its vocabulary and has no unknown token."""
    shown = piece if len(piece) <= 40 else piece[:37] + "..."
    return DataError(
        f"This {kind} vocabulary cannot write a piece of the text and has no unknown token.",
        f"{shown!r}",
        "use a vocabulary with an unknown token or byte fallback, or remove these characters from the text",
    )
