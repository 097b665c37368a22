"""Added tokens of tokenizer.json: strings that are found in the text before the model sees it.

Semantics of Hugging Face `tokenizers`: the tokens with `normalized` false are looked for in the text as given, the
others (normalised themselves) in each normalised stretch between; leftmost, then longest. Special ones are found too
but left as text unless `parse_special` is on, which is `encode_special_tokens=True` there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import regex

from ownlm.tokenizer.fields import Fields, wrong

_WORD = regex.compile(r"[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\u200c\u200d]")
WHITE_SPACE = "\t\n\v\f\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(
    map(chr, range(0x2000, 0x200B))
)


@dataclass(frozen=True, slots=True)
class AddedToken:
    id: int
    content: str
    special: bool = True
    normalized: bool = False
    single_word: bool = False  # only between characters that are no part of a word
    lstrip: bool = False  # takes the white space before it
    rstrip: bool = False  # takes the white space after it

    def to_json(self) -> dict[str, Any]:
        return {
            "id": self.id, "content": self.content, "single_word": self.single_word, "lstrip": self.lstrip,
            "rstrip": self.rstrip, "normalized": self.normalized, "special": self.special,
        }  # fmt: skip


def read_added(raw: Any, where: str) -> tuple[AddedToken, ...]:
    """The added_tokens list, in file order. Raises ArtifactError naming the field."""
    if not isinstance(raw, list):
        raise wrong(where, "added_tokens", "not a list")
    tokens: dict[str, AddedToken] = {}
    ids: set[int] = set()
    for n, row in enumerate(raw):
        fields = Fields(row, f"{where}: added_tokens[{n}]")
        content, id = fields.text("content"), fields.integer("id", 0, (1 << 31) - 1)
        special = fields.flag("special", False)
        flags = {name: fields.flag(name, False) for name in ("single_word", "lstrip", "rstrip")}
        normalized = fields.flag("normalized", not special)
        fields.done()
        if not content:
            raise fields.wrong("content", "empty")
        if content in tokens or id in ids:
            raise fields.wrong("id", f"{content[:40]!r} = {id} clashes with another added token")
        ids.add(id)
        tokens[content] = AddedToken(id, content, special, normalized, **flags)
    return tuple(tokens.values())


Part = tuple[str, int | None]  # a stretch of text, or a token found there


class Finder:
    """Finds a set of tokens in text. patterns[i] is what tokens[i] looks like in the text searched."""

    def __init__(self, tokens: Sequence[AddedToken], patterns: Sequence[str]) -> None:
        self._by_pattern = dict(zip(patterns, tokens, strict=True))
        longest_first = sorted(self._by_pattern, key=len, reverse=True)
        self._search = re.compile("|".join(map(re.escape, longest_first))) if tokens else None

    def split(self, text: str, is_text: Callable[[AddedToken], bool]) -> list[Part]:
        """The text in order, cut at the tokens found; `is_text` says which of them stay text."""
        if self._search is None or not text:
            return [(text, None)]
        parts: list[Part] = []
        at = 0
        for found in self._search.finditer(text):
            token = self._by_pattern[found[0]]
            start, end = found.span()
            if is_text(token) or (token.single_word and _touches_word(text, start, end)):
                continue
            if token.lstrip:
                start = max(at, _before_space(text, start))
            if token.rstrip:
                end = _after_space(text, end)
            if at < start:
                parts.append((text[at:start], None))
            parts.append((text[start:end], token.id))
            at = end
        if at < len(text):
            parts.append((text[at:], None))
        return parts


def _touches_word(text: str, start: int, end: int) -> bool:
    before = start > 0 and _WORD.match(text[start - 1])
    return bool(before or (end < len(text) and _WORD.match(text[end])))


def _before_space(text: str, at: int) -> int:
    while at > 0 and text[at - 1] in WHITE_SPACE:
        at -= 1
    return at


def _after_space(text: str, at: int) -> int:
    while at < len(text) and text[at] in WHITE_SPACE:
        at += 1
    return at


class AddedVocabulary:
    """The two searches of one tokenizer."""

    def __init__(
        self, tokens: Sequence[AddedToken], normalize: Callable[[str], str] | None, where: str
    ) -> None:
        plain = [token for token in tokens if not token.normalized]
        normal = [token for token in tokens if token.normalized]
        spelled = [normalize(token.content) if normalize else token.content for token in normal]
        for token, text in zip(normal, spelled, strict=True):
            if not text:
                raise wrong(where, "added_tokens", f"{token.content[:40]!r} normalises to nothing")
        self._plain = Finder(plain, [token.content for token in plain])
        self._normal = Finder(normal, spelled)
        self._normalize = normalize

    def parts(
        self, text: str, parse_special: bool, as_text: Collection[str]
    ) -> list[tuple[str, int | None, bool]]:
        """(normalised text, None or the id of a token found, does it begin at the first character of `text`)."""

        def is_text(token: AddedToken) -> bool:
            return (token.special and not parse_special) or token.content in as_text

        done: list[tuple[str, int | None, bool]] = []
        at = 0
        for raw, id in self._plain.split(text, is_text):
            if id is not None:
                done.append((raw, id, at == 0))
            elif raw:
                done += self._normalized(raw, at == 0, is_text)
            at += len(raw)
        return done

    def _normalized(
        self, raw: str, first: bool, is_text: Callable[[AddedToken], bool]
    ) -> list[tuple[str, int | None, bool]]:
        if self._normalize is None:
            normal = raw
        else:
            normal = self._normalize(raw)
            if first and not normal.startswith(raw[0]) and not self._normalize(raw[0]):
                first = False  # the normalizer dropped the first character, so no piece begins with it
        done: list[tuple[str, int | None, bool]] = []
        start = 0
        for text, id in self._normal.split(normal, is_text):
            if text:
                done.append((text, id, first and start == 0))
            start += len(text)
        return done
