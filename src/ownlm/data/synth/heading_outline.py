"""Sections by marked headings: `# ATX`, underlined (setext, reStructuredText), overlined; none inside fenced code."""

from __future__ import annotations

from dataclasses import dataclass

import regex

from ownlm.data.synth.outline import Section, breadcrumb, page_title, shortened, with_bare_headings
from ownlm.records import Document

_ATX = regex.compile(r"^ {0,3}(#{1,6})[ \t]+(.+?)[ \t]*#*[ \t]*$")
_UNDERLINE = regex.compile(r"""^([=\-~^"'`*+#:._<>])\1{2,}[ \t]*$""")
_FENCE = regex.compile(r"^[ \t]*(```+|~~~+)")
_ANCHOR = regex.compile(r"\s*\{[#.:][^}]*\}\s*$|\s*<a [^>]*>\s*</a>")
_MARKUP = regex.compile(r"(?P<code>`+[^`]+`+)|!\[[^\]]*\]\([^)]*\)|<[^>\n]{1,80}>")
_LINK = regex.compile(r"\[([^\]]+)\](?:\([^)]*\)|\[[^\]]*\])")
_ROLE = regex.compile(r":[\w:+.-]+:`~?!?([^`<]+?)(?:\s*<[^`>]*>)?`_{0,2}")
_QUOTED = regex.compile(r"(\*\*|__|``|`|\*)(.+?)\1")
_FRONT = regex.compile(r"\A---[ \t]*\n(.*?)\n---[ \t]*\n", regex.S)
_FRONT_TITLE = regex.compile(r"""^title:[ \t]*["']?(.+?)["']?[ \t]*$""", regex.M)


@dataclass(frozen=True, slots=True)
class _Heading:
    start: int
    level: int
    text: str


def outline(document: Document) -> list[Section] | None:
    """None when there is no marked heading."""
    text = document.text
    front = _FRONT.match(text)
    headings = list(_headings(text, front.end() if front else 0))
    if not headings:
        return None
    title = _FRONT_TITLE.search(front[1]) if front else None
    page = clean(title[1]) if title else ""
    tops = [heading for heading in headings if heading.level == min(h.level for h in headings)]
    if not page:
        page = page_title(document)
        if tops[0] is headings[0] and (len(tops) == 1 or _alike(tops[0].text, page)):
            page = tops[0].text
    found: list[Section] = []
    begin = front.end() if front else 0
    if text[begin : headings[0].start].strip():
        found.append(
            Section("section", breadcrumb([page]), page, "", begin, headings[0].start, headings[0].start)
        )
    above: list[_Heading] = []
    for number, heading in enumerate(headings):
        end = headings[number + 1].start if number + 1 < len(headings) else len(text)
        above = [*(h for h in above if h.level < heading.level), heading]
        parts = [h.text for h in above]
        if parts[0] != page:
            parts = [page, *parts]
        parent = parts[-2] if len(parts) > 1 else ""
        if text[heading.start : end].strip():
            found.append(Section("section", breadcrumb(parts), shortened(parts[-1], 56) if parent else parts[-1], parent, heading.start, end, end))  # fmt: skip
    return with_bare_headings(found, text)


def _alike(heading: str, name: str) -> bool:
    """Whether a file is named after its first heading: a longer word in both."""
    longer = [{word for word in regex.findall(r"\w{4,}", text.lower())} for text in (heading, name)]
    return bool(longer[0] & longer[1])


def clean(heading: str) -> str:
    """The words of a heading without anchors, links, roles and emphasis."""
    heading = _ANCHOR.sub("", heading)
    heading = _ROLE.sub(r"\1", _LINK.sub(r"\1", _MARKUP.sub(lambda match: match["code"] or "", heading)))
    heading = _QUOTED.sub(r"\2", heading)
    return shortened(heading.replace("\\", "").replace("---", "—").strip(" \t¶#"))


def _headings(text: str, begin: int) -> list[_Heading]:
    lines: list[tuple[int, str]] = []
    at = begin
    for line in text[begin:].split("\n"):
        lines.append((at, line))
        at += len(line) + 1
    found: list[_Heading] = []
    styles: list[tuple[str, bool]] = []  # reStructuredText: levels in order of first use
    fence = ""
    for number, (start, line) in enumerate(lines):
        mark = _FENCE.match(line)
        if mark and (not fence or mark[1].startswith(fence)):
            fence = "" if fence else mark[1][:3]
            continue
        if fence:
            continue
        atx = _ATX.match(line)
        if atx and clean(atx[2]):
            found.append(_Heading(start, len(atx[1]), clean(atx[2])))
            continue
        underlined = _underlined(lines, number)
        if underlined and clean(line):
            mark_character, over = underlined
            if (mark_character, over) not in styles:
                styles.append((mark_character, over))
            top = lines[number - 1][0] if over else start
            found.append(_Heading(top, styles.index((mark_character, over)) + 1, clean(line)))
    return found


def _underlined(lines: list[tuple[int, str]], number: int) -> tuple[str, bool] | None:
    """(character, has an overline too) when the line is a heading with a line of punctuation under it."""
    line = lines[number][1]
    text = line.strip()
    if not text or number + 1 >= len(lines) or _UNDERLINE.match(line) or len(text) > 120:
        return None
    under = _UNDERLINE.match(lines[number + 1][1])
    if not under:
        return None
    width = len(lines[number + 1][1].strip())
    over = number > 0 and lines[number - 1][1].strip() == lines[number + 1][1].strip()
    if line[0].isspace() and not over:
        return None
    above_blank = number == 0 or not lines[number - 1][1].strip()
    if not (over or above_blank) or width < min(len(text), 3) or width + 3 < len(text):
        return None
    if text.startswith(("|", "-", "* ", ">", "```")):
        return None
    return under[1], over
