"""Chosen blocks -> Markdown: headings, paragraphs, lists, quotations, tables, fenced code."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from ownlm.data.extract.tree import Block

_TICKS = re.compile(r"`{3,}")
_MOST_INDENT = 6  # deeper lists and quotations are written as the sixth level


def markdown(blocks: Sequence[Block], chosen: Iterable[int]) -> str:
    """The text of blocks[i] for every i of `chosen` (ascending), ending in one newline; "" for none."""
    parts: list[str] = []
    before: Block | None = None
    for index in chosen:
        block = blocks[index]
        tight = before is not None and _is_tight(before, block)
        if before is not None:
            parts.append("\n" if tight else "\n\n")
        parts.append(_written(block, block.kind == "row" and not tight))
        before = block
    return "".join(parts) + "\n" if parts else ""


def _is_tight(before: Block, block: Block) -> bool:
    if block.kind == "row" or before.kind == "row":
        return block.kind == before.kind
    return bool(block.marker) and (before.kind in ("li", "dt", "dd")) and block.kind in ("li", "dd")


def _written(block: Block, first_row: bool) -> str:
    text = block.text
    if block.kind == "pre":
        fence = "`" * max([3, *(len(run) + 1 for run in _TICKS.findall(text))])
        text = f"{fence}\n{text}\n{fence}"
    elif block.kind[0] == "h":
        text = "#" * int(block.kind[1]) + " " + text.replace("\n", " ")
    elif block.kind == "row" and first_row:
        text += "\n|" + " --- |" * (text.count(" | ") + 1 - text.count("\\| "))
    indent = "  " * min(_MOST_INDENT, block.indent - 1 if block.marker else block.indent)
    if (block.kind in ("li", "p", "pre") and indent) or block.marker:
        lines = text.split("\n")
        rest = indent + ("  " if block.marker else "")
        text = "\n".join([indent + block.marker + lines[0], *(rest + line for line in lines[1:])])
    if block.quote:
        mark = "> " * min(_MOST_INDENT, block.quote)
        text = mark + text.replace("\n", "\n" + mark)
    return text
