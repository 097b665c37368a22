"""Numbers that a state gives to a person. With check digits where the country has them, else near a word."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ownlm.data.privacy import checksums
from ownlm.data.privacy.finding import Finding

SSN = re.compile(r"(?<![\w.+-])(\d{3})([- .]?)(\d{2})\2(\d{4})(?![\w-]|\.\d)")
_SSN_WORD = re.compile(r"\b(?:ssn|social|security|itin|tax(?:payer)?)\b|\bss ?#", re.IGNORECASE)
NINO = re.compile(
    r"\b(?!BG|GB|NK|KN|TN|NT|ZZ)[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z] ?(\d\d) ?(\d\d) ?(\d\d) ?[A-D]\b"
)
DNI = re.compile(r"\b([XYZ]?)-?(\d{7,8})-?([A-Z])\b")
NIR = re.compile(
    r"(?<![\w.])([12] ?\d\d ?(?:0[1-9]|1[0-2]|[2-9]\d) ?(?:\d\d|2[AB]) ?\d{3} ?\d{3}) ?(\d\d)(?!\w)"
)
CODICE = re.compile(r"\b([A-Z]{6}\d\d[A-EHLMPR-T]\d\d[A-Z]\d{3})([A-Z])\b", re.IGNORECASE)
AADHAAR = re.compile(r"(?<![\w.])(?<!\d[ -])[2-9]\d{3}([ -]?)\d{4}\1\d{4}(?![\w.]|[ -]\d)")
_PAN_WORD = re.compile(r"\bPAN\b|income tax|permanent account", re.IGNORECASE)
PAN = re.compile(r"\b[A-Z]{3}[ABCFGHJLPT][A-Z]\d{4}[A-Z]\b")
STEUER = re.compile(r"(?<![\w.])[1-9]\d ?\d{3} ?\d{3} ?\d{3}(?!\w)")
_GERMAN_WORD = re.compile(r"steuer|\bidnr|\btin\b|tax id", re.IGNORECASE)
_INDIAN_WORD = re.compile(r"aadhaa?r|\buid\b|uidai", re.IGNORECASE)
LICENCE = re.compile(
    r"(?:driv(?:er'?s?|ing)[ -]*licen[cs]e|\bDL\b|permis de conduire|f(?:ü|ue)hrerschein|permiso de conducir)"
    r"[^\d\n]{0,40}?(?<!\w)(?P<number>(?=[A-Z]{0,5}-?\d)[A-Z0-9]{1,6}(?:[- ]?[A-Z0-9]{1,9}){0,3})(?!\w)",
    re.IGNORECASE,
)
PASSPORT = re.compile(
    r"(?:passport|passeport|reisepass|pasaporte)[^\d\n]{0,40}?(?<!\w)(?P<number>[A-Z]{0,3}\d{6,9}[A-Z]?)(?!\w)",
    re.IGNORECASE,
)


def _near(word: re.Pattern[str], text: str, start: int, reach: int = 40) -> bool:
    return bool(word.search(text, max(0, start - reach), start))


def social_security(text: str) -> Iterator[Finding]:
    """US numbers by the rules of the SSA: no area 000, 666 or 9xx, no group 00, no serial 0000; ITINs (area 9xx,
    group 50 to 99) count too. Without dashes only after a word like "SSN" or "social security"."""
    for match in SSN.finditer(text):
        area, separator, group, serial = match.groups()
        allowed = area not in ("000", "666") and group != "00" and serial != "0000"
        if area[0] == "9":
            allowed = allowed and "50" <= group <= "99"
        if allowed and (separator == "-" or _near(_SSN_WORD, text, match.start())):
            yield Finding(match.start(), match.end(), "US_SSN")


def national_ids(text: str) -> Iterator[Finding]:
    """UK NINO, Spain DNI and NIE, France NIR, Italy codice fiscale, India Aadhaar and PAN, Germany Steuer-ID."""
    kind = "NATIONAL_ID"
    for match in NINO.finditer(text):
        yield Finding(match.start(), match.end(), kind)
    for match in DNI.finditer(text):
        number = match[2] if not match[1] else str("XYZ".index(match[1])) + match[2]
        if len(number) == 8 and checksums.spanish_letter(number) == match[3]:
            yield Finding(match.start(), match.end(), kind)
    for match in NIR.finditer(text):
        if checksums.french_key(match[1].replace(" ", "")) == match[2]:
            yield Finding(match.start(), match.end(), kind)
    for match in CODICE.finditer(text):
        if checksums.italian_letter(match[1].upper()) == match[2].upper():
            yield Finding(match.start(), match.end(), kind)
    for match in AADHAAR.finditer(text):
        grouped = match[1] != ""
        number = match.group().replace(" ", "").replace("-", "")
        if checksums.verhoeff(number) and (grouped or _near(_INDIAN_WORD, text, match.start())):
            yield Finding(match.start(), match.end(), kind)
    for match in PAN.finditer(text):
        if _near(_PAN_WORD, text, match.start()):
            yield Finding(match.start(), match.end(), kind)
    for match in STEUER.finditer(text):
        if _near(_GERMAN_WORD, text, match.start()) and checksums.german_tax(match.group().replace(" ", "")):
            yield Finding(match.start(), match.end(), kind)


def papers(text: str) -> Iterator[Finding]:
    """Driving licences and passports: no checksums that hold across issuers, so only within 40 characters after
    the word, with at least five digits (licence) or six (passport)."""
    for match in LICENCE.finditer(text):
        if sum(c.isdigit() for c in match["number"]) >= 5:
            yield Finding(match.start("number"), match.end("number"), "US_DRIVER_LICENSE")
    for match in PASSPORT.finditer(text):
        yield Finding(match.start("number"), match.end("number"), "PASSPORT")
