"""The text of a PPTX file: slides in the order of the show, titles as headings, tables, notes (ECMA-376 part 1, 19)."""

from __future__ import annotations

import io
from typing import Any

from ownlm.data.limits import Limits
from ownlm.data.sources.archive import Archive
from ownlm.data.sources.blocks import Blocks
from ownlm.data.sources.relations import targets
from ownlm.data.sources.wordprocessing import core_properties
from ownlm.data.sources.xml_events import events

_SHOW = "ppt/presentation.xml"
_TITLES = frozenset({"title", "ctrTitle"})
_FURNITURE = frozenset({"sldNum", "dt", "ftr", "hdr"})  # slide number, date, footer, header


def read(data: bytes, limits: Limits) -> tuple[str, dict[str, Any]]:
    """(text, meta). Raises Unusable."""
    archive = Archive(data, limits)
    members = targets(archive, _SHOW)
    blocks = Blocks()
    slides = [members[key] for key in _slide_ids(archive) if members.get(key) in archive.names]
    for slide in slides:
        _slide(archive.read(slide), blocks)
        for other in targets(archive, slide).values():
            if "/notesSlides/" in other and other in archive.names:
                _slide(archive.read(other), blocks)
    return blocks.result(), {**core_properties(archive), "num_pages": len(slides)}


def _slide_ids(archive: Archive) -> list[str]:
    """Relationship ids of the slides, in the order of the show."""
    found = []
    for kind, tag, attributes in events(io.BytesIO(archive.read(_SHOW))):
        if kind == "start" and tag == "sldId":
            found += [value for key, value in attributes.items() if key.endswith(":id")]
    return found


def _slide(data: bytes, blocks: Blocks) -> None:
    place, in_text, level = "", False, 0
    for kind, value, attributes in events(io.BytesIO(data)):
        if kind == "text":
            if in_text and place not in _FURNITURE:
                blocks.text(value)
        elif value == "t":
            in_text = kind == "start"
        elif value == "sp":
            place = ""
        elif kind == "start":
            if value == "ph":
                place = attributes.get("type", "body")
            elif value == "pPr":
                stated = attributes.get("lvl", "0")
                level = int(stated) if stated in tuple("012345678") else 0
            elif value == "br":
                blocks.text("\n")
            elif value == "tbl":
                blocks.begin_table()
            elif value == "tr":
                blocks.begin_row()
            elif value == "tc":
                blocks.begin_cell()
        elif value == "p":
            title = place in _TITLES
            blocks.paragraph(heading=2 if title else 0, item=level if place == "body" else -1)
            level = 0
        elif value == "tc":
            blocks.end_cell()
        elif value == "tbl":
            blocks.end_table()
