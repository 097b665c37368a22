"""The text of ODT, ODP and ODS files: headings, paragraphs, lists, tables (OpenDocument 1.3 part 3)."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

from ownlm.data.limits import Limits, Unusable
from ownlm.data.sources.archive import Archive
from ownlm.data.sources.blocks import Blocks
from ownlm.data.sources.xml_events import events, text_of

_SKIPPED = frozenset({"annotation", "tracked-changes", "annotation-end", "forms", "scripts", "font-face-decls",
                      "automatic-styles", "desc", "title"})  # fmt: skip


def read(data: bytes, limits: Limits) -> tuple[str, dict[str, Any]]:
    """(text, meta). Raises Unusable."""
    archive = Archive(data, limits)
    if "META-INF/manifest.xml" in archive.names and b"encryption-data" in archive.read(
        "META-INF/manifest.xml"
    ):
        raise Unusable("encrypted archive")
    return _Reader(limits).text(archive.read("content.xml")), _meta(archive)


def _meta(archive: Archive) -> dict[str, Any]:
    if "meta.xml" not in archive.names:
        return {}
    inside, title = False, ""
    for kind, value, _ in events(io.BytesIO(archive.read("meta.xml"))):
        if value == "title" and kind != "text":
            inside = kind == "start"
        elif inside:
            title += value
    return {"title": title.strip()[:500]} if title.strip() else {}


class _Reader:
    def __init__(self, limits: Limits) -> None:
        self.blocks = Blocks()
        self.limits = limits
        self.cells = 0
        self.lists = self.skipped = self.paragraphs = self.heading = 0

    def text(self, data: bytes) -> str:
        for kind, value, attributes in events(io.BytesIO(data)):
            if kind == "text":
                if self.paragraphs and not self.skipped:
                    self.blocks.text(value.replace("\n", " "))
            elif value in _SKIPPED:
                self.skipped += 1 if kind == "start" else -1
            elif self.skipped:
                continue
            elif kind == "start":
                self._start(value, attributes)
            else:
                self._end(value)
        return self.blocks.result()

    def _start(self, tag: str, attributes: Mapping[str, str]) -> None:
        blocks = self.blocks
        if tag in ("p", "h"):
            if self.paragraphs:
                blocks.text("\n")
            self.paragraphs += 1
            level = text_of("outline-level", attributes)
            self.heading = (int(level) if level in tuple("123456") else 1) if tag == "h" else 0
        elif tag == "list":
            self.lists += 1
        elif tag == "table":
            blocks.begin_table()
        elif tag == "table-row":
            blocks.begin_row()
        elif tag in ("table-cell", "covered-table-cell"):
            self._cell()
        elif tag == "s":
            count = text_of("c", attributes)
            blocks.text(" " * (int(count) if count.isascii() and count.isdigit() and len(count) < 3 else 1))
        elif tag == "tab":
            blocks.text("\t")
        elif tag == "line-break":
            blocks.text("\n")

    def _cell(self) -> None:
        self.cells += 1
        if self.cells > self.limits.cells:
            raise Unusable(f"spreadsheet with more than {self.limits.cells} cells")
        self.blocks.begin_cell()

    def _end(self, tag: str) -> None:
        if tag in ("p", "h"):
            self.paragraphs -= 1
            if not self.paragraphs:
                item = self.lists - 1 if self.lists and tag == "p" else -1
                self.blocks.paragraph(heading=self.heading if tag == "h" else 0, item=item)
        elif tag == "list":
            self.lists -= 1
        elif tag in ("table-cell", "covered-table-cell"):
            self.blocks.end_cell()
        elif tag == "table":
            self.blocks.end_table()
