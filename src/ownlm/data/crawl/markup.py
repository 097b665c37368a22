"""Start tags of an HTML text with their attributes, in one pass: for links and meta elements, not for text.

After the HTML5 tokenizer as far as tags go: quoted values may hold ">", comments and the insides of script, style,
template, title, textarea and xmp hold no tags. Linear: every character is looked at once.
"""

from __future__ import annotations

import functools
import html
import re
from collections.abc import Iterator

_SPACE = re.compile(r"[\s/]*")
_NAME = re.compile(r"[^\s/>=]+")
_EQUALS = re.compile(r"\s*=\s*")
_BARE = re.compile(r"[^\s>]+")
_RAW = ("script", "style", "template", "title", "textarea", "xmp")
_MOST_VALUE = 10_000  # characters of an attribute that are kept


@functools.lru_cache(maxsize=16)
def _starts(names: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile(rf"<(?:(!--)|({'|'.join((*_RAW, *names))})(?=[\s/>]))", re.I)


def tags(source: str, names: tuple[str, ...]) -> Iterator[tuple[str, dict[str, str]]]:
    """(name, attributes) of the start tags called `names` (lower case), in order.

    Attribute names come in lower case, entities in values are resolved, the first of a name counts.
    """
    starts = _starts(names)
    missing: set[str] = set()  # ends that do not come again: sought once
    at = 0
    while found := starts.search(source, at):
        if found.group(1):
            at = _after(source, "-->", found.end(), missing)
            continue
        name = found.group(2).lower()
        at, attributes = _attributes(source, found.end())
        if at < 0:
            return
        if name in names:
            yield name, attributes
        if name in _RAW:
            at = _after(source, f"</{name}", at, missing)


def _after(source: str, end: str, at: int, missing: set[str]) -> int:
    """Where to go on after `end`; at once when it never comes, since then it hides nothing."""
    if end in missing:
        return at
    found = re.compile(re.escape(end), re.I).search(source, at)
    if found is None:
        missing.add(end)
        return at
    return found.end()


def _attributes(source: str, at: int) -> tuple[int, dict[str, str]]:
    """The place after the tag, -1 when it never ends; and its attributes."""
    found: dict[str, str] = {}
    while True:
        at = _SPACE.match(source, at).end()  # type: ignore[union-attr]  # an empty match is a match
        if at >= len(source):
            return -1, found
        if source[at] == ">":
            return at + 1, found
        name = _NAME.match(source, at)
        if name is None:  # a lone "="
            at += 1
            continue
        at = name.end()
        equals = _EQUALS.match(source, at)
        value = ""
        if equals:
            at = equals.end()
            quote = source[at : at + 1]
            if quote in ('"', "'") and quote:
                end = source.find(quote, at + 1)
                if end < 0:
                    return -1, found
                value, at = source[at + 1 : end], end + 1
            elif bare := _BARE.match(source, at):
                value, at = bare.group(), bare.end()
        found.setdefault(name.group()[:100].lower(), html.unescape(value[:_MOST_VALUE]).strip())
