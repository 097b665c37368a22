"""No tokenizer at all: the ids are the UTF-8 bytes 0-255, special tokens follow (ByT5, arXiv:2105.13626)."""

from __future__ import annotations

from collections.abc import Iterable

from ownlm.tokenizer.tokenizer import Tokenizer
from ownlm.tokenizer.vocabulary import SPECIALS, Vocabulary


def byte_tokenizer(specials: Iterable[str] = SPECIALS) -> Tokenizer:
    """A byte-level BPE with no merges: same face, files and compiled encoder as every other; loss-free by construction.

    Ids differ from ByT5's, whose three special tokens come first (its byte b is id b + 3).
    """
    return Tokenizer(Vocabulary.from_merges("gpt2", (), specials))
