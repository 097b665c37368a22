"""HTML source -> blocks of text in a light tree; by the native kernel where there is one, else by builder.py."""

from __future__ import annotations

from functools import cache
from types import ModuleType
from typing import Any

from ownlm.data.extract import builder, hints
from ownlm.data.extract.builder import MOST_BLOCKS, MOST_ELEMENTS
from ownlm.data.extract.tags import decoded
from ownlm.data.extract.tree import Block, Tree
from ownlm.data.limits import Unusable
from ownlm.runtime.native import kernels

__all__ = ["MOST_BLOCKS", "MOST_ELEMENTS", "read_blocks"]


def read_blocks(source: str) -> Tree:
    """Linear in the length of `source`, in time and in memory. Raises Unusable above MOST_ELEMENTS and MOST_BLOCKS."""
    native = kernels()
    if native is None:
        return builder.build(source)
    found = _reader(native).read(source, hints.word_bits, decoded, _lowered, Block)
    if isinstance(found, str):
        raise Unusable(builder.REFUSALS[found])
    return Tree(*found)


@cache
def _reader(native: ModuleType) -> Any:
    """One per process: it keeps what it has learned about words and entities."""
    tags = {
        name: (kind, hints.tag_bits(name) | (builder.MARKED if name in builder.DROPPED else 0))
        for name, kind in builder.KIND.items()
    }
    masks = (*hints.ARTICLE_MASKS, hints.HIDDEN, builder.MARKED)
    return native.PageReader(tags, masks, MOST_ELEMENTS, MOST_BLOCKS)


def _lowered(name: str) -> bytes:
    return name.lower().encode("utf-8", "surrogatepass")
