"""The main text of an HTML page as Markdown-like lines: headings, paragraphs, lists, code, tables.

Left out: navigation, header and footer of the page, sidebars, forms, scripts, styles. The page is parsed by lexbor
(HTML5 rules: entities, unclosed tags); the walk is iterative, so nesting depth costs no stack.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from selectolax.lexbor import LexborHTMLParser

from ownlm.data.limits import Unusable

_DROPPED = frozenset({
    "script", "style", "noscript", "template", "svg", "math-icon", "iframe", "object", "embed", "canvas",
    "form", "button", "select", "input", "textarea", "nav", "aside", "footer", "head", "dialog", "audio",
    "video", "map",
})  # fmt: skip
_ROLES = frozenset({"navigation", "banner", "contentinfo", "search", "complementary"})
_BOILERPLATE = re.compile(
    r"(?:^|[\s_-])(?:sidebar|sphinxsidebar|navbar|breadcrumbs?|headerlink|footer|cookie|advert|related|toctree-wrapper"
    r"|skip-link|pagination|edit-this-page|share-buttons|printfooter|mw-editsection|navbox|noprint)(?:$|[\s_-])", re.I
)  # fmt: skip
_MAIN = (
    "main", "[role=main]", "[itemprop=articleBody]", "article", "div.body", "div.document", "#mw-content-text",
    "#content", "div.content", "body",
)  # fmt: skip
_BLOCKS = frozenset({
    "p", "div", "section", "article", "main", "body", "html", "header", "address", "figure", "figcaption",
    "details", "summary", "fieldset", "center", "hr", "dl", "dt", "dd", "ul", "ol", "li", "table",
    "caption", "thead", "tbody", "tfoot", "tr", "blockquote", "pre", "h1", "h2", "h3", "h4", "h5", "h6",
})  # fmt: skip
_SPACES = re.compile(r"[ \t\r\n\f\u00a0]+")
MOST_DEPTH = (
    2000  # open elements; the parser's work grows with depth times length (100,000 levels take it 25 seconds)
)
_TAG = re.compile(
    r"<(/?)(?!(?:p|li|td|th|tr|dt|dd|option|thead|tbody|tfoot|colgroup|br|img|hr|input|meta|link|area|base"
    r"|col|embed|source|track|wbr)\b)[a-zA-Z][^<>]*?(/?)>"
)  # fmt: skip  (tags that must be closed)
LEAST_SHARE = 0.3  # a "main" element with less of the page's text than this is a teaser, not the main text


@dataclass(frozen=True, slots=True)
class Page:
    text: str
    title: str


def main_text(source: str) -> Page:
    """Raises Unusable when elements are nested deeper than MOST_DEPTH."""
    _check_depth(source)
    parser = LexborHTMLParser(source)
    title_node = parser.css_first("title")
    title = _SPACES.sub(" ", title_node.text(deep=False)).strip() if title_node is not None else ""
    parser.strip_tags(list(_DROPPED), recursive=True)
    root = _main_node(parser)
    if root is None:
        return Page("", title)
    writer = _Writer()
    _write(root, writer)
    text = writer.finish()
    if title and text and not re.search(r"^# ", text, re.M):
        text = f"# {title}\n\n{text}"
    return Page(text, title)


def _check_depth(source: str) -> None:
    """An estimate from the tags alone, before the parser sees them; elements that may stay unclosed do not count."""
    if source.count("<") <= MOST_DEPTH:
        return
    depth = 0
    for tag in _TAG.finditer(source):
        closing, empty = tag.groups()
        depth = max(0, depth - 1) if closing else depth if empty else depth + 1
        if depth > MOST_DEPTH:
            raise Unusable(f"HTML nested too deep: more than {MOST_DEPTH} elements")


def _main_node(parser: LexborHTMLParser) -> Any:
    """The first candidate that holds LEAST_SHARE of the text of the body."""
    body = parser.body
    whole = len(body.text()) if body is not None else 0
    for selector in _MAIN:
        nodes = parser.css(selector)
        if len(nodes) == 1 and len(nodes[0].text()) >= LEAST_SHARE * whole:
            return nodes[0]
    return body


def _same(one: Any, other: Any) -> bool:
    """Whether both are the same node. (Their == compares the HTML of all that is below.)"""
    return bool(one.mem_id == other.mem_id)


def _is_boilerplate(node: Any, inside_article: bool) -> bool:
    tag = node.tag
    if tag == "header" and not inside_article:
        return True
    attributes = node.attributes
    if attributes.get("role") in _ROLES or "hidden" in attributes or attributes.get("aria-hidden") == "true":
        return True
    named = f"{attributes.get('class') or ''} {attributes.get('id') or ''}"
    return (
        named != " " and tag not in ("body", "html", "main", "article") and bool(_BOILERPLATE.search(named))
    )


def _write(root: Any, writer: _Writer) -> None:
    """Enter and leave every kept node below `root`, without recursion."""
    inside_article = root.tag in ("main", "article") or root.attributes.get("role") == "main"
    node, entering = root, True
    while node is not None:
        if entering:
            if node.tag == "-text":
                writer.words(node.text_content or "")
                descend = False
            elif (
                node.tag.startswith("-")
                or node.tag == "!doctype"
                or (not _same(node, root) and _is_boilerplate(node, inside_article))
            ):
                descend = False
            else:
                writer.enter(node)
                descend = True
            if descend and node.child is not None:
                node = node.child
                continue
            if descend:
                writer.leave(node)
        else:
            writer.leave(node)
        if _same(node, root):
            return
        if node.next is not None:
            node, entering = node.next, True
        else:
            node, entering = node.parent, False


@dataclass(slots=True)
class _Writer:
    """Blocks of text so far, the line being written, and the open lists, quotes and tables around it."""

    blocks: list[str] = field(default_factory=list)
    line: list[str] = field(default_factory=list)
    lists: list[int] = field(default_factory=list)  # next number of each open list; -1 for bullets
    marker: str = ""  # what the next line of a list item begins with
    tight: bool = False  # the next block follows without a blank line
    cells: list[str] | None = None  # of the open table row
    cell_depth: int = 0
    quote: int = 0
    pre: int = 0

    def words(self, text: str) -> None:
        self.line.append(text if self.pre else _SPACES.sub(" ", text))

    def enter(self, node: Any) -> None:
        tag = node.tag
        if self.cell_depth:
            if tag in ("td", "th"):
                self.cell_depth += 1
            elif tag in _BLOCKS or tag == "br":
                self.line.append(" ")
            return
        if tag in _BLOCKS:
            self.flush()
        if tag == "ul":
            self.lists.append(-1)
        elif tag == "ol":
            start = node.attributes.get("start") or "1"
            self.lists.append(int(start) if start.isdecimal() and len(start) < 9 else 1)
        elif tag == "li":
            self._item()
        elif tag == "dd":
            self.marker = "    "
        elif tag == "blockquote":
            self.quote += 1
        elif tag == "pre":
            self.pre += 1
        elif tag == "tr":
            self.cells = []
        elif tag in ("td", "th"):
            self.cell_depth = 1
        elif tag == "br":
            self.line.append("\n")
        elif tag == "code" and not self.pre:
            self.line.append("`")

    def leave(self, node: Any) -> None:
        tag = node.tag
        if self.cell_depth:
            if tag in ("td", "th"):
                self.cell_depth -= 1
                if not self.cell_depth and self.cells is not None:
                    self.cells.append(_SPACES.sub(" ", "".join(self.line)).strip())
                    self.line = []
            return
        if len(tag) == 2 and tag[0] == "h" and tag[1] in "123456":
            self._heading(int(tag[1]))
        elif tag == "pre":
            self._code(node)
        elif tag == "tr":
            self._row()
        elif tag in _BLOCKS:
            self.flush()
        if tag in ("ul", "ol") and self.lists:
            self.lists.pop()
            self.tight = bool(self.lists)
        elif tag == "li":
            self.marker = ""
        elif tag == "blockquote":
            self.quote = max(0, self.quote - 1)
        elif tag == "table":
            self.tight = False
        elif tag == "code" and not self.pre:
            self._end_code()

    def flush(self) -> None:
        """End the current paragraph."""
        text = "".join(self.line)
        self.line = []
        lines = [_SPACES.sub(" ", part).strip() for part in text.split("\n")]
        text = "\n".join(part for part in lines if part)
        if text:
            self._block(text)

    def _block(self, text: str) -> None:
        indent = "  " * max(0, len(self.lists) - 1)
        rest = indent + ("  " if self.lists else self.marker if self.marker.isspace() else "")
        first = (indent + self.marker) if self.marker else rest
        quote = "> " * self.quote
        lines = text.split("\n")
        shown = [quote + (first if number == 0 else rest) + line for number, line in enumerate(lines)]
        joint = "\n" if self.tight and self.blocks else "\n\n"
        self.blocks.append((joint if self.blocks else "") + "\n".join(shown).rstrip())
        self.tight = bool(self.lists)
        self.marker = ""

    def _item(self) -> None:
        if not self.lists or self.lists[-1] < 0:
            self.marker = "- "
        else:
            self.marker = f"{self.lists[-1]}. "
            self.lists[-1] += 1
        self.tight = self.tight or (bool(self.lists) and len(self.lists) > 1)

    def _heading(self, level: int) -> None:
        text = _SPACES.sub(" ", "".join(self.line)).strip().rstrip("¶").strip()
        self.line = []
        if text:
            self.marker, self.tight = "", False
            self.blocks.append(("\n\n" if self.blocks else "") + "#" * level + " " + text)

    def _code(self, node: Any) -> None:
        self.pre = max(0, self.pre - 1)
        text = "".join(self.line).strip("\n").rstrip()
        self.line = []
        if text and not self.pre:
            self.marker, self.tight = "", False
            self.blocks.append(("\n\n" if self.blocks else "") + f"```\n{text}\n```")

    def _row(self) -> None:
        cells, self.cells = self.cells, None
        if cells and any(cells):
            self._block(" | ".join(cells))
            self.tight = True

    def _end_code(self) -> None:
        if self.line and self.line[-1] == "`":
            self.line.pop()  # nothing inside
        else:
            self.line.append("`")

    def finish(self) -> str:
        self.flush()
        text = "".join(self.blocks)
        return text + "\n" if text else ""
