"""The parts of a document with their titles, whatever its format: what chunking and question writing agree on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import regex

from ownlm.data.formats import format_of, stem_of
from ownlm.records import Document

Kind = Literal["module", "class", "function", "code", "section", "chapter", "text"]
LONGEST_TITLE = 80
_UNDERLINES = regex.compile(r"^\W{3,}$", regex.M)
_SPACES = regex.compile(r"\s+")


@dataclass(frozen=True, slots=True)
class Section:
    """A titled stretch text[start:end] of a document. text[start:head] introduces it (signature and docstring of a
    function, all of a prose section); the rest, to `end`, is its body in source code."""

    kind: Kind
    title: str  # at most LONGEST_TITLE characters, unique within the document where the document makes it so
    name: str  # its last part: `shorten` of textwrap.shorten, `Installing` of Guide › Installing
    parent: str  # what qualifies the name: `textwrap`, `Guide`; "" at the top
    start: int
    head: int
    end: int
    opens: bool = True  # False: a continuation (module-level code between functions)


def sections(document: Document) -> Iterator[Section]:
    """All parts in order, without overlap; together they hold every character that is not blank, but for the
    metadata block (`---`) at the top of a page."""
    from ownlm.data.synth import code_outline, heading_outline, prose_outline, python_outline

    language = language_of(document)
    if language == "python":
        found = python_outline.outline(document)
        if found is not None:
            return iter(found)
    if language:
        return iter(code_outline.outline(document))
    marked = heading_outline.outline(document)
    if marked is not None:
        return iter(marked)
    return iter(prose_outline.outline(document))


def language_of(document: Document) -> str:
    """The programming language of source code, "" for other text."""
    stated = document.meta.get("programming_language")
    if document.meta.get("format") == "code" and isinstance(stated, str):
        return stated
    if document.meta.get("format") in ("text", "markdown", "rst", "html"):
        return ""
    form = format_of(document.source.rpartition("/")[2])
    return form.language if form and form.kind == "code" else ""


def is_code_source(source: str) -> bool:
    form = format_of(source.rpartition("/")[2])
    return form is not None and form.kind == "code"


def with_bare_headings(found: list[Section], text: str) -> list[Section]:
    """Sections that are nothing but their heading line joined to the section below them, which keeps its title."""
    joined: list[Section] = []
    start = -1
    for section in found:
        bare = len(_UNDERLINES.sub("", text[section.start : section.end]).strip().split("\n")) == 1
        if bare and section is not found[-1] and section.kind != "text":
            start = section.start if start < 0 else start
            continue
        joined.append(section if start < 0 else replace(section, start=start))
        start = -1
    return joined


def page_title(document: Document) -> str:
    """What the document calls itself in its metadata, else its file name in words."""
    stated = document.meta.get("title")
    if isinstance(stated, str) and stated.strip():
        return shortened(stated)
    name = stem_of(document.source).rpartition("/")[2]
    if name.lower() in ("index", "readme", "__init__", "mod", "main", "_index") and "/" in stem_of(
        document.source
    ):
        name = stem_of(document.source).split("/")[-2]
    return shortened(name.replace("-", " ").replace("_", " ").strip() or document.source)


def shortened(title: str, most: int = LONGEST_TITLE) -> str:
    """A title on one line, cut at a word with an ellipsis when it is too long."""
    title = _SPACES.sub(" ", title).strip()
    if len(title) <= most:
        return title
    return title[: most - 1].rsplit(" ", 1)[0].rstrip(" ,;:-") + "…"


def breadcrumb(parts: list[str]) -> str:
    """`Page › Section › Part`; too long: parts between the first and the last go, then the first is shortened."""
    kept = [part for number, part in enumerate(parts) if part and (number == 0 or part != parts[number - 1])]
    while len(" › ".join(kept)) > LONGEST_TITLE and len(kept) > 2:
        del kept[1]
    if len(" › ".join(kept)) > LONGEST_TITLE and len(kept) == 2:
        last = shortened(kept[1], 56)
        kept = [shortened(kept[0], LONGEST_TITLE - 3 - len(last)), last]
    return shortened(" › ".join(kept))
