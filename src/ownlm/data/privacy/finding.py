"""What is looked for, and how findings that overlap are settled."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

PLACEHOLDERS = {
    # identifiers, the default: each points at one person or opens one account
    "SECRET": "SECRET",  # API keys, tokens, private keys, passwords
    "EMAIL_ADDRESS": "EMAIL",
    "IBAN_CODE": "IBAN",
    "CREDIT_CARD": "CARD",
    "CRYPTO": "CRYPTO",
    "US_SSN": "SSN",
    "NATIONAL_ID": "NATIONAL_ID",
    "US_DRIVER_LICENSE": "DRIVER_LICENSE",
    "PASSPORT": "PASSPORT",
    "MAC_ADDRESS": "MAC",
    "IP_ADDRESS": "IP",
    "PHONE_NUMBER": "PHONE",
    # on request: text about the world is full of these
    "DOMAIN_NAME": "URL",
    "DATE_TIME": "DATE",
    "AGE": "AGE",
    "TITLE": "TITLE",
    "ZIP_CODE": "ZIP",
    "STREET_ADDRESS": "ADDRESS",
    "PERSON": "PERSON",
    "ORGANIZATION": "ORGANIZATION",
    "GPE": "PLACE",
    "NRP": "GROUP",
}  # kind (the names of Microsoft Presidio) -> what stands in its place; the order settles overlaps, first wins
KINDS = tuple(PLACEHOLDERS)
IDENTIFIERS = KINDS[: KINDS.index("DOMAIN_NAME")]
RULED = KINDS[: KINDS.index("STREET_ADDRESS")]  # found by rules alone; the rest need the name model
# An address is worth more than a year or a postal code that its numbers look like.
_ORDER = dict.fromkeys((*IDENTIFIERS, "DOMAIN_NAME", "STREET_ADDRESS", *KINDS))
RANK = {kind: rank for rank, kind in enumerate(_ORDER)}


@dataclass(frozen=True, slots=True)
class Finding:
    """One piece of personal data: `start` and `end` in characters of the text that was given."""

    start: int
    end: int
    kind: str


def settle(text: str, findings: Iterable[Finding]) -> list[Finding]:
    """The findings in order and without overlap: by rank of kind, then longer, then earlier.

    What a loser has outside of the winners stays as a shorter finding if a letter or a digit is left in it.
    """
    taken: list[Finding] = []
    for finding in sorted(findings, key=lambda f: (RANK[f.kind], f.start - f.end, f.start)):
        pieces = [(finding.start, finding.end)]
        for winner in taken:
            if winner.start < finding.end and finding.start < winner.end:
                pieces = [
                    part
                    for start, end in pieces
                    for part in ((start, min(end, winner.start)), (max(start, winner.end), end))
                    if part[0] < part[1]
                ]
        whole = pieces == [(finding.start, finding.end)]
        for start, end in pieces:
            if whole or any(character.isalnum() for character in text[start:end]):
                taken.append(_trimmed(text, Finding(start, end, finding.kind)) if not whole else finding)
    return sorted(taken, key=lambda f: f.start)


def _trimmed(text: str, finding: Finding) -> Finding:
    start, end = finding.start, finding.end
    while start < end and not text[start].isalnum():
        start += 1
    while end > start and not text[end - 1].isalnum():
        end -= 1
    return Finding(start, end, finding.kind)
