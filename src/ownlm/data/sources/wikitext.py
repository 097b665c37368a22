"""MediaWiki markup to plain text with Markdown headings and lists, in one pass and linear time.

Left out: templates, tables, references, comments, files and categories, markup tags, magic words. Kept: the words of
links, headings, list items, text inside formatting. Templates are not run, so what only a template says (an infobox,
a converted unit) is lost; that is what "plain text" of a dump means for every such converter.
"""

from __future__ import annotations

import html
import re

_TOKEN = re.compile(
    r"\{{2,}|\}{2,}|\{\||\|\}(?!\})|\[\[|\]\]|\[(?=(?:https?:|ftp:|//|mailto:))|\]"
    r"|<(/?)(ref|nowiki|math|chem|gallery|timeline|source|syntaxhighlight|score|imagemap|templatestyles|hiero|graph"
    r"|mapframe|maplink|indicator|noinclude|includeonly|onlyinclude)\b([^<>]{0,1000})>",
    re.IGNORECASE,
)
_OPAQUE = frozenset({  # elements whose content is no prose
    "ref", "math", "chem", "gallery", "timeline", "score", "imagemap", "templatestyles", "hiero", "graph",
    "mapframe", "maplink", "indicator", "includeonly",
})  # fmt: skip
_TAG = re.compile(r"</?[a-zA-Z][a-zA-Z0-9]{0,15}(?:\s[^<>]{0,1000})?/?>")
_QUOTES = re.compile(r"'{2,5}")
_MAGIC = re.compile(r"__[A-Z]{3,25}__")
_HEADING = re.compile(r"^(={1,6})[ \t]*([^\n=](?:[^\n]{0,500}?[^\n=])?)[ \t]*\1[ \t]*$", re.MULTILINE)
_LIST = re.compile(r"^[*#:;]{1,20}[ \t]*", re.MULTILINE)
_BLANK = re.compile(r"(?<=\S)[ \t]{2,}")
_LINES = re.compile(r"\n[ \t]*(?:\n[ \t]*)+")
_EMPTY_BRACKETS = re.compile(r"\((?:[ ,;:]|&nbsp;){0,20}\)")
_HIDDEN_LINK = re.compile(r"^:?[^\[\]|:]{1,40}:(?=\S)")
_LANGUAGE = re.compile(r"^[a-z]{2,3}(?:-[a-z-]{2,12})?:")
_MOST_LINK_DEPTH = 20
_LINE_RULE = re.compile(r"^-{4,}", re.MULTILINE)


def plain(text: str) -> str:
    """The text of a page. A link that is never closed is text; a table or template that is not hides the rest."""
    text = _unnested(_unpaired(text))
    text = _TAG.sub("", text)
    text = html.unescape(text)
    text = _QUOTES.sub("", _MAGIC.sub("", text))
    text = _LINE_RULE.sub("", text)
    text = _LIST.sub(_bullet, text)
    text = _HEADING.sub(
        lambda found: f"\n{'#' * max(2, len(found.group(1)))} {found.group(2).strip()}\n", text
    )
    text = _EMPTY_BRACKETS.sub("", text)
    text = _LINES.sub("\n\n", _BLANK.sub(" ", text.replace("\u00a0", " ")))
    return _without_empty_sections(text).strip() + "\n" if text.strip() else ""


def _bullet(found: re.Match[str]) -> str:
    marks = found.group().strip()
    if marks[-1] == ":" or marks[-1] == ";":
        return ""
    return "  " * (len(marks) - 1) + "- "


def _unpaired(text: str) -> str:
    """Without comments, so that no pair of brackets is opened inside one."""
    pieces: list[str] = []
    at = 0
    while True:
        begin = text.find("<!--", at)
        if begin < 0:
            return "".join([*pieces, text[at:]])
        pieces.append(text[at:begin])
        end = text.find("-->", begin + 4)
        if end < 0:
            return "".join(pieces)  # as MediaWiki does: an open comment hides the rest
        at = end + 3


class _Frame:
    """An open pair: what it began with and the text collected inside."""

    __slots__ = ("name", "pieces")

    def __init__(self, name: str) -> None:
        self.name = name
        self.pieces: list[str] = []


