"""Where a text may be cut so that each piece can be searched on its own, whether it arrives whole or in chunks.

A piece ends after a sentence, after a blank line, or at LONGEST characters (then at the last white space of its second
half, else in the middle of a word). The rule looks at one character past the cut and none before the sentence's last
word, so the cuts of a stream are those of the whole text.
"""

from __future__ import annotations

import re

LONGEST = 2048  # characters held back at most; anything up to half of it is never cut in two by length alone
BEFORE = 64  # characters of context that a piece may look back at

# A stop ends a sentence unless it follows an abbreviation, an initial or a house number, or a small letter comes next.
# Line breaks alone end nothing: addresses and wrapped numbers run over them.
_ABBREVIATIONS = (  # noqa: SIM905
    "Mr Ms Mrs mr ms mrs Dr dr St Jr Sr Prof No no Nr Ave Apt Rd Blvd Str str Ste Tel tel Fax vs Inc Ltd Co Mt Ft ul os al pl Av nám"
).split()
_ABBREVIATED = "".join(
    rf"(?<!\b{word}\.)" for word in (*_ABBREVIATIONS, "[A-Za-z]", r"\d", r"\d\d", r"\d\d\d")
)
CUT = re.compile(
    rf"[.!?。！？](?<![A-Z.]\.){_ABBREVIATED}[\"')\]]{{0,2}}\s++(?=[^\sa-z0-9,;])"
    r"|(?<!\s)[ \t\r]*+\n[ \t\r]*+\n\s*+(?=\S)"
)


def next_cut(text: str, start: int, final: bool) -> int | None:
    """Where the piece that begins at `start` ends; None: not to be told before more text arrives."""
    limit = start + LONGEST
    match = CUT.search(text, start + 1, limit + 1)
    if match and match.end() < limit and (final or match.end() < len(text)):
        return match.end()
    if len(text) <= limit:
        return len(text) if final else None
    space = max(text.rfind(" ", start + LONGEST // 2, limit), text.rfind("\n", start + LONGEST // 2, limit))
    return space + 1 if space > 0 else limit
