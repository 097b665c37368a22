"""Telephone numbers of many countries, in international and national writing.

A number with a plus, an American one, one with a trunk zero or an area code in brackets is taken by its shape. Other
groups of digits count only near a word such as "call" or "Tel": prices, counts and dates look the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ownlm.data.privacy.finding import Finding

CANDIDATE = re.compile(
    r"(?<![\w#$€£¥%])(?<!\d[.,:])(?<![A-Za-z0-9]-)(?:\+ ?|\(\+?)?\d(?:(?: [-/] |\) ?-?| ?\(|[ .\-/]){0,2}+\d){5,17}"
    r"(?: {0,2}(?:x|ext\.? ?|extension |#)\d{1,6})?(?![\w%$€£]|[.,:]\d|-\d)"
)
_CONTEXT = re.compile(
    r"\b(?:phones?|telephone|tel|mobile|mob|cell(?:phone)?|fax|call(?:s|ed|ing)?|dial|ring|rang|sms|texte?d?|whatsapp|contact"
    r"|hotline|helpline|reach|answer(?:ing|ed)?|messages?|numbers?|voicemail|landline|line|office|téléphone|portable|appele[rz]"
    r"|telefon|handy|mobil|rufnummer|nummer|anrufen|durchwahl|teléfono|telefono|móvil|celular|número|llam[ae]r?|numéro"
    r"|cellulare|telefone|celular|ligue|puhelin|telefoon|bel|tlf|tfn|puh|ph|tél)\b[^\d\n]{0,32}$|\b[tpm][:.] ?$",
    re.IGNORECASE,
)
_AFTER = re.compile(r"^\W{0,3}(?:office|fax|mobile|cell|phone|home|work|tel)\b", re.IGNORECASE)
_NOT_PHONE = re.compile(
    r"\b(?:isbn(?:-1[03])?|issn|doi|order|invoice|ticket|tracking|serial|item|sku|reference|ref|case|version|page|pages|pp"
    r"|account|acct|a/c|id|zip|postcode|postal code|card|lat|lon|port|pid|error|code)\b\W{0,3}(?:(?:no|number|nr|is|was|\#)\b\W{0,3}){0,2}$",
    re.IGNORECASE,
)
NORTH_AMERICA = re.compile(r"(?:\+?1[ .\-]?)?(?:\([2-9]\d\d\)[ .\-]?|[2-9]\d\d[ .\-])[2-9]\d\d[ .\-]\d{4}$")
_DATE = re.compile(
    r"(?:\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.](?:\d{4}|\d{2}))(?:[ T]\d.*)?$|(?:(?:19|20)\d\d[ \-/]*)+$"
)
_COUNTRY = re.compile(
    r"(?:1|7|2[07]|3[0-469]|4[013-9]|5[1-8]|6[0-6]|8[1246]|9[0-58]"
    r"|2[1-6]\d|29\d|35\d|37\d|38\d|42\d|50\d|59\d|67\d|68\d|69\d|80\d|85\d|87\d|88\d|96\d|97\d|99\d)"
)  # ITU-T E.164 country codes
_GROUPS = re.compile(r"\d+")


def phones(text: str) -> Iterator[Finding]:
    for match in CANDIDATE.finditer(text):
        if _is_phone(text, match):
            yield Finding(match.start(), match.end(), "PHONE_NUMBER")


def _is_phone(text: str, match: re.Match[str]) -> bool:
    found = match.group()
    main = re.split(r" {0,2}(?:x|ext|#)", found)[0]
    groups = _GROUPS.findall(main)
    digits = "".join(groups)
    before = text[max(0, match.start() - 48) : match.start()]
    if len(digits) > 15 or _DATE.match(main) or len(set(digits)) < 3 or digits in "01234567890123456789":
        return False
    plus = "+" in main[:2]
    near = bool(_CONTEXT.search(before) or _AFTER.match(text[match.end() : match.end() + 12]))
    if _NOT_PHONE.search(before) and not plus:
        return False
    if plus:
        return len(digits) >= 8 and bool(_COUNTRY.match(digits))
    if NORTH_AMERICA.match(main):
        return True
    if digits.startswith("00") and len(groups) > 1:
        return len(digits) >= 10 and bool(_COUNTRY.match(digits[2:]))
    return _national(main, groups, digits, near)


def _national(main: str, groups: list[str], digits: str, near: bool) -> bool:
    """A number in national writing; `near`: a telephone word stands beside it."""
    if "." in main and len(groups) < 3:
        return False  # a decimal number
    trunk = digits[0] == "0" and digits[1] != "0"
    if trunk and 9 <= len(digits) <= 12:
        return len(groups) > 1 or len(digits) in (10, 11) or near
    if "(" in main and ")" in main and 6 <= len(digits) <= 11:
        return len(groups) <= 5
    if near and 6 <= len(digits) <= 12:
        return len(groups) > 1 or len(digits) >= 7
    return _regular(main, groups, digits)


def _regular(main: str, groups: list[str], digits: str) -> bool:
    """Shapes no count or date is written in: pairs with dashes, or groups such as 123 45 67 89."""
    separators = {c for c in main if not c.isdigit()}
    if len(separators) != 1 or not 8 <= len(digits) <= 11:
        return False
    sizes = tuple(len(group) for group in groups)
    if separators == {"-"}:
        return sizes in (
            (2, 2, 2, 2),
            (2, 2, 2, 2, 2),
            (3, 3, 3),
            (3, 2, 2, 2),
            (4, 3, 3),
            (5, 5),
            (3, 3, 2, 2),
        )
    return separators == {" "} and sizes in ((3, 2, 2, 2), (3, 3, 2, 2), (2, 3, 2, 2))
