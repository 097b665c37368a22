"""Paragraphs, headings, list items and tables, in order, to Markdown. Tables may lie in cells of tables."""

from __future__ import annotations


class Blocks:
    """Text is collected with `text` and ended with `paragraph`; inside a table it goes to the open cell."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._text: list[str] = []
        self._tables: list[list[list[list[str]]]] = []  # open tables: rows of cells of paragraphs
        self._was_item = False

    def text(self, piece: str) -> None:
        self._text.append(piece)

    def paragraph(self, *, heading: int = 0, item: int = -1) -> None:
        """heading: its level, 0 for none. item: depth of a list item, -1 for none."""
        text = "".join(self._text).strip()
        self._text.clear()
        if not text:
            return
        if self._tables:
            if self._tables[-1] and self._tables[-1][-1]:
                self._tables[-1][-1][-1].append(text)
            return
        if heading:
            text = "#" * min(heading, 6) + " " + " ".join(text.split())
        elif item >= 0:
            text = "  " * min(item, 8) + "- " + text
        if self._lines and not (item >= 0 and self._was_item):
            self._lines.append("")
        self._lines.append(text)
        self._was_item = item >= 0

    @property
    def in_table(self) -> bool:
        return bool(self._tables)

    def begin_table(self) -> None:
        self.paragraph()
        self._tables.append([])

    def begin_row(self) -> None:
        if self._tables:
            self._tables[-1].append([])

    def begin_cell(self) -> None:
        self.paragraph()
        if self._tables:
            if not self._tables[-1]:
                self._tables[-1].append([])
            self._tables[-1][-1].append([])

    def end_cell(self) -> None:
        self.paragraph()

    def end_table(self) -> None:
        if not self._tables:
            return
        self.paragraph()
        rows = [[" ".join(cell) for cell in row] for row in self._tables.pop()]
        if self._tables:  # a table in a cell: its words, row by row
            self._text.append("\n".join(" ".join(filter(None, row)) for row in rows))
            self.paragraph()
            return
        lines = table(rows)
        if lines:
            self._lines += ["", *lines] if self._lines else lines
            self._was_item = False

    def result(self) -> str:
        while self._tables:
            self.end_table()
        self.paragraph()
        return "\n".join(self._lines) + "\n" if self._lines else ""


def table(rows: list[list[str]]) -> list[str]:
    """Lines of a Markdown table; rows and columns without a word are left out."""
    rows = [row for row in rows if any(cell.strip() for cell in row)]
    if not rows:
        return []
    width = max(len(row) for row in rows)
    used = [any(index < len(row) and row[index].strip() for row in rows) for index in range(width)]
    lines = []
    for row in rows:
        cells = [row[index] if index < len(row) else "" for index in range(width) if used[index]]
        lines.append("| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in cells) + " |")
    lines.insert(1, "|" + " --- |" * sum(used))
    return lines
