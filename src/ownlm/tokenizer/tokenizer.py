"""`Tokenizer`: text <-> ids, for one vocabulary. It is an `Encode` of records.py.

Special tokens never come out of `encode`: text that spells one is ordinary text. Only `special_id` and the chat
template (chat.py) put control ids into a sequence.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from pathlib import Path

import numpy as np

from ownlm.errors import DataError, UsageError
from ownlm.tokenizer.encoder import Encoder, make_encoder
from ownlm.tokenizer.vocabulary import BOS, END, PAD, Vocabulary


@dataclass(frozen=True, slots=True)
class Training:
    """What learning the vocabulary came to; `vocab_size` below `requested` means that the text ran out of pairs."""

    requested: int
    vocab_size: int
    num_merges: int
    num_reserved: int  # named fillers up to a multiple of 64; no text makes them
    num_words: int  # distinct pieces counted
    num_bytes: int  # UTF-8 bytes read
    min_count: int

    def notice(self) -> str:
        """One sentence when fewer tokens were learned than asked for, otherwise empty."""
        if self.vocab_size == self.requested and not self.num_reserved:
            return ""
        return (
            f"the text has only {self.num_merges} pairs that occur {self.min_count} times or more: the vocabulary has "
            f"{self.vocab_size} tokens instead of {self.requested}, {self.num_reserved} of them reserved fillers"
        )


class Tokenizer:
    def __init__(
        self,
        vocabulary: Vocabulary,
        *,
        chat_template: str | None = None,
        model_max_length: int | None = None,
        training: Training | None = None,
        named: Mapping[str, str] | None = None,
    ) -> None:
        """chat_template: Jinja source; None takes the one that comes with ownlm. model_max_length: in tokens.

        named: role ("bos", "eos", "pad") -> special token; None: those that ownlm's vocabularies give these roles.
        """
        self.vocabulary = vocabulary
        self.chat_template = default_chat_template() if chat_template is None else chat_template
        self.model_max_length = model_max_length
        self.training = training  # only on a tokenizer fresh from bpe.train
        self.vocab_size = len(vocabulary.tokens)
        self.family = vocabulary.family
        self.specials = dict(vocabulary.specials)
        ours = {"bos": BOS, "eos": END, "pad": PAD} if named is None else named
        self.named = {role: name for role, name in ours.items() if name in self.specials}
        self._encoder: Encoder = make_encoder(
            vocabulary.family, vocabulary.byte_ids(), vocabulary.merge_table(), self.vocab_size
        )

    @cached_property
    def digest(self) -> str:
        """SHA-256 over the vocabulary: equal digests give equal ids."""
        return self.vocabulary.digest()

    def special_id(self, name: str) -> int:
        if name not in self.specials:
            raise UsageError(
                "This tokenizer has no such special token.", f"{name!r}", f"it has {', '.join(self.specials)}"
            )
        return self.specials[name]

    def encode(self, text: str) -> list[int]:
        """Ids of a text, no special token added or recognised. Raises DataError on a lone surrogate."""
        return self._encoder.encode(text)

    def encode_batch(self, texts: Sequence[str], threads: int | None = None) -> list[np.ndarray]:
        """Ids of each text as uint16 (up to 65,536 tokens) or uint32 [n]; threads None: as many as it is worth.

        The arrays of one call are views of one block. Raises DataError on a lone surrogate.
        """
        return self._encoder.encode_batch(texts, threads)

    def token_bytes(self, id: int) -> bytes:
        """The bytes that a token stands for (a special token: its name). Raises DataError for a foreign id."""
        if not 0 <= id < self.vocab_size:
            raise DataError(
                "This token id is not in the vocabulary.",
                f"id {id}, vocabulary of {self.vocab_size}",
                "use ids from the tokenizer of the same model",
            )
        return self.vocabulary.tokens[id]

    def decode_bytes(self, ids: Sequence[int] | np.ndarray) -> bytes:
        values = ids.tolist() if isinstance(ids, np.ndarray) else ids
        tokens = self.vocabulary.tokens
        if values and not 0 <= min(values) <= max(values) < self.vocab_size:
            for id in values:
                self.token_bytes(id)
        return b"".join([tokens[id] for id in values])

    def decode(self, ids: Sequence[int] | np.ndarray) -> str:
        """The text of ids; special tokens appear by name; bytes that are no UTF-8 become U+FFFD."""
        return self.decode_bytes(ids).decode("utf-8", errors="replace")

    def save(self, folder: Path | str) -> None:
        """Write tokenizer.json, tokenizer_config.json, special_tokens_map.json and chat_template.jinja."""
        from ownlm.tokenizer import hf_json  # hf_json builds Tokenizers: imported late to keep one direction

        hf_json.save(self, Path(folder))

    @classmethod
    def load(cls, folder: Path | str) -> Tokenizer:
        """Raises ArtifactError naming the file and the field when something in the folder is wrong."""
        from ownlm.tokenizer import hf_json

        return hf_json.load(Path(folder))


def default_chat_template() -> str:
    """The template that comes with ownlm; `save` copies it, and from then on the folder's copy is the one used."""
    return (resources.files("ownlm.tokenizer") / "chat_templates" / "ownlm.jinja").read_text(encoding="utf-8")
