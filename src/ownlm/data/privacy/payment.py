"""Payment cards, bank accounts (IBAN) and crypto addresses: all have check digits, so few of them are guessed."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ownlm.data.privacy import checksums
from ownlm.data.privacy.finding import Finding

_BREAK = r"(?:[ \-.]|[ \-]?\r?\n[ >#*]{0,8}|  )"  # between groups: space, dash, dot, or one line break
DIGITS = re.compile(rf"(?<![\w+])(?<![\d]\.)(?<!\+ )\d(?:{_BREAK}?\d){{11,40}}(?![\w%])")
GROUP = re.compile(r"\d+")
CARD_WORD = re.compile(
    r"\b(?:card|cards|cc|visa|mastercard|amex|carte|karte|kreditkarte|tarjeta|carta)\b", re.I
)
_ISSUERS = re.compile(
    r"(?:4(?:\d{12}|\d{15}|\d{18})"  # Visa
    r"|(?:5[1-5]\d\d|222[1-9]|22[3-9]\d|2[3-6]\d\d|27[01]\d|2720|220[0-4])\d{12}"  # Mastercard, Mir
    r"|3[47]\d{13}"  # American Express
    r"|(?:30[0-5]|309|36\d|3[89]\d)\d{11}"  # Diners Club
    r"|(?:6011|64[4-9]\d|65\d\d|62\d\d|60\d\d|81\d\d|82\d\d|508\d)\d{12}(?:\d{3})?"  # Discover, UnionPay, RuPay
    r"|(?:2131|1800)\d{11}|35\d{14}(?:\d{3})?"  # JCB (issued 3528 to 3589; test numbers use all of 35)
    r"|(?:5018|5020|5038|5[678]\d\d|6304|6759|676[123]|0604|6390)\d{8,15})"  # Maestro
)
_FIRST = re.compile(r"[4-6]|2(?:131|[2-7])|1800|3[04-9]|8[12]|0604")
_SHAPES = {
    (4, 4, 4, 4),
    (4, 6, 5),
    (4, 6, 4),
    (4, 4, 4, 4, 3),
    (4, 4, 5),
    (4, 4, 4),
    (6, 13),
    (4, 4, 4, 1),
}

IBAN = re.compile(r"(?<![A-Za-z0-9])[A-Za-z]{2}\d\d(?:[ \-]?\r?\n?[A-Za-z0-9]){11,32}")
IBAN_LENGTHS = {
    code: int(length)
    for code, length in re.findall(
        r"([A-Z]{2})(\d\d)",
        "AD24AE23AL28AT20AZ28BA20BE16BG22BH22BI27BR29BY28CH21CR22CY28CZ24DE22DJ27DK18DO28EE20EG29ES24FI18FK18FO18"
        "FR27GB22GE22GI23GL18GR27GT28HR21HU28IE22IL23IQ23IS26IT27JO30KW30KZ20LB28LC32LI21LT20LU20LV21LY25MC27MD24"
        "ME22MK19MN20MR27MT31MU30NI28NL18NO15OM23PK24PL28PS29PT25QA29RO24RS22RU33SA24SC31SD18SE24SI19SK24SM27SO23"
        "ST25SV28TL23TN24TR26UA29VA22VG24XK20YE30",
    )
}  # ISO 13616 registry: characters per country

CRYPTO = re.compile(
    r"(?<![A-Za-z0-9])(?:0x[0-9a-fA-F]{40}|[13][1-9A-HJ-NP-Za-km-z]{25,34}|(?:bc|tb)1[a-z0-9]{25,87}"
    r"|(?:BC|TB)1[A-Z0-9]{25,87})(?![A-Za-z0-9])"
)


def cards(text: str, seen_before: str = "") -> Iterator[Finding]:
    """12 to 19 digits with a known issuer's first digits and length and a right Luhn digit, in one piece, in a
    printed grouping, or broken over a line. Longer rows of digits are searched at their group borders."""
    for match in DIGITS.finditer(text):
        groups = [(g.start() + match.start(), g.group()) for g in GROUP.finditer(match.group())]
        first = 0
        while first < len(groups):
            taken = _card_at(text, groups, first)
            if taken:
                last_start, last = groups[first + taken - 1]
                yield Finding(groups[first][0], last_start + len(last), "CREDIT_CARD")
            first += taken or 1


def _card_at(text: str, groups: list[tuple[int, str]], first: int) -> int:
    """How many groups from `first` on make a card; 0: none."""
    digits = ""
    for count, (_, group) in enumerate(groups[first:], 1):
        digits += group
        if len(digits) > 19 or (len(digits) > 3 and not _FIRST.match(digits)):
            return 0
        if len(digits) < 12 or not _ISSUERS.fullmatch(digits) or not checksums.luhn(digits):
            continue
        shape = tuple(len(g) for _, g in groups[first : first + count])
        end = groups[first + count - 1][0]
        if count == 1 or shape in _SHAPES:
            return count
        broken = "\n" in text[groups[first][0] : end]  # over a line, anywhere: only where a card is spoken of
        if broken and CARD_WORD.search(text, max(0, groups[first][0] - 40), groups[first][0]):
            return count
        if len(set(shape[:-1])) == 1 and shape[0] < 6:  # digit by digit, in pairs, in threes
            return count
    return 0


def ibans(text: str) -> Iterator[Finding]:
    """A country's length and ISO 7064 check digits; where the word IBAN stands before, the length is enough."""
    for match in IBAN.finditer(text):
        wanted = IBAN_LENGTHS.get(match.group()[:2].upper(), 0)
        end, kept = match.start(), ""
        while end < match.end() and len(kept) < wanted:
            if text[end].isalnum():
                kept += text[end].upper()
            end += 1
        if len(kept) != wanted or wanted == 0 or (end < len(text) and text[end].isalnum()):
            continue
        named = "iban" in text[max(0, match.start() - 20) : match.start()].lower()
        if named or checksums.mod97(kept):
            yield Finding(match.start(), end, "IBAN_CODE")


def crypto_addresses(text: str) -> Iterator[Finding]:
    """Bitcoin addresses with their checksum; Ethereum addresses by shape (their checksum is optional)."""
    for match in CRYPTO.finditer(text):
        found = match.group()
        if found.startswith("0x"):
            real = len(set(found[2:].lower())) > 4
        elif found[:2].lower() in ("bc", "tb") and found[2] == "1":
            real = checksums.bech32(found)
        else:
            real = checksums.base58check(found)
        if real:
            yield Finding(match.start(), match.end(), "CRYPTO")
