"""Questions from running text: sentences that say what something or who somebody is, and rare things they mention."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice

import regex

from ownlm.data.synth import phrasing
from ownlm.data.synth.drafts import Draft, says
from ownlm.data.synth.outline import Section
from ownlm.data.synth.sentences import plain, sentences
from ownlm.records import Document

_NAME = r"(?:\p{Lu}[\p{L}’'-]+|\p{Lu}\.)(?:\s+(?:(?:of|de|von|van|the|la|le)\s+)?(?:\p{Lu}[\p{L}’'-]+|\p{Lu}\.)){0,3}"
_IS_A = regex.compile(
    r"^(?:The\s+|An?\s+)?(?P<x>(?:[`*_:]*[\p{L}\p{N}][\w`.()'’*-]*)(?:\s+[\p{L}\p{N}`][\w`.()'’*-]*){0,4}?)\s+"
    r"(?P<verb>is|are|was|were|refers?\s+to|means|stands\s+for|denotes?)\s+(?P<rest>(?:an?|the|one|any|some|used|called|also|simply|just)\b.{15,})",
    regex.S,
)
_APPOSITION = regex.compile(rf"(?P<x>{_NAME}),\s+(?P<what>(?:the|an?|his|her|our|my|their|son|daughter|wife|king|author)\s+[\p{{Ll}}][^,.;]{{3,60}})[,.;]")  # fmt: skip
_RARE_NAME = regex.compile(r"(?<![.!?“\"'‘]\s)(?<=[\p{Ll},;]\s)(?P<x>(?:\p{Lu}[\p{L}’'-]{2,})(?:\s+(?:(?:of|de|von|van)\s+)?\p{Lu}[\p{L}’'-]{2,}){1,2})")  # fmt: skip
_NOT_NAMES = frozenset(
    """this that these those there it he she they we you i what which who here such one another some many most all both
    each if when while where as for in on at by with from but and or so then now yes no not however thus therefore
    following example examples note name result answer reason purpose value goal idea point problem difference first
    second third last next only best same other above below output code way thing method function class module option
    default argument parameter rest former latter how why its his her my our their your mr mrs miss sir dear oh ah well""".split()  # noqa: SIM905
)
_CLAUSE = frozenset(
    [
        "that",
        "which",
        "who",
        "if",
        "when",
        "is",
        "are",
        "was",
        "be",
        "it",
        "we",
        "you",
        "this",
        "to",
        "not",
        "can",
        "will",
        "do",
        "does",
        "say",
        "see",
        "keep",
        "recall",
    ]
)
_MARKS = regex.compile(r"(?<!\w)[`*_]{1,2}(?=\w)|(?<=[\w)])[`*_]{1,2}(?!\w)|:[\w:]+:(?=`)|`")
_MOST_MENTIONS = 2  # a thing mentioned more often than this in the document has no single right passage


def drafts(document: Document, section: Section, mentions_of: Callable[[str], int] | None) -> Iterator[Draft]:
    """Questions about single sentences of a section. The answer's subject is the thing asked about.

    mentions_of: in how many passages of the collection a phrase stands; default: how often in the document.
    """
    text = document.text
    for start, end in sentences(text, section.start, section.end):
        sentence = plain(text[start:end])
        if not 30 <= len(sentence) <= 300:
            continue
        for kind, templates, subject in _asked(sentence):
            most = _MOST_MENTIONS if kind != "about" else 1
            if (mentions_of(subject) if mentions_of else _mentions(text, subject)) <= most:
                x = _MARKS.sub("", subject)
                yield Draft(kind, templates, x, says(section.title, sentence), subject, start, end)
                break


def _asked(sentence: str) -> Iterator[tuple[str, tuple[str, ...], str]]:
    defined = _IS_A.match(sentence)
    if defined and _is_thing(defined["x"]):
        plural = defined["verb"] in ("are", "were")
        yield "what_is", phrasing.WHAT_ARE if plural else phrasing.WHAT_IS, defined["x"]
    named = _APPOSITION.search(sentence)
    if named and _is_thing(named["x"]):
        yield "who_is", phrasing.WHO_IS, named["x"]
    for found in _RARE_NAME.finditer(sentence):
        if _is_thing(found["x"]):
            yield "about", phrasing.ABOUT, found["x"]


def _is_thing(x: str) -> bool:
    words = [regex.sub(r"['’]s?$", "", word) for word in regex.findall(r"[\w’'-]+", x.lower())]
    if not words or len("".join(words)) < 4 or x.count("`") % 2 or x.count("(") != x.count(")") or "--" in x:
        return False
    return words[0] not in _NOT_NAMES and words[-1] not in _NOT_NAMES and not _CLAUSE.intersection(words)


def _mentions(text: str, x: str) -> int:
    """How often x stands in the text, up to one more than asked for; line breaks count as blanks."""
    pattern = regex.compile(r"\s+".join(regex.escape(word) for word in x.split()), regex.I)
    return sum(1 for _ in islice(pattern.finditer(text), _MOST_MENTIONS + 1))
