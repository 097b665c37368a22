"""Tokens -> blocks of text with the place of each in the page: a light tree of the block-level elements only.

The readable reference of the native kernel (native/html_blocks.hpp), and what stands in for it where there is none.

A block is a run of text between two block-level boundaries: a paragraph, heading, list item, table row, code block.
The tree follows HTML5's rules where they matter for text (a block closes an open paragraph, an item the item before,
an end tag does not reach out of a table cell) and is otherwise forgiving: an end tag that nothing opened is ignored.
Every element costs constant time, an open one one list entry: depth is free, and there is no recursion.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

from ownlm.data.extract.hints import HIDDEN, name_bits, tag_bits
from ownlm.data.extract.tags import TOKEN, attribute, decoded, hints, is_hidden
from ownlm.data.extract.tree import Block, Draft, Tree
from ownlm.data.limits import Unusable

MOST_ELEMENTS = 1_000_000  # block-level; about 150 MB
MOST_BLOCKS = 50_000  # of text; about 250 MB while they are classified
REFUSALS = {
    "elements": f"HTML with more than {MOST_ELEMENTS} elements",
    "blocks": f"HTML with more than {MOST_BLOCKS} blocks of text",
}

_CONTAINERS = frozenset({
    "p", "div", "section", "article", "main", "header", "footer", "nav", "aside", "address", "figure", "figcaption",
    "details", "summary", "fieldset", "legend", "center", "dl", "dt", "dd", "ul", "ol", "li", "menu", "dir", "table",
    "caption", "tr", "td", "th", "blockquote", "pre", "h1", "h2", "h3", "h4", "h5", "h6", "form", "hgroup", "option",
    "select", "button", "object", "canvas", "audio", "video", "map", "datalist", "dialog", "template", "listing",
})  # fmt: skip
DROPPED = frozenset({
    "select", "button", "object", "canvas", "audio", "video", "map", "datalist", "dialog", "template",
})  # fmt: skip
IGNORED, INLINE, CONTAINER = 0, 1, 2
KIND = (
    dict.fromkeys(
        ("span", "strong", "b", "em", "i", "img", "input", "link", "label", "u", "sup", "font"), IGNORED
    )
    | dict.fromkeys(("a", "br", "code", "tt", "hr", "meta", "html", "time"), INLINE)
    | dict.fromkeys(_CONTAINERS, CONTAINER)
)
_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_TABLE_PARTS = frozenset({"table", "tr", "td", "th"})
_LONGEST_CELL = 300  # characters; a longer "cell" is a column of the layout, and its row is no row of a table
_CLOSERS = frozenset({"li", "dt", "dd", "tr", "td", "th", *_HEADINGS})
_STATEFUL = frozenset({  # what changes how the text inside is written
    "ul", "ol", "menu", "dir", "li", "dd", "blockquote", "pre", "listing", "table", "tr", "td", "th", *_HEADINGS,
})  # fmt: skip
_USUAL = 200  # characters of attributes that are worth remembering
_MOST_HINTS = 500  # characters of class, id, role and itemprop that are read
_NEAR = 8  # open elements that an item looks through for the item before it
_BREAK = "\x0b"  # stands for <br> in the pieces of a line
MARKED = 1 << 62  # bit of an element whose text is dropped


@dataclass(slots=True)
class _Frame:
    """An open table: stack positions of the table, its open row and cell; -1 for none."""

    table: int
    row: int = -1
    cell: int = -1
    row_block: int = 0
    cell_block: int = 0
    cells: list[str] | None = None  # texts of the row so far; None once one of them is no simple cell


def _read_bits(attributes: str) -> int:
    bits = name_bits(hints(attributes)[:_MOST_HINTS])
    return bits | HIDDEN if is_hidden(attributes) else bits


_attribute_bits = lru_cache(maxsize=20_000)(_read_bits)  # the items of a list have the same ones


def build(source: str) -> Tree:
    """Linear in the length of `source`, in time and in memory. Raises Unusable above MOST_ELEMENTS and MOST_BLOCKS."""
    builder = _Builder(Draft())
    line, read_tag, read_inline = builder.line, builder.read_tag, builder.read_inline
    last = 0
    for match in TOKEN.finditer(source):
        start, end = match.span()
        if start > last:
            text = source[last:start]
            if line or not text.isspace():
                line.append(text)
        last = end
        if match.lastindex == 6:
            slash, name, attributes = match.group(4, 5, 6)
            kind = KIND.get(name)
            if kind is None:  # upper case, or a name of the page's own
                name = name.lower()
                kind = KIND.get(name, CONTAINER if "-" in name else IGNORED)
            if kind == CONTAINER:
                read_tag(name, slash, attributes)
            elif kind == INLINE:
                read_inline(name, slash, attributes)
        elif match.lastindex == 2:
            if "ld+json" in match[1]:
                builder.tree.head.append(("json", match[2]))
        elif match.lastindex == 3:
            builder.tree.head.append(("title", match[3]))
    line.append(source[last:])
    builder.finish()
    return builder.tree.finished()


@dataclass(slots=True)
class _Builder:
    tree: Draft
    line: list[str] = field(default_factory=list)  # pieces of the block being read; links stand between marks
    stack: list[int] = field(default_factory=lambda: [0])
    counts: dict[str, int] = field(default_factory=dict)  # open elements by tag, within the innermost cell
    scopes: list[dict[str, int]] = field(default_factory=list)  # counts of the cells and tables around
    frames: list[_Frame] = field(default_factory=list)
    lists: list[int] = field(default_factory=list)  # next number of each open list; -1 for bullets
    marker: str = ""
    heading: int = 0
    quote: int = 0
    pre: int = 0
    link_start: int = -1  # index into `line` where the open link began
    num_links: int = 0
    link_characters: int = 0
    has_breaks: bool = False
    code: bool = False

    def read_inline(self, name: str, slash: str, attributes: str) -> None:
        if name == "a":
            self._end_link()
            if not slash:
                self.link_start = len(self.line)
        elif name == "br":
            self._break()
        elif name == "code" or name == "tt":
            if not self.pre and self.code == bool(slash):
                self.line.append("`")
                self.code = not slash
        elif name == "hr":
            self.flush()
        elif not slash and (name == "meta" or name == "html" or name == "time"):
            self.tree.head.append((name, attributes))

    def _break(self) -> None:
        """A line break; the second in a row ends a paragraph."""
        line = self.line
        if self.pre:
            line.append("\n")
        elif line and line[-1].isspace() and (line[-1] == _BREAK or (len(line) > 1 and line[-2] == _BREAK)):
            self.flush()
        else:
            line.append(_BREAK)
            self.has_breaks = True

    def read_tag(self, name: str, slash: str, attributes: str) -> None:
        if self.pre and name != "pre":
            self.line.append("\n" if slash else "")
        elif self.line:
            self.flush()
        tree, stack = self.tree, self.stack
        top = tree.tags[stack[-1]]
        if slash:
            if top == name and name not in _STATEFUL:  # what _close comes to in most cases
                tree.ends[stack.pop()] = len(tree.blocks)
                self.counts[name] -= 1
            else:
                self._close(name)
            return
        if top == "p":
            self._pop()
        if name in _CLOSERS:
            self._make_room(name)
            if name in _TABLE_PARTS and not self.frames:
                name = "div"
        self._open(name, attributes)

    def _make_room(self, name: str) -> None:
        """Close what `name` closes without an end tag."""
        tags, stack = self.tree.tags, self.stack
        if name == "li":
            self._close_near(("li",))
        elif name == "dt" or name == "dd":
            self._close_near(("dt", "dd"))
        elif name == "tr" or name == "td" or name == "th":
            if self.frames:
                frame = self.frames[-1]
                end = frame.row if name == "tr" else frame.cell
                if end >= 0:
                    self._pop_to(end)
        elif name in _HEADINGS and tags[stack[-1]] in _HEADINGS:
            self._pop()

    def _close_near(self, names: tuple[str, ...]) -> None:
        tags, stack = self.tree.tags, self.stack
        for position in range(len(stack) - 1, max(0, len(stack) - 1 - _NEAR), -1):
            tag = tags[stack[position]]
            if tag in names:
                self._pop_to(position)
                return
            if tag not in ("div", "p", "address"):
                return

    def _open(self, name: str, attributes: str) -> None:
        tree = self.tree
        parent = self.stack[-1]
        bits = tag_bits(name)
        if attributes:
            bits |= _attribute_bits(attributes) if len(attributes) <= _USUAL else _read_bits(attributes)
        if name in DROPPED:
            bits |= MARKED
        node = len(tree.tags)
        if node > MOST_ELEMENTS:
            raise Unusable(REFUSALS["elements"])
        tree.tags.append(name)
        tree.parents.append(parent)
        tree.own.append(bits)
        tree.inherited.append(bits | tree.inherited[parent])
        tree.starts.append(len(tree.blocks))
        tree.ends.append(0)
        self.stack.append(node)
        self.counts[name] = self.counts.get(name, 0) + 1
        if name in _STATEFUL:
            self._enter(name, attributes)

    def _enter(self, name: str, attributes: str) -> None:
        position = len(self.stack) - 1
        if name == "ul" or name == "menu" or name == "dir":
            self.lists.append(-1)
        elif name == "ol":
            start = attribute(attributes, "start") if attributes else ""
            self.lists.append(int(start) if start.isdecimal() and start.isascii() and len(start) < 9 else 1)
        elif name == "li":
            self._item()
        elif name == "dd":
            self.marker = ": "
        elif name in _HEADINGS:
            self.heading, self.marker = _HEADINGS[name], ""
        elif name == "blockquote":
            self.quote += 1
        elif name == "pre" or name == "listing":
            self.pre += 1
        elif name in _TABLE_PARTS:
            self._enter_table(name, position)

    def _enter_table(self, name: str, position: int) -> None:
        if name == "table":
            self.frames.append(_Frame(position))
        elif name == "tr":
            frame = self.frames[-1]
            frame.row, frame.row_block, frame.cells = position, len(self.tree.blocks), []
            return
        else:
            self.frames[-1].cell, self.frames[-1].cell_block = position, len(self.tree.blocks)
        self.scopes.append(self.counts)
        self.counts = {}

    def _item(self) -> None:
        if not self.lists or self.lists[-1] < 0:
            self.marker = "- "
        else:
            self.marker = f"{self.lists[-1]}. "
            self.lists[-1] += 1

    def _close(self, name: str) -> None:
        if name in _TABLE_PARTS:
            if self.frames:
                frame = self.frames[-1]
                end = frame.table if name == "table" else frame.row if name == "tr" else frame.cell
                if end >= 0:
                    self._pop_to(end)
        elif self.counts.get(name):
            tags = self.tree.tags
            while tags[self.stack[-1]] != name:
                self._pop()
            self._pop()

    def _pop_to(self, position: int) -> None:
        self.flush()
        while len(self.stack) > position:
            self._pop()

    def _pop(self) -> None:
        node = self.stack.pop()
        tree = self.tree
        name = tree.tags[node]
        if name in _STATEFUL:
            self._leave(name, node)
        tree.ends[node] = len(tree.blocks)
        self.counts[name] -= 1

    def _leave(self, name: str, node: int) -> None:
        if name == "pre" or name == "listing":
            self.flush()
            self.pre -= 1
        elif name in _TABLE_PARTS:
            self._leave_table(name, node)
        elif name in _HEADINGS:
            self.heading = 0
        elif name == "li" or name == "dd":
            self.marker = ""
        elif name == "blockquote":
            self.quote -= 1
        elif name in ("ul", "ol", "menu", "dir"):
            self.lists.pop()

    def _leave_table(self, name: str, node: int) -> None:
        frame = self.frames[-1]
        blocks = self.tree.blocks
        if name == "tr":
            if frame.cells is not None and sum(map(bool, frame.cells)) > 1:
                self._merge_row(frame, node)
            frame.row, frame.cells = -1, None
            return
        self.counts = self.scopes.pop()
        if name == "table":
            self.frames.pop()
            return
        num_made = len(blocks) - frame.cell_block
        frame.cell = -1
        if frame.cells is None:
            return
        if not num_made:
            frame.cells.append("")
        elif num_made == 1 and blocks[-1].kind == "p" and len(blocks[-1].text) <= _LONGEST_CELL:
            frame.cells.append(blocks[-1].text.replace("\n", " "))
        else:
            frame.cells = None

    def _merge_row(self, frame: _Frame, row: int) -> None:
        blocks = self.tree.blocks
        parts = blocks[frame.row_block :]
        del blocks[frame.row_block :]
        for node in range(row + 1, len(self.tree.tags)):  # the cells have no blocks any more
            self.tree.starts[node] = self.tree.ends[node] = frame.row_block
        text = "| " + " | ".join(cell.replace("|", "\\|") for cell in frame.cells or ()) + " |"
        links = sum(part.link_characters for part in parts)
        blocks.append(
            Block(text, row, "row", links, sum(part.num_links for part in parts), 0, "", self.quote)
        )

    def _end_link(self) -> None:
        if self.link_start >= 0:
            inside = "".join(self.line[self.link_start :]).split()
            if inside:
                self.num_links += 1
                self.link_characters += sum(map(len, inside)) + len(inside) - 1
            self.link_start = -1

    def flush(self) -> None:
        """End the block being read."""
        line = self.line
        if not line:
            return
        reopen = self.link_start >= 0
        self._end_link()
        if self.code:
            line.append("`")
            self.code = False
        text = "".join(line)
        line.clear()
        links, self.link_characters, num_links, self.num_links = self.link_characters, 0, self.num_links, 0
        breaks, self.has_breaks = self.has_breaks, False
        if reopen:
            self.link_start = 0
        if text.isspace() or not text:
            return
        if "&" in text:
            text = decoded(text)
        if self.pre:
            text = text.strip("\n").rstrip()
        elif breaks:
            parts = (" ".join(part.split()) for part in text.split(_BREAK))
            text = "\n".join(part for part in parts if part)
        else:
            text = " ".join(text.split())
        node = self.stack[-1]
        if text and not text.isspace() and not self.tree.inherited[node] & MARKED:
            self._add(text, node, min(links, len(text)), num_links)

    def _add(self, text: str, node: int, links: int, num_links: int) -> None:
        if self.pre:
            kind = "pre"
        elif self.heading:
            kind = f"h{self.heading}"
        elif self.lists and self.marker:
            kind = "li"
        elif self.marker:
            kind = "dd"
        else:
            kind = "dt" if self.tree.tags[node] == "dt" else "p"
        if len(self.tree.blocks) >= MOST_BLOCKS:
            raise Unusable(REFUSALS["blocks"])
        self.tree.blocks.append(
            Block(text, node, kind, links, num_links, len(self.lists), self.marker, self.quote)
        )
        self.marker = ""

    def finish(self) -> None:
        self.flush()
        while len(self.stack) > 1:
            self._pop()
        self.tree.ends[0] = len(self.tree.blocks)
