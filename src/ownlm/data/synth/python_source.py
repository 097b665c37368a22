"""Questions from Python source: modules, classes, functions and methods that have a docstring."""

from __future__ import annotations

from collections.abc import Iterator

import regex

from ownlm.data.synth import phrasing
from ownlm.data.synth.drafts import Draft, is_in, phrase_after_verb, says
from ownlm.data.synth.outline import Section
from ownlm.data.synth.sentences import plain, sentences
from ownlm.data.synth.verbs import imperative
from ownlm.records import Document

_QUOTES = regex.compile(r"\"\"\"|'''")
_SIGNATURE = regex.compile(r"^(?:async\s+)?(?:def|class)\b")
_RETURNS = regex.compile(r"^(?:It\s+)?(?:Always\s+)?(?:Returns?|Yields?|The return value|The result|Gives? back)\b|\b[Rr]eturns?\s+(?:a|an|the|True|False|None|whether)\b|^:returns?:|^@return")  # fmt: skip
_RAISES = regex.compile(r"\b[Rr]aises?\b[^.]*\b\w*(?:Error|Exception|exception)\b|^:raises")
_WORDS = {"module": "the {} module", "class": "the {} class", "function": "the {} function"}


def drafts(document: Document, section: Section, alone: bool) -> Iterator[Draft]:
    """Questions about one section. alone: no other section of the collection bears its name, so that the name
    without its module is enough."""
    leaf = section.name.rpartition(".")[2]
    if not section.opens or section.kind not in _WORDS or leaf.startswith("_"):
        return
    if any(part.startswith("_") for part in section.title.split(".")[1:]):
        return
    found = sentences(document.text, section.start, section.head, code=True)
    prose = [span for span in found if not _SIGNATURE.match(document.text[slice(*span)])]
    signature = next((span for span in found if span not in prose), None)
    quotes = _QUOTES.search(document.text, section.start, section.head)
    prose = [span for span in prose if quotes and span[0] >= quotes.start()]
    is_documented = bool(prose)
    for name in _names(section, alone):
        if is_documented:
            yield from _documented(document, section, prose, name)
        if section.kind != "module":
            templates = phrasing.WHERE if section.head < section.end or is_documented else phrasing.WHERE_CODE
            yield Draft("which_place", templates, name, is_in(section.title, document.source), section.title, section.start, section.head)  # fmt: skip
        if signature and section.kind == "function" and is_documented:
            yield _quote(document, section, "arguments", phrasing.ARGUMENTS, name, signature)


def _names(section: Section, alone: bool) -> list[str]:
    """How people call it: qualified, or by its name when that is enough."""
    names = [section.title]
    if section.kind == "function" and len(section.title) < 50:
        names.append(f"{section.title}()")
    if section.kind != "function":
        names.append(_WORDS[section.kind].format(section.title))
    if alone and "." in section.title and len(section.name) >= 4:
        names += [section.name, _WORDS[section.kind].format(section.name)]
    return names


def _documented(
    document: Document, section: Section, prose: list[tuple[int, int]], name: str
) -> Iterator[Draft]:
    first = prose[0]
    templates = phrasing.WHAT_DOES if section.kind == "function" else phrasing.WHAT_IS
    yield _quote(document, section, "what_is", templates, name, first)
    returns = next((span for span in prose if _RETURNS.search(plain(document.text[slice(*span)]))), None)
    if returns and section.kind == "function":
        yield _quote(document, section, "returns", phrasing.RETURNS, name, returns)
    raises = next((span for span in prose if _RAISES.search(plain(document.text[slice(*span)]))), None)
    if raises and section.kind == "function":
        yield _quote(document, section, "raises", phrasing.RAISES, name, raises)
    if name == section.title and section.kind == "function":
        phrase = _instruction(plain(document.text[slice(*first)]))
        if phrase:
            context = section.title.partition(".")[0] if "." in section.title else ""
            longer = f"{phrase} with {context.lstrip('_')}" if context else phrase
            yield _quote(document, section, "how_to", phrasing.HOW_TO, longer, first)
            if len(phrase.split()) >= 5:
                yield _quote(
                    document, section, "how_to", phrasing.HOW_TO + phrasing.WHAT_TO_USE, phrase, first
                )


def _instruction(sentence: str) -> str:
    """ "Collapse and truncate the given text." -> "collapse and truncate the given text"; "" when it is none."""
    first, _, rest = sentence.partition(" ")
    verb = imperative(first)
    if not verb or not rest:
        return ""
    verb = {"return": "get", "yield": "get"}.get(verb, verb)
    phrase = phrase_after_verb(f"{verb} {rest}")
    words = [word for word in phrase.split()[1:] if len(word) > 3 and word not in ("this", "that", "given", "with", "from", "into", "object", "value")]  # fmt: skip
    return phrase if len(words) >= 2 else ""


def _quote(
    document: Document,
    section: Section,
    kind: str,
    templates: tuple[str, ...],
    name: str,
    span: tuple[int, int],
) -> Draft:
    return Draft(
        kind, templates, name, says(section.title, plain(document.text[slice(*span)])), section.title, *span
    )
