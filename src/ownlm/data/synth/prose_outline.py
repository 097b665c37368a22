"""Plain text and books: chapters by chapter-like lines, else the whole text under its name.

A heading is a line alone between blank lines that begins with CHAPTER, BOOK, PART, ACT ..., a Roman or plain number,
or is written in capitals; and, in text without line wrapping (a paragraph a line), a short line without a full stop
before a longer paragraph.
"""

from __future__ import annotations

import regex

from ownlm.data.synth.heading_outline import clean
from ownlm.data.synth.outline import Section, breadcrumb, page_title, shortened, with_bare_headings
from ownlm.records import Document

_PARAGRAPH = regex.compile(r"\S(?:.*?\S)??(?=[ \t]*(?:\n[ \t]*\n|\Z))", regex.S)
_CHAPTER = regex.compile(
    r"^(?:(?:the\s+)?(?:first|second|third|fourth|fifth|last)\s+(?=epilogue|prologue|part|book|act|volume))?(?P<word>chapter|book|part|volume|act|scene|canto|section|adventure|letter|epilogue|prologue|preface|"
    r"introduction|appendix|kapitel|teil|chapitre|livre|capítulo|capitolo|libro)\b[\s.:]*(?P<number>[IVXLCDM]+\b|\d+\b|[A-Za-z-]+\b)?(?P<rest>.*)$",
    regex.I,
)
_NUMBERED = regex.compile(
    r"^(?:(?:[IVXLC]{1,7}|\d{1,3}(?:\.\d{1,3}){0,3})[.):]?|(?:[IVXLC]{1,7}[.):]|\d{1,3}(?:\.\d{1,3}){0,3}[.):]?)\s+\p{Lu}.{0,70})$"
)
_SPOKEN = regex.compile(r"""^["'“‘*]|[.!?"'”’]$""")
_OUTER = {
    "book": 1,
    "part": 1,
    "volume": 1,
    "act": 1,
    "epilogue": 1,
    "prologue": 1,
    "livre": 1,
    "teil": 1,
    "libro": 1,
}
_MOST = 70  # characters of a heading
_LETTER = regex.compile(r"\p{L}")
_LONG_LINE = 200


def outline(document: Document) -> list[Section]:
    text = document.text
    page = page_title(document)
    paragraphs = [match.span() for match in _PARAGRAPH.finditer(text)]
    unwrapped = _is_unwrapped(text, paragraphs)
    headings: list[tuple[int, int, str]] = []  # (start, level, text)
    for number, (start, end) in enumerate(paragraphs):
        following = paragraphs[number + 1] if number + 1 < len(paragraphs) else None
        level = _level(text[start:end], text[slice(*following)] if following else "", unwrapped)
        if level and clean(text[start:end]):
            headings.append((start, level, shortened(clean(text[start:end].strip(" *_=#")), _MOST)))
    if unwrapped and headings and headings[0][0] == (paragraphs[0][0] if paragraphs else -1):
        stated = document.meta.get("title")
        page = stated if isinstance(stated, str) and stated.strip() else headings[0][2]
    return _sections(text, shortened(page), _joined(text, headings))


def _is_unwrapped(text: str, paragraphs: list[tuple[int, int]]) -> bool:
    """A paragraph a line: few line breaks inside paragraphs, and some long lines."""
    breaks = sum(text.count("\n", start, end) for start, end in paragraphs)
    longest = max((end - start for start, end in paragraphs), default=0)
    return breaks <= len(paragraphs) // 2 and longest >= _LONG_LINE


def _level(paragraph: str, following: str, unwrapped: bool) -> int:
    """0: not a heading; 1 to 3: outermost in."""
    line = paragraph.strip()
    if len(line) > _MOST or ("\n" in line.strip() and line.count("\n") > 1) or not following:
        return 0
    flat = " ".join(line.split())
    chapter = _CHAPTER.match(flat)
    letters = _LETTER.findall(flat)
    capitals = len(letters) >= 4 and sum(letter.isupper() for letter in letters) >= 0.9 * len(letters)
    if (
        chapter
        and (chapter["number"] or not chapter["rest"].strip())
        and flat[-1] not in ",;"
        and (
            flat[0].isupper()
            and (capitals or len(flat) < 50)
            and not flat.endswith((".”", '."'))
            and (_is_count(chapter["number"]) or not chapter["number"] or capitals)
        )
    ):
        return _OUTER.get(chapter["word"].lower(), 2)
    if (
        capitals
        and not (_SPOKEN.search(flat) and len(flat.split()) < 3)
        and not flat.startswith(('"', "“"))
        and not flat.endswith((",", ";", "!", "?"))
        and len(following) > len(flat)
    ):
        return 2
    if (
        _NUMBERED.match(flat)
        and not flat.endswith((",", ";"))
        and len(following) > 40
        and (not flat[0].isdigit() or "." in flat[:5] or flat.isdigit())
    ):
        return 3
    if unwrapped and _is_short_title(flat) and len(following) >= 60 and not _is_short_title(following):
        return 3
    return 0


def _is_count(number: str | None) -> bool:
    return number is not None and (number.isdigit() or bool(regex.fullmatch(r"[IVXLCDM]+|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|first|second|third|last", number, regex.I)))  # fmt: skip


def _is_short_title(line: str) -> bool:
    return (
        3 < len(line) <= 60
        and "\n" not in line
        and line[-1] not in ".!?:;,…)>{"
        and (line[0].isupper() or line[0] in "`:")
        and sum(map(str.isalpha, line)) >= 0.6 * len(line)
        and len(line.split()) <= 9
    )


def _joined(text: str, headings: list[tuple[int, int, str]]) -> list[tuple[int, int, str]]:
    """`CHAPTER I` directly followed by its name `DOWN THE RABBIT-HOLE` is one heading."""
    joined: list[tuple[int, int, str]] = []
    for start, level, title in headings:
        if joined:
            before, outer, name = joined[-1]
            between = text[before:start].strip()
            if (
                " ".join(between.split()) == name
                and level == 2
                and _CHAPTER.match(name)
                and not _CHAPTER.match(title)
            ):
                joined[-1] = (before, outer, shortened(f"{name} {title}", _MOST))
                continue
        joined.append((start, level, title))
    return joined


def _sections(text: str, page: str, headings: list[tuple[int, int, str]]) -> list[Section]:
    found: list[Section] = []
    first = headings[0][0] if headings else len(text)
    if text[:first].strip():
        found.append(Section("text", page, page, "", 0, first, first))
    above: list[tuple[int, str]] = []
    for number, (start, level, title) in enumerate(headings):
        end = headings[number + 1][0] if number + 1 < len(headings) else len(text)
        above = [*(pair for pair in above if pair[0] < level), (level, title)]
        parts = [page, *(name for _, name in above)]
        if page == title and number == 0:
            parts, above = [page], []
        parent = parts[-2] if len(parts) > 1 else ""
        found.append(
            Section(
                "chapter",
                breadcrumb(parts),
                shortened(title, 56) if parent else title,
                parent,
                start,
                end,
                end,
            )
        )
    return with_bare_headings(found, text)
