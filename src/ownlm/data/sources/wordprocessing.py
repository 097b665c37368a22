"""The text of a DOCX file: headings, paragraphs, list items, tables, foot- and endnotes (ECMA-376 part 1, 17)."""

from __future__ import annotations

import io
import re
from typing import Any

from ownlm.data.limits import Limits
from ownlm.data.sources.archive import Archive
from ownlm.data.sources.blocks import Blocks
from ownlm.data.sources.xml_events import events, text_of

_HEADING = re.compile(r"^heading\s*([1-9])$", re.IGNORECASE)
# Deleted text, field codes, the second form of what is there already, comments in the margin.
_SKIPPED = frozenset({"del", "moveFrom", "Fallback", "instrText", "delText", "delInstrText", "pict"})


def read(data: bytes, limits: Limits) -> tuple[str, dict[str, Any]]:
    """(text, meta). Raises Unusable."""
    archive = Archive(data, limits)
    styles = _heading_styles(archive)
    blocks = Blocks()
    _body(archive.read("word/document.xml"), styles, blocks)
    for notes in ("word/footnotes.xml", "word/endnotes.xml"):
        if notes in archive.names:
            _body(archive.read(notes), styles, blocks)
    return blocks.result(), core_properties(archive)


def core_properties(archive: Archive) -> dict[str, Any]:
    """Title of an Office Open XML file, where it states one."""
    if "docProps/core.xml" not in archive.names:
        return {}
    inside, title = False, ""
    for kind, value, _ in events(io.BytesIO(archive.read("docProps/core.xml"))):
        if value == "title" and kind != "text":
            inside = kind == "start"
        elif inside:
            title += value
    return {"title": title.strip()[:500]} if title.strip() else {}


def _heading_styles(archive: Archive) -> dict[str, int]:
    """Style id -> heading level; styles are named in English whatever the language of their ids."""
    levels = {"Title": 1, **{f"Heading{level}": level for level in range(1, 10)}}
    if "word/styles.xml" not in archive.names:
        return levels
    style = ""
    for kind, tag, attributes in events(io.BytesIO(archive.read("word/styles.xml"))):
        if kind == "start" and tag == "style":
            style = text_of("styleId", attributes)
        elif kind == "start" and tag == "name" and style:
            name = text_of("val", attributes)
            found = _HEADING.match(name)
            if found:
                levels[style] = int(found.group(1))
            elif name.lower() == "title":
                levels[style] = 1
        elif kind == "start" and tag == "outlineLvl" and style:
            level = text_of("val", attributes)
            if level in tuple("012345678") and style not in levels:
                levels[style] = int(level) + 1
    return levels


def _body(data: bytes, styles: dict[str, int], blocks: Blocks) -> None:
    heading, item, skipped, in_text = 0, -1, 0, False
    for kind, value, attributes in events(io.BytesIO(data)):
        if kind == "text":
            if in_text and not skipped:
                blocks.text(value)
            continue
        if value in _SKIPPED:
            skipped += 1 if kind == "start" else -1
        elif skipped:
            continue
        elif value == "t":
            in_text = kind == "start"
        elif kind == "start":
            if value == "pStyle":
                heading = styles.get(text_of("val", attributes), 0)
                if text_of("val", attributes).startswith("List"):
                    item = max(item, 0)
            elif value == "numId" and text_of("val", attributes) != "0":
                item = max(item, 0)
            elif value == "ilvl":
                level = text_of("val", attributes)
                item = int(level) if level.isascii() and level.isdigit() and len(level) == 1 else 0
            else:
                _start(value, blocks)
        elif value == "p":
            blocks.paragraph(heading=heading, item=-1 if heading else item)
            heading, item = 0, -1
        elif value == "tc":
            blocks.end_cell()
        elif value == "tbl":
            blocks.end_table()


def _start(tag: str, blocks: Blocks) -> None:
    if tag == "tbl":
        blocks.begin_table()
    elif tag == "tr":
        blocks.begin_row()
    elif tag == "tc":
        blocks.begin_cell()
    elif tag in ("tab", "ptab"):
        blocks.text("\t")
    elif tag in ("br", "cr"):
        blocks.text("\n")
    elif tag == "noBreakHyphen":
        blocks.text("-")
