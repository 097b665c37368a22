"""Dates, ages and titles of people. Only written ones: "last week" tells little and is left."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ownlm.data.privacy.finding import Finding

_MONTH = (
    r"(?:jan(?:uary|uar|vier)?|feb(?:ruary|ruar)?|février|mar(?:ch|s|zo)?|märz|apr(?:il)?|avril|abril|may|mai|mayo|june?|juni|juin"
    r"|july?|juli|juillet|julio|aug(?:ust)?|août|agosto|sept?(?:ember)?|septembre|oct(?:ober)?|okt(?:ober)?|octobre|octubre"
    r"|nov(?:ember)?|novembre|noviembre|dec(?:ember)?|dez(?:ember)?|décembre|diciembre|enero|febrero|junio|septiembre)"
)
_TIME = r"(?:[T ,]{1,2}(?:at )?\d{1,2}:\d\d(?::\d\d(?:\.\d{1,6})?)?(?: ?[ap]\.?m\.?|Z|[+-]\d\d:?\d\d)?)"
_DIGIT = re.compile(r"\d")
# Texts that hold none of these have no AGE: the words of its patterns, or a number behind what ends like "I'm just".
_AGE_WORDS = (
    "age",
    "âgé",
    "agé",
    "âge",
    "turn",
    "edad",
    "alter",
    "old",
    "yo",
    "y/o",
    " ans",
    "años",
    " alt",
    "single",
    "married",
    "hill",
)
_AGE_NUMBER = re.compile(r"\d(?<=[mseytwr] .)", re.IGNORECASE)
# Where a date or a title may begin: patterns that start with a set are looked for much faster than DATE and TITLE.
_DATE_START = re.compile(
    r"[\dJFMASONDEWTjfmasondewt](?<![\w.\-/].)(?:(?<=\d)|an|eb|év|ar|är|pr|vr|br|ay|ai|un|ui|ul|ug|oû|go|ep|ct|kt|ov|ec|ez|éc|ic"
    r"|ne|on|ue|ed|hu|ri|at|[A-ZÉÄÛ][A-ZÉÄÛ])"
)
_TITLE_START = re.compile(r"[MDPHFSRCLGmdp](?<!\w.)(?:(?<=[A-Z])|(?:rs?|s|rof)\.)")
DATE = re.compile(
    rf"(?<![\w.\-/])(?:"
    rf"(?:1[5-9]|20)\d\d[-/.](?:0?[1-9]|1[0-2])[-/.](?:0[1-9]|[12]\d|3[01]|[1-9]){_TIME}?"
    rf"|(?:0?[1-9]|[12]\d|3[01])(?P<sep>[-/.])(?:0?[1-9]|[12]\d|3[01])(?P=sep)(?:(?:1[5-9]|20)\d\d|\d\d){_TIME}?"
    rf"|(?:0?[1-9]|[12]\d|3[01])(?:st|nd|rd|th|\.)? (?:of |de )?{_MONTH}\b\.?(?:,? (?:de )?(?:1[5-9]|20)\d\d)?{_TIME}?"
    rf"|{_MONTH}\.? (?:0?[1-9]|[12]\d|3[01])(?:st|nd|rd|th)?(?:,? (?:1[5-9]|20)\d\d)?(?!\d){_TIME}?"
    rf"|{_MONTH}\.?,? (?:of )?(?:1[5-9]|20)\d\d"
    rf"|(?:1[89]\d\d|20[0-4]\d)(?:[-–](?:1[89]\d\d|20[0-4]\d|\d\d))?s?"
    rf"|(?:mon|tues|wednes|thurs|fri|satur|sun)days?|\d{{1,2}}:\d\d(?::\d\d)?(?: ?[ap]\.?m\.?)?"
    rf")(?![\w%]|[-/:]\d|\.\d)",
    re.IGNORECASE,
)
_QUANTITY = re.compile(
    r"(?:[$€£#]|\b(?:no|nr|number|zip|code|room|box|apt|suite|than)\b\.?) ?$", re.IGNORECASE
)
_UNIT = re.compile(
    r" ?(?:[a-z]{1,2}\b(?<!\bin)(?<!\bto)(?<!\bby)(?<!\bat)(?<!\bhe)(?<!\bwe)(?<!\bas)(?<!\bis)(?<!\bit)"
    r"|dollars|euros|people|miles|units|copies|[A-Z][\w]+ (?:St|Street|Road|Rd|Ave)\b)"
)
AGE = re.compile(
    r"(?:\b(?:age|aged|ages|turn(?:ed|ing|s)?|ag[ée]e? de|edad(?: de)?|alter)\b[: ]{1,3}(?:of |is |just )?(?P<a>\d{1,3})\b(?!st|nd|rd|th)"
    r"|\b(?:am|is|was|are|'m|’m|'s|were|be|i'?m) (?:only |just |now |about |almost |nearly |over |already )?(?P<b>\d{1,2})"
    r"(?= ?(?:[.,;!?]|$| and\b| now\b| but\b| or\b))"
    r"|(?<![\w.])(?P<c>\d{1,3})(?:[ -](?:years?|yrs?|months?|weeks?)[ -](?:olds?|of age)|[ -]?y/?o\b| ans\b| años\b| Jahre alt)"
    r"|(?<![\w.])(?P<d>\d{1,2})(?= (?:and single|and married|and over the hill)))",
    re.IGNORECASE,
)
TITLE = re.compile(
    r"(?<!\w)(?:(?:mr|mrs|ms|mx|dr|prof|rev|hon|sgt|capt|lt|col|gen|sr|sra|hr|fr|st?ra|mme|mlle|dra?)\.(?= ?[^\W\d_])"
    r"|(?:Mr|Mrs|Ms|Miss|Dr|Prof|Mme|Mlle|Madame|Monsieur|Herr|Frau|Señora?|Signora?)(?= [^\W\d_]))",
    re.IGNORECASE,
)
_TITLE_CASE = re.compile(r"[A-Z]|(?:mr|mrs|ms|dr|prof)\.")


def _matches(text: str, start: re.Pattern[str], whole: re.Pattern[str]) -> Iterator[re.Match[str]]:
    """whole.finditer(text), tried only where `start` matches."""
    place = start.search(text)
    while place:
        match = whole.match(text, place.start())
        if match:
            yield match
        place = start.search(text, match.end() if match else place.end())


def dates(text: str) -> Iterator[Finding]:
    if not _DIGIT.search(text) and "day" not in text.lower():  # every date has a digit or ends in "day"
        return
    for match in _matches(text, _DATE_START, DATE):
        found = match.group()
        year_alone = len(found) == 4 and found.isdigit()
        if year_alone and (
            _QUANTITY.search(text[max(0, match.start() - 10) : match.start()])
            or _UNIT.match(text[match.end() : match.end() + 24])
        ):
            continue
        yield Finding(match.start(), match.end(), "DATE_TIME")


def ages(text: str) -> Iterator[Finding]:
    """The number only, 0 to 120, beside "aged", "turned", "years old" or after "I'm" at the end of a phrase."""
    if not _DIGIT.search(text):
        return
    lower = text.lower()
    if not any(word in lower for word in _AGE_WORDS) and not _AGE_NUMBER.search(text):
        return
    for match in AGE.finditer(text):
        name = match.lastgroup or "a"
        if int(match[name]) <= 120:
            yield Finding(match.start(name), match.end(name), "AGE")


def titles(text: str) -> Iterator[Finding]:
    """Forms of address before a name."""
    for match in _matches(text, _TITLE_START, TITLE):
        if _TITLE_CASE.match(match.group()):
            yield Finding(match.start(), match.end(), "TITLE")
