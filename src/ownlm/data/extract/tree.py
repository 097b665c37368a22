"""What the reader of a page makes: its blocks of text, and the block-level elements around them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.int64]


class Block(NamedTuple):
    """Lengths are in characters of the text as it will be written."""

    text: str
    node: int  # innermost open block-level element
    kind: str  # "p", "pre", "row", "li", "dt", "dd", "h1" ... "h6"
    link_characters: int
    num_links: int
    indent: int  # open lists
    marker: str  # "- ", "3. ", ": " before the first line, or ""
    quote: int  # open quotations


@dataclass(frozen=True, slots=True)
class Tree:
    """Node 0 is the page. Blocks of node n and below are blocks[starts[n]:ends[n]]."""

    blocks: list[Block]
    tags: list[str]
    parents: Numbers  # [node], as all below
    own: Numbers  # bits of hints.py, of the element
    inherited: Numbers  # of it and all around it
    starts: Numbers
    ends: Numbers
    head: list[tuple[str, str]]
    """In the order of the page: ("meta", "html" or "time", attributes), ("title" or "json", content)."""


@dataclass(slots=True)
class Draft:
    """A tree while it grows."""

    blocks: list[Block] = field(default_factory=list)
    tags: list[str] = field(default_factory=lambda: ["body"])
    parents: list[int] = field(default_factory=lambda: [0])
    own: list[int] = field(default_factory=lambda: [0])
    inherited: list[int] = field(default_factory=lambda: [0])
    starts: list[int] = field(default_factory=lambda: [0])
    ends: list[int] = field(default_factory=lambda: [0])
    head: list[tuple[str, str]] = field(default_factory=list)

    def finished(self) -> Tree:
        columns = (self.parents, self.own, self.inherited, self.starts, self.ends)
        parents, own, inherited, starts, ends = (np.array(column, dtype=np.int64) for column in columns)
        return Tree(self.blocks, self.tags, parents, own, inherited, starts, ends, self.head)
