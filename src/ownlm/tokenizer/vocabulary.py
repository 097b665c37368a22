"""What a byte-level BPE tokenizer knows: tokens, merges, special tokens. Checked once, immutable afterwards."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from ownlm.errors import ArtifactError

SPECIALS = ("<|bos|>", "<|end|>", "<|pad|>", "<|system|>", "<|user|>", "<|assistant|>", "<|document|>")
"""The control tokens of every ownlm vocabulary, in id order."""

BOS, END, PAD = SPECIALS[:3]


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """tokens[id] is the bytes of token `id`; a special token's bytes are its name in UTF-8."""

    family: str  # name of the split pattern (pretokenize.PATTERNS)
    tokens: tuple[bytes, ...]
    merges: tuple[
        tuple[int, int], ...
    ]  # (left id, right id), lowest rank first; the result is the joined bytes
    specials: dict[str, int]  # name -> id, in id order; reserved fillers included

    @classmethod
    def from_merges(
        cls, family: str, merges: Sequence[tuple[int, int]], specials: Iterable[str]
    ) -> Vocabulary:
        """Ids as `bpe.train` gives them: bytes, merges in order, specials at the end."""
        tokens = [bytes([byte]) for byte in range(256)]
        for left, right in merges:
            tokens.append(tokens[left] + tokens[right])
        names = {}
        for name in specials:
            names[name] = len(tokens)
            tokens.append(name.encode("utf-8"))
        return cls(family, tuple(tokens), tuple(merges), names)

    def byte_ids(self) -> np.ndarray:
        """int64 [256]: id of each single byte. Raises ArtifactError when a byte has no token."""
        ids = self._ordinary()
        missing = [byte for byte in range(256) if bytes([byte]) not in ids]
        if missing:
            raise ArtifactError(
                "A byte-level vocabulary must hold all 256 bytes.",
                f"model.vocab: no token for byte {missing[0]:#04x} ({len(missing)} missing)",
                "take the tokenizer.json from the folder it was written to",
            )
        return np.array([ids[bytes([byte])] for byte in range(256)], dtype=np.int64)

    def merge_table(self) -> np.ndarray:
        """int64 [M, 3]: (left, right, result) ids. Raises ArtifactError when a merge makes no known token."""
        ids, tokens = self._ordinary(), self.tokens
        results = [ids.get(tokens[left] + tokens[right], -1) for left, right in self.merges]
        if -1 in results:
            rank = results.index(-1)
            left, right = self.merges[rank]
            raise ArtifactError(
                "A merge makes a token that is not in the vocabulary.",
                f"model.merges[{rank}] = ({tokens[left]!r}, {tokens[right]!r})",
                "take the tokenizer.json from the folder it was written to",
            )
        pairs = np.array(self.merges, dtype=np.int64).reshape(-1, 2)
        return np.column_stack([pairs, np.array(results, dtype=np.int64)])

    def _ordinary(self) -> dict[bytes, int]:
        special = set(self.specials.values())
        return {token: id for id, token in enumerate(self.tokens) if id not in special}

    def digest(self) -> str:
        """SHA-256 over everything that decides the ids."""
        state = hashlib.sha256(f"ownlm-bpe-1\0{self.family}\0{len(self.tokens)}\0".encode())
        for token in self.tokens:
            state.update(len(token).to_bytes(4, "little") + token)
        state.update(np.array(self.merges, dtype="<u4").reshape(-1).tobytes())
        for name, id in self.specials.items():
            state.update(f"\0{name}\0{id}".encode())
        return state.hexdigest()
