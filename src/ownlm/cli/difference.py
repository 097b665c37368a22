"""A document's way through a pipeline for a terminal: what each step changed, green new, red gone."""

from __future__ import annotations

import difflib
from collections.abc import Iterator

from rich.text import Text

from ownlm.data.flow.preview import Change, Row
from ownlm.records import Drop

_LINES = 6  # of each colour that are shown
_WIDTH = 160


def shown(row: Row | Drop) -> Iterator[Text]:
    if isinstance(row, Drop):
        yield Text.assemble(("not read  ", "bold red"), row.source, (f"  {row.reason}", "red"))
        return
    kept = row.kept is not None
    yield Text.assemble(
        ("kept      " if kept else "dropped   ", "bold green" if kept else "bold red"), (row.source, "bold")
    )
    yield from _clipped(row.text.strip().split("\n"), "dim")
    for change in row.changes:
        yield from _change(change)
    yield Text("")


def _change(change: Change) -> Iterator[Text]:
    if change.after is None:
        yield Text.assemble(("  - ", "red"), (change.step, "bold"), (f"  {change.reason}", "red"))
        return
    if change.before == change.after:
        yield Text.assemble(
            ("  = ", "dim"),
            (change.step, "dim"),
            ("  " + ", ".join(change.notes) if change.notes else "", "dim"),
        )
        return
    size = f"  {len(change.before):,} to {len(change.after):,} characters"
    yield Text.assemble(
        ("  ~ ", "yellow"), (change.step, "bold"), (size, "yellow"), ("  " + ", ".join(change.notes), "dim")
    )
    before, after = (text.strip().split("\n")[:400] for text in (change.before, change.after))
    lines = list(difflib.unified_diff(before, after, lineterm="", n=0))[2:]
    for sign, style in (("-", "red"), ("+", "green")):
        changed = [line for line in lines if line.startswith(sign) and line[1:].strip()]
        for line in changed[:_LINES]:
            yield Text("      " + line[:_WIDTH], style=style)
        if changed[_LINES:]:
            yield Text(f"      {sign} ... {len(changed) - _LINES} more lines", style=style)


def _clipped(lines: list[str], style: str) -> Iterator[Text]:
    for line in lines[:4]:
        yield Text("      " + line[:_WIDTH], style=style)
    if lines[4:]:
        yield Text(f"      ... {len(lines) - 4} more lines", style=style)
