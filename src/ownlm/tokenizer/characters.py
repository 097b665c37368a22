"""One token per character ("character level"), with an explicit rule for characters that were not in the training text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Self

from ownlm.errors import DataError, UsageError
from ownlm.tokenizer.fields import Fields
from ownlm.tokenizer.piece_model import index, read_vocab

POLICIES = ("error", "unknown")


class Characters:
    """id <-> character. unknown: "error" (DataError) or "unknown" (the id of `unk_token`, counted in num_unknown)."""

    def __init__(self, vocab: Sequence[str], unknown: str = "error", unk_token: str = "<unk>") -> None:
        """vocab: id -> one character, except `unk_token`, which is there exactly when unknown="unknown"."""
        if unknown not in POLICIES:
            raise UsageError(
                "Unknown rule for new characters.", f"{unknown!r}", f"use {' or '.join(POLICIES)}"
            )
        if (unk_token in vocab) != (unknown == "unknown"):
            raise UsageError(
                "The unknown token belongs to the rule 'unknown' and to no other.", f"{unknown!r}"
            )
        self.vocab, self.unknown, self.unk_token = list(vocab), unknown, unk_token
        self.num_unknown = 0  # characters encoded as the unknown token so far
        self._ids = index(self.vocab)
        self._unk = self._ids.pop(unk_token, None)

    def encode_piece(self, piece: str) -> list[int]:
        """One id per code point. Raises DataError for a character outside the vocabulary under the rule "error"."""
        ids = self._ids
        try:
            return [ids[character] for character in piece]
        except KeyError:
            return self._with_unknown(piece)

    def _with_unknown(self, piece: str) -> list[int]:
        missing = [at for at, character in enumerate(piece) if character not in self._ids]
        if self._unk is None:
            raise DataError(
                "This character is not in the vocabulary.",
                f"character {missing[0]}: {piece[missing[0]]!r} ({len(missing)} such characters)",
                "train on text that has it, or choose unknown='unknown'",
            )
        self.num_unknown += len(missing)
        return [self._ids.get(character, self._unk) for character in piece]

    def decode(self, ids: Sequence[int]) -> str:
        """The text; an unknown token shows by name. Raises DataError for a foreign id."""
        for id in ids:
            if not 0 <= id < len(self.vocab):
                raise DataError(
                    "This token id is not in the vocabulary.", f"id {id}, vocabulary of {len(self.vocab)}"
                )
        return "".join([self.vocab[id] for id in ids])

    def to_json(self) -> dict[str, Any]:
        """A BPE without merges: `tokenizers` then gives one token per character."""
        return {
            "type": "BPE", "dropout": None, "unk_token": self.unk_token if self._unk is not None else None,
            "continuing_subword_prefix": None, "end_of_word_suffix": None, "fuse_unk": False,
            "byte_fallback": False, "ignore_merges": False,
            "vocab": {token: id for id, token in enumerate(self.vocab) if token}, "merges": [],
        }  # fmt: skip

    @classmethod
    def from_json(cls, raw: dict[str, Any], where: str) -> Self:
        """Raises ArtifactError naming the field."""
        fields = Fields(raw, where)
        fields.choice("type", ("BPE",), "BPE")
        for field in ("dropout", "continuing_subword_prefix", "end_of_word_suffix", "fuse_unk", "byte_fallback",
                      "ignore_merges"):  # fmt: skip
            if fields.any(field):
                raise fields.wrong(field, f"{str(raw[field])[:40]} is not a character vocabulary's")
        if fields.rows("merges", []):
            raise fields.wrong("merges", "a character vocabulary has none")
        vocab, unk = read_vocab(fields), fields.text("unk_token", None)
        for id, token in enumerate(vocab):
            if len(token) > 1 and token != unk:
                raise fields.wrong("vocab", f"id {id}: {token[:40]!r} is not one character")
        if unk is not None and unk not in vocab:
            raise fields.wrong("unk_token", f"{unk[:40]!r} is not in vocab")
        fields.done()
        return cls(vocab, "error") if unk is None else cls(vocab, "unknown", unk)


def train(
    texts: Iterable[str],
    unknown: str = "error",
    min_count: int = 1,
    unk_token: str = "<unk>",
) -> Characters:
    """The characters of the texts in code point order, the unknown token first if the rule asks for one.

    min_count: rarer characters are left out. Raises DataError for text without a character or with a lone surrogate.
    """
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(text)
    if not counts:
        raise DataError("There is no text to learn characters from.", "0 characters", "check the data")
    surrogates = [character for character in counts if 0xD800 <= ord(character) < 0xE000]
    if surrogates:
        raise DataError(
            "This text holds half a surrogate pair, which no UTF-8 text can.", f"{surrogates[0]!r}"
        )
    known = sorted(character for character, count in counts.items() if count >= min_count)
    return Characters([unk_token, *known] if unknown == "unknown" else known, unknown, unk_token)
