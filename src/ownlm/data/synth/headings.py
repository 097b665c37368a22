"""Questions from sections with headings: documentation, articles, pages."""

from __future__ import annotations

from collections.abc import Iterator

import regex

from ownlm.data.synth import phrasing
from ownlm.data.synth.drafts import Draft, is_in, phrase_after_verb, says
from ownlm.data.synth.outline import Section
from ownlm.data.synth.sentences import plain, sentences
from ownlm.data.synth.verbs import VERBS, gerund_base
from ownlm.records import Document

# Headings that say nothing without what stands above them.
GENERIC = frozenset(
    """introduction overview summary notes note see also example examples usage parameters returns options arguments
    details description background conclusion contents table of contents references reference related further reading
    next steps caveats faq getting started basics basic advanced motivation deprecated syntax remarks tips warning
    warnings features requirements prerequisites license credits changelog history api index preface appendix misc
    what's next recap challenges exercises exercise troubleshooting limitations status types properties methods
    installation configuration testing quick start quickstart setup abstract results discussion methods links more
    resources acknowledgements contributing the documentation documentation functions classes constants module
    objects other exceptions security considerations contributors basic usage basic example""".replace(
        "\n", " "
    ).split()
)
_QUESTION = regex.compile(
    r"^(?:who|what|what's|when|where|why|how|which|can|is|are|do|does|should)\b.*\?$", regex.I
)
_HOW = regex.compile(r"^how (?:to|do i|can i) (?P<rest>.+)$", regex.I)
_NUMBER = regex.compile(r"^(?:[\dIVXLC]+(?:\.\d+)*[.)]?|chapter \w+[.:]?|appendix \w[.:]?)\s+", regex.I)


def drafts(document: Document, section: Section, alone: bool) -> Iterator[Draft]:
    """Questions about one section; one with a name that others bear too is asked for with its parent."""
    name = _NUMBER.sub("", section.name).strip(" .:")
    if not 3 <= len(name) <= 56 or name.endswith("…"):
        return
    found = sentences(document.text, section.start, section.end)
    generic = all(word in GENERIC or len(word) < 3 for word in regex.findall(r"\w[\w']*", name.lower()))
    if generic and (not section.parent or section.parent.lower().strip() in GENERIC):
        return
    qualified = generic or not alone
    if qualified and not section.parent:
        return
    x = _in_sentence(name, document.text) + (f" in {section.parent}" if qualified else "")
    if found:
        for kind, templates, filler in _wordings(name, x):
            sentence = plain(document.text[slice(*found[0])])
            yield Draft(kind, templates, filler, says(section.title, sentence), section.name, *found[0])
    if section.end - section.start >= 80:
        yield Draft("which_place", phrasing.WHERE_ABOUT, x, is_in(section.title, document.source), section.name, section.start, section.end)  # fmt: skip


def _wordings(name: str, x: str) -> Iterator[tuple[str, tuple[str, ...], str]]:
    """(kind, templates, what goes in) that suit the form of a heading."""
    how = _HOW.match(name.rstrip("?"))
    first = name.split()[0].lower()
    rest = x.partition(" ")[2]
    if how:
        yield "how_to", phrasing.HOW_TO, how["rest"] + x[len(name) :].replace("?", "")
    elif _QUESTION.match(name):
        yield "section", ("{x}",), x if x.endswith("?") else name
    elif gerund_base(first) and rest:
        yield "how_to", phrasing.HOW_TO, f"{gerund_base(first)} {rest}"
        yield "section", phrasing.SECTION, x
    elif first in VERBS and rest and phrase_after_verb(name) and not first.endswith("s") and first not in ("type", "test", "list", "index", "model", "format", "map", "style", "file", "state", "range", "set", "import", "document", "name"):  # fmt: skip
        yield "how_to", phrasing.HOW_TO, f"{first} {rest}"
    else:
        plural = name.split()[-1].endswith("s") and not name.endswith(("ss", "us", "is"))
        yield "what_is", phrasing.WHAT_ARE if plural else phrasing.WHAT_IS, x
        yield "section", phrasing.SECTION, x


def _in_sentence(name: str, text: str) -> str:
    """The heading as it would stand within a sentence: its first word in lower case unless it is a name."""
    first, space, rest = name.partition(" ")
    if first.istitle() and first.isalpha() and len(first) > 1 and f" {first.lower()}" in text and f" {first} " not in text[:20000].replace(name, ""):  # fmt: skip
        return first.lower() + space + rest
    return name
