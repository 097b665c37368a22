"""The text of an XLSX file: each sheet a heading and a table of the values as stored (ECMA-376 part 1, 18).

Formulas give their last computed value; dates stay the numbers they are stored as, unless they are text.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

from ownlm.data.limits import Limits, Unusable
from ownlm.data.sources.archive import Archive
from ownlm.data.sources.blocks import table
from ownlm.data.sources.relations import targets
from ownlm.data.sources.wordprocessing import core_properties
from ownlm.data.sources.xml_events import events

_BOOK = "xl/workbook.xml"
_MOST_COLUMNS = 16_384


def read(data: bytes, limits: Limits) -> tuple[str, dict[str, Any]]:
    """(text, meta). Raises Unusable, also for more than limits.cells cells (empty ones between them counted)."""
    archive = Archive(data, limits)
    members = targets(archive, _BOOK)
    sheets = [(name, members[key]) for name, key in _sheets(archive) if members.get(key) in archive.names]
    strings = _strings(archive)
    pieces: list[str] = []
    left = limits.cells
    for name, member in sheets:
        rows = []
        for row in _rows(archive.read(member), strings):
            left -= len(row) + 1
            if left < 0:
                raise Unusable(f"spreadsheet with more than {limits.cells} cells")
            rows.append(row)
        lines = table(rows)
        if lines:
            pieces += [f"## {name}", "\n".join(lines)]
    text = "\n\n".join(pieces) + "\n" if pieces else ""
    return text, {**core_properties(archive), "num_pages": len(sheets)}


def _sheets(archive: Archive) -> list[tuple[str, str]]:
    """(name, relationship id) of the sheets in order."""
    found = []
    for kind, tag, attributes in events(io.BytesIO(archive.read(_BOOK))):
        if kind == "start" and tag == "sheet":
            keys = [value for key, value in attributes.items() if key.endswith(":id")]
            found.append((attributes.get("name", ""), keys[0] if keys else ""))
    return found


def _strings(archive: Archive) -> list[str]:
    """The shared strings; phonetic readings beside them are left out."""
    if "xl/sharedStrings.xml" not in archive.names:
        return []
    found: list[str] = []
    pieces: list[str] = []
    in_text = phonetic = False
    for kind, value, _ in events(io.BytesIO(archive.read("xl/sharedStrings.xml"))):
        if kind == "text":
            if in_text and not phonetic:
                pieces.append(value)
        elif value == "t":
            in_text = kind == "start"
        elif value == "rPh":
            phonetic = kind == "start"
        elif value == "si" and kind == "end":
            found.append("".join(pieces))
            pieces = []
    return found


def _rows(data: bytes, strings: list[str]) -> Iterator[list[str]]:
    row: list[str] = []
    kind_of_cell, column, in_value = "", -1, False
    pieces: list[str] = []
    for kind, value, attributes in events(io.BytesIO(data)):
        if kind == "text":
            if in_value:
                pieces.append(value)
        elif value in ("v", "t"):
            in_value = kind == "start"
        elif value == "c" and kind == "start":
            place = attributes.get("r", "")
            column = _column(place) if place else column + 1
            kind_of_cell = attributes.get("t", "n")
        elif value == "c":
            row += [""] * (column + 1 - len(row))
            row[column] = _value("".join(pieces), kind_of_cell, strings)
            pieces = []
        elif value == "row" and kind == "start":
            row, column = [], -1
        elif value == "row":
            yield row


def _column(place: str) -> int:
    """`BC12` -> 54. Raises Unusable for what no spreadsheet has."""
    number = 0
    for letter in place[:4]:
        if "A" <= letter <= "Z":
            number = number * 26 + ord(letter) - 64
        else:
            break
    if not 0 < number <= _MOST_COLUMNS:
        raise Unusable(f"bad cell: its place is {place[:20]!r}")
    return number - 1


def _value(text: str, kind: str, strings: list[str]) -> str:
    if kind == "s":
        if not (text.isascii() and text.isdigit() and len(text) < 10 and int(text) < len(strings)):
            raise Unusable("bad cell: it names a string that is not there")
        return strings[int(text)]
    if kind == "b":
        return {"1": "TRUE", "0": "FALSE"}.get(text, text)
    return text
