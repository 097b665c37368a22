"""Putting the parts of a postal address together: the name model marks streets, places and postal codes one by one.

An address that stands in a sentence, after a colon or under the name of a firm is one thing, from the street to the
country. In a block of lines of its own or under a person's name, and with a lone place after a comma, the places stay
what they are, as in the sets that mark such texts; a code behind a country's name is part of the address there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from ownlm.data.privacy.finding import Finding

_PARTS = ("GPE", "ZIP_CODE", "NRP", "STREET_ADDRESS")
_SAID = re.compile(r"\b[a-z]+ [a-z]|:$")
_UNDER = re.compile(r"[ .,]*\r?\n ?")


def assembled(text: str, findings: Sequence[Finding]) -> Iterator[Finding]:
    """The findings of one text, in order, those of one address joined or told apart."""
    first = 0
    while first < len(findings):
        last = first
        if findings[first].kind == "STREET_ADDRESS":
            while last + 1 < len(findings) and _linked(text, findings, last):
                last += 1
        block = findings[first : last + 1]
        if last > first and _is_one(text, block, findings[first - 1] if first else None):
            yield Finding(block[0].start, block[-1].end, "STREET_ADDRESS")
        else:
            yield from _apart(text, block)
        first = last + 1


def _linked(text: str, findings: Sequence[Finding], last: int) -> bool:
    """Whether the finding after `last` goes on with the address: only signs between, or up to two capitalised words
    or numbers that the model made nothing of."""
    one, other = findings[last], findings[last + 1]
    gap = text[one.end : other.start]
    if other.kind not in _PARTS:
        # A city taken for a person or a firm: behind the street without a sign, or with more of the address behind it.
        if other.kind not in ("PERSON", "ORGANIZATION") or one.kind != "STREET_ADDRESS":
            return False
        return gap == " " or (
            last + 2 < len(findings) and "." not in gap and _linked(text, findings, last + 1)
        )
    words = [word for word in re.split(r"[\s,.>?*|()#\-]+", gap) if word] if len(gap) < 60 else [gap]
    stray = all(word[0].isupper() or word.isdecimal() or word == "nan" for word in words)
    return not words or (len(words) <= 2 and stray and ". " not in gap)


def _is_one(text: str, block: Sequence[Finding], before: Finding | None) -> bool:
    start = block[0].start
    places = [part for part in block if part.kind != "STREET_ADDRESS"]
    if not places:
        return True
    gap = text[block[block.index(places[0]) - 1].end : places[0].start]
    if len(places) == 1 and "," in gap and not re.search(r"[\d\n,]", text[places[0].start : places[0].end]):
        return False
    line = text.rfind("\n", 0, start) + 1
    row = before is not None and before.end >= line  # something else was found on the same line
    between = text[max(line, before.end if before else 0) : start]
    if "\n" not in text[start : block[-1].end] or any(map(str.isalnum, between)) or (row and between.strip()):
        return True  # on one line, in a sentence, after a colon or in a list of things
    if re.search(r"\b[a-z]+ [a-z]", text[block[-1].end :].partition("\n")[0]):
        return True
    # Right under a name or a sentence it is a letter's head; a blank line, a mark or an indent makes it a block.
    above = text[max(0, line - 200) : line].rstrip("\r\n ").rpartition("\n")[2]
    if text[line:start] in ("", " ") and _SAID.search(above) and text[max(0, line - 2) : line] != "\n\n":
        return True
    return before is not None and _UNDER.fullmatch(text, before.end, start) is not None


def firms(text: str, findings: Sequence[Finding]) -> Iterator[Finding]:
    """On a card or a letter what fills the line between a person and an address is a firm, not a place."""
    for place, one in enumerate(findings):
        if one.kind == "GPE" and 0 < place < len(findings) - 1:
            before, after = findings[place - 1], findings[place + 1]
            above = text[before.end : one.start]
            below = text[one.end : after.start]
            alone = all("\n" in gap and not any(map(str.isalnum, gap)) for gap in (above, below))
            if alone and before.kind == "PERSON" and after.kind in ("STREET_ADDRESS", "PERSON"):
                one = Finding(one.start, one.end, "ORGANIZATION")
        yield one


def _apart(text: str, block: Sequence[Finding]) -> Iterator[Finding]:
    for place, part in enumerate(block):
        one = part
        if part.kind == "ZIP_CODE" and place > 1 and block[place - 1].kind in ("GPE", "NRP"):
            gap = text[block[place - 1].end : part.start]
            own_line = "\n" in text[block[place - 2].end : block[place - 1].start]
            if gap.strip(" )") == "" and "\n" not in gap and own_line:
                one = Finding(part.start, part.end, "STREET_ADDRESS")
        yield one
