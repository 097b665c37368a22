"""Postal codes: those with letters by shape, those of digits only beside a word or a place."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ownlm.data.privacy.finding import Finding

_DIGIT = re.compile(r"\d")
NAMED = re.compile(
    r"\b(?:zip|postcode|post ?code|postal|zip ?code|plz|c\.p\.|código postal|code postal|cap|pin ?code)\b"
    r"[^\w\n]{0,4}(?:(?:code|is|ist|es|number|no|to|was|changed|my|new)\b[^\w\n]{0,3}){0,4}"
    r"(?P<code>(?=[A-Z0-9 -]*\d)[A-Z0-9]{2,8}(?:[ -][A-Z0-9]{2,4})?)(?!\w)",
    re.IGNORECASE,
)
SHAPED = re.compile(
    r"(?<![\w-])(?P<code>[A-Z]{1,2}\d[A-Z\d]? ?\d[ABD-HJLNP-UW-Z]{2}"  # UK
    r"|[ABCEGHJ-NPRSTVXY]\d[A-Z] ?\d[A-Z]\d"  # Canada
    r"|\d{5}-\d{3}"  # Brazil
    r"|(?:DC|A[LKZR]|C[AOT]|DE|FL|GA|HI|I[DLNA]|K[SY]|LA|M[EDAINSOT]|N[EVHJMYCD]|O[HKR]|PA|RI|S[CD]|T[NX]|UT|V[TA]|W[AVIY])"
    r" (?P<us>\d{5}(?:-\d{4})?))(?![\w-])"
)
_NAMES = (
    "zip",
    "post",
    "plz",
    "c.p",
    "código",
    "code",
    "cap",
    "pin",
)  # one of these stands in all that NAMED finds
_LETTERED = re.compile(r"[A-Z](?:\d| \d{5})")  # and one of these two in all that SHAPED finds
_DASHED = re.compile(r"\d{5}-\d{3}")


def zip_codes(text: str) -> Iterator[Finding]:
    if not _DIGIT.search(text):
        return
    lower = text.lower()
    for match in NAMED.finditer(text) if any(name in lower for name in _NAMES) else ():
        if any(character.isdigit() for character in match["code"]):
            yield Finding(match.start("code"), match.end("code"), "ZIP_CODE")
    if not _LETTERED.search(text) and not _DASHED.search(text):
        return
    for match in SHAPED.finditer(text):
        group = "us" if match["us"] else "code"
        yield Finding(match.start(group), match.end(group), "ZIP_CODE")
