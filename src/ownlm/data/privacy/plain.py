"""Look-alike characters as plain ones, so that one rule set reads them all, with the way back to the original."""

from __future__ import annotations

import re
import unicodedata

ODD = re.compile(
    "(?![0-9])\\d"  # digits of other scripts
    "|[\u00ad\u034f\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff]"  # seen by nobody
    "|[\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]"  # spaces
    "|[\u2010-\u2015\u2212\ufe58\ufe63\uff0d]"  # dashes
    "|[\uff01-\uff5e\ufe52\ufe6b]"  # full-width forms, small stop, small at
)
INVISIBLE = re.compile("[\u00ad\u034f\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff]")


def _plain(match: re.Match[str]) -> str:
    character = match.group()
    if character.isdecimal():
        return str(unicodedata.decimal(character))
    if character in "\ufe52\ufe6b" or "\uff01" <= character <= "\uff5e":
        return unicodedata.normalize("NFKC", character)
    return " " if unicodedata.category(character) == "Zs" else "-"


def plain(text: str) -> tuple[str, list[int] | None]:
    """The text with one plain character for each odd one, and, where invisible characters were left out, the
    index in `text` of every character that stayed (None: all stayed)."""
    if text.isascii() or not ODD.search(text):
        return text, None
    kept = None
    if INVISIBLE.search(text):
        kept = [index for index, character in enumerate(text) if not INVISIBLE.match(character)]
        text = INVISIBLE.sub("", text)
    return ODD.sub(_plain, text), kept