class _Pairs:
    """Nested pairs resolved with a stack. Links are bounded in depth, since each level joins the text inside it."""

    def __init__(self) -> None:
        self.stack = [_Frame("")]
        self.open = {"{{": 0, "{|": 0, "[[": 0, "[": 0}

    def text(self, piece: str) -> None:
        self.stack[-1].pieces.append(piece)

    def begin(self, token: str) -> None:
        if token[0] == "[" and self.open[token] >= _MOST_LINK_DEPTH:
            self.text(token)
            return
        self.open[token] += 1
        self.stack.append(_Frame(token))

    def end(self, token: str) -> None:
        """A closing token ends the nearest pair of its kind; links that it leaves open are text of it."""
        opening = _OPENING[token]
        if not self.open[opening]:
            self.text("" if opening[0] == "{" else token)
            return
        if opening[0] == "{":
            while self._pop().name != opening:
                pass
            return
        while self.stack[-1].name == "[" and opening == "[[":
            self._flush()
        if self.stack[-1].name != opening:  # inside a template or table, of which nothing is kept
            return
        inside = "".join(self._pop().pieces)
        self.text(_link(inside) if opening == "[[" else inside.partition(" ")[2])

    def result(self) -> str:
        while len(self.stack) > 1:
            if self.stack[-1].name[0] == "[":
                self._flush()
            else:
                self._pop()
        return "".join(self.stack[0].pieces)

    def _pop(self) -> _Frame:
        frame = self.stack.pop()
        self.open[frame.name] -= 1
        return frame

    def _flush(self) -> None:
        pieces = self._pop().pieces
        self.stack[-1].pieces.extend(pieces)


_OPENING = {"}}": "{{", "|}": "{|", "]]": "[[", "]": "["}


def _unnested(text: str) -> str:
    pairs = _Pairs()
    at = 0
    opaque = ""  # the element whose end alone is looked for
    for token in _TOKEN.finditer(text):
        name = (token.group(2) or "").lower()
        if opaque:
            if name == opaque and token.group(1):
                opaque, at = "", token.end()
            continue
        pairs.text(text[at : token.start()])
        at = token.end()
        if name:
            closed = token.group(1) or token.group(3).rstrip().endswith("/")
            opaque = name if name in _OPAQUE and not closed else ""
        elif token.group()[:2] in ("{{", "}}"):  # a run: `{{{a}}}` is a parameter, `{{{{a}}}}` two templates
            for _ in range(len(token.group()) // 2):
                (pairs.begin if token.group()[0] == "{" else pairs.end)(token.group()[:2])
        elif token.group() in pairs.open:
            pairs.begin(token.group())
        else:
            pairs.end(token.group())
    if not opaque:
        pairs.text(text[at:])
    return pairs.result()


def _link(inside: str) -> str:
    """The words that a link shows; nothing for files, categories and links to other languages."""
    target, bar, _ = inside.partition("|")
    target = target.strip()
    if _HIDDEN_LINK.match(target) and not target.startswith(":") and not _shown(target):
        return ""
    shown = inside.rpartition("|")[2] if bar else target.lstrip(":")
    return shown or target.partition("(")[0].strip()


def _shown(target: str) -> bool:
    """Whether a target with a colon is an article such as `Star Wars: A New Hope`, not a file or category."""
    space = target.partition(":")[0]
    return not _LANGUAGE.match(target) and (" " in space or target.partition(":")[2][:1] == " ")


def _without_empty_sections(text: str) -> str:
    """Headings that nothing follows until the next one of the same or a higher level are taken out."""
    kept: list[str] = []
    next_level = 1  # of the line that follows: 0 for text, 1 for the end, else of the heading
    for line in reversed(text.split("\n")):
        level = _level(line)
        if level and next_level and next_level <= level:
            continue
        if line.strip():
            next_level = level
        kept.append(line)
    return "\n".join(reversed(kept))


def _level(line: str) -> int:
    level = len(line) - len(line.lstrip("#"))
    return level if line[level : level + 1] == " " else 0
