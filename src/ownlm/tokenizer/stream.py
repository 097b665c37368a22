"""Ids -> text as they arrive, never cutting a UTF-8 character."""

from __future__ import annotations

import codecs

from ownlm.tokenizer.tokenizer import Tokenizer


class Detokenizer:
    """One stream. The pushed texts and the flushed rest joined equal `Tokenizer.decode` of all ids."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def push(self, id: int) -> str:
        """The text that is certain now: empty while a character is incomplete. DataError for a foreign id."""
        return self._decoder.decode(self._tokenizer.token_bytes(id))

    def flush(self) -> str:
        """What is left at the end: an incomplete character becomes U+FFFD."""
        return self._decoder.decode(b"", final=True)
