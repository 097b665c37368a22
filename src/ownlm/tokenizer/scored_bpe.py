"""BPE where each piece has a score and the pair that makes the best piece is merged first (SentencePiece's BPE).

Cutting costs O(n log n): char_bpe.merge_all. Where no piece goes from a word into the space after it, which is nearly
always, a text is cut word by word and known words come from a cache.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import cached_property

import regex

from ownlm.tokenizer.char_bpe import Found, merge_all
from ownlm.tokenizer.piece_kernels import LONG, Merger, merger

_SPACE = "▁"
_CACHED = 200_000  # words
_LONGEST_CACHED = 64  # characters
_WORDS = regex.compile(f"{_SPACE}*[^{_SPACE}]+|{_SPACE}+")


class ScoredBPE:
    def __init__(self, ids: Mapping[str, int], scores: Sequence[float], unused: Collection[str] = ()) -> None:
        """ids: piece -> index into scores. unused: pieces that merges pass through, but that are taken apart again."""
        self._ids, self._scores, self._unused = ids, scores, frozenset(unused)
        self._by_word = not any(_crosses(piece) for piece in ids)
        self._cache: dict[str, list[str]] = {}
        self._names = list(ids)
        self._numbers = {piece: number for number, piece in enumerate(self._names)}
        self._characters: dict[str, int] = {}
        self._pairs: dict[tuple[int, int], Found] = {}

    def cut(self, text: str) -> list[str]:
        """The pieces, in order; a character that is in no piece stands alone."""
        if not self._by_word:
            return self._cut(text)
        pieces: list[str] = []
        for word in self.words(text):
            known = self._cache.get(word)
            if known is None:
                known = self._cut(word)
                if len(word) <= _LONGEST_CACHED and len(self._cache) < _CACHED:
                    self._cache[word] = known
            pieces += known
        return pieces

    def words(self, text: str) -> list[str]:
        """The stretches that merges do not leave."""
        return _WORDS.findall(text) if self._by_word else [text]

    def id(self, piece: str) -> int:
        """-1 for what is no piece."""
        return self._ids.get(piece, -1)

    def score(self, id: int) -> float:
        return self._scores[id]

    def is_unused(self, piece: str) -> bool:
        return piece in self._unused

    @cached_property
    def _fast(self) -> Merger | None:
        """Over every way to put a piece together; `_characters` are those that are in pieces without being one."""
        pairs: dict[tuple[int, int], tuple[float, int]] = {}
        for piece, id in self._ids.items():
            for at in range(1, len(piece)):
                left, right = self._part(piece[:at]), self._part(piece[at:])
                if left is not None and right is not None:
                    pairs[left, right] = (-self._scores[id], self._numbers[piece])
        return merger(pairs)

    def _part(self, part: str) -> int | None:
        number = self._numbers.get(part)
        if number is None and len(part) == 1:
            return self._characters.setdefault(part, len(self._names) + len(self._characters))
        return number

    def _cut_fast(self, text: str, kernel: Merger) -> list[str]:
        """A character that is in no piece gets the number behind all others, which no pair has."""
        behind = len(self._names) + len(self._characters)
        known = {
            character: self._numbers.get(character, self._characters.get(character, behind))
            for character in set(text)
        }
        names, out, at = [*self._names, *self._characters], [], 0
        for number in kernel.merge([known[character] for character in text]):
            piece = text[at] if number == behind else names[number]
            out.append(piece)
            at += len(piece)
        return out

    def _cut(self, text: str) -> list[str]:
        if len(text) > LONG and not self._unused and self._fast is not None:
            return self._cut_fast(text, self._fast)
        fresh: dict[str, int] = {}  # characters that are no piece by themselves, but may be part of one
        names = self._names
        numbers = []
        for character in text:
            number = self._numbers.get(character)
            if number is None:
                number = fresh.setdefault(character, len(names) + len(fresh))
            numbers.append(number)
        if fresh:
            names = [*names, *fresh]
        apart: dict[str, tuple[str, str]] = {}  # unused piece -> the pieces it was first merged from

        def find(left: int, right: int) -> Found:
            known = self._pairs.get((left, right), False)
            if known is False or (known is not None and self._unused):
                known = self._find(names, left, right, apart)
                if max(left, right) < len(self._names):
                    self._pairs[left, right] = known
            return known  # type: ignore[return-value]

        pieces = [names[number] for number in merge_all(numbers, find)]
        return [part for piece in pieces for part in self._whole(piece, apart)] if self._unused else pieces

    def _find(self, names: Sequence[str], left: int, right: int, apart: dict[str, tuple[str, str]]) -> Found:
        joined = names[left] + names[right]
        id = self._ids.get(joined)
        if id is None:
            return None
        if joined in self._unused:
            apart[joined] = (names[left], names[right])
        return -self._scores[id], self._numbers[joined]

    def _whole(self, piece: str, apart: Mapping[str, tuple[str, str]]) -> list[str]:
        if piece not in self._unused or piece not in apart:
            return [piece]
        left, right = apart[piece]
        return [*self._whole(left, apart), *self._whole(right, apart)]


def _crosses(piece: str) -> bool:
    return _SPACE in piece.lstrip(_SPACE)
