"""Sentences of a text with exact offsets: what an answer may quote.

`text[start:end]` is a sentence for every (start, end) that comes out; it may run over a line break. Left out are
headings, tables, fenced and indented code, doctests: only what reads as a sentence (or, in source code, a signature)
comes out; `plain` shows one without its line breaks. Rules, no model: wrong now and then, never inexact.
"""

from __future__ import annotations

from collections.abc import Iterator

import regex

_FENCE = regex.compile(r"^\s*(```|~~~)")
_DOCTEST = regex.compile(r"^\s*(>>>|\.\.\.(\s|$)|\$ |In \[\d+\])")
_HEADING = regex.compile(r"^\s{0,3}#{1,6}(\s|$)")
_RULE = regex.compile(r"""^\s*([=\-~^"'`#*+_.:<>])\1{2,}\s*$""")
_TABLE = regex.compile(r"^\s*[|+][-|+=\s:].*[|+]\s*$|^\s*\|.*\|")
_MARKER = regex.compile(
    r"^\s*(?:[-*+•‣]|\(?\d{1,3}[.)]|\([a-z]\))\s+|^\s*(?:>\s?)+|^\s*(?:#+:?|//+[!/]?|/\*+!?|\*|;+|--)\s+"
)
_COMMENT = regex.compile(r"^\s*(#+:?|//+[!/]?|/\*+!?|\*|;+|--)\s")
_LINE_BREAK = regex.compile(r"[ \t]*\n[ \t]*(?:(?:#+:?|//+[!/]?|\*|;+|--|>)[ \t]+)?")
_SIGN = regex.compile(r"\s*(?:(?:#+:?|//+[!/]?|\*|;+|--|>)[ \t]+)*")
_FIELD = regex.compile(r"^\s*(?::\w[\w ]*:|@\w+\s)")
_DIRECTIVE = regex.compile(r"^\s*(?:\.\.\s|:::)")
_QUOTES = regex.compile(r'[rbuRBU]{0,2}("""|\'\'\')')
_SIGNATURE = regex.compile(
    r"^\s*(?:(?:async\s+)?def|class|fn|pub\s+(?:\w+\s+)*fn|func|function|export\s+(?:default\s+)?(?:async\s+)?function)\s+\w"
)
_SIGNATURE_END = regex.compile(r"[:{;]\s*(?:\.\.\.|#.*)?$|\.\.\.$")
_MOST_SIGNATURE_LINES = 8
_END = regex.compile(
    r"""[.!?…]+["'”’»)\]*_`]*(?=\s+["'“‘«(\[*_`<]*[\p{Lu}\p{Lo}\p{N}])"""
    r"""|[.!?]["'”’»)\]*_`]*(?=\s{2,}\S|\n)"""
    r"""|[.!?]`{0,2}(?=\s+[`*_:<]+\w)"""
    r"""|[。！？؟।]+["'”’»）」』]*"""
)
_ABBREVIATION = regex.compile(
    r"(?:\b(?:e\.g|i\.e|cf|vs|mr|mrs|ms|dr|st|prof|fig|no|vol|pp?|approx|resp|incl|al|sr|jr|gen|col|capt|lt|viz|esq"
    r"|hon|rev|messrs|mme|mlle|sec|ch|ed|eq|ref|rfc|z\.b|u\.s)|(?<![\p{L}'’])[A-Z]|\b(?:[a-zA-Z]\.)+[a-zA-Z])\.$",
    regex.I,
)
_WORD = regex.compile(r"\p{L}[\p{L}\p{M}'’-]*")
_WIDE = regex.compile(r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Hangul}\p{Thai}]")
_CODE = regex.compile(
    r"^\s*(?:return|if|elif|else|for|while|import|from|raise|with|assert|yield|try|except|def|class|lambda|del|print"
    r"|async|await|let|const|var|fn|pub|use|func|static|void|int|struct|enum|impl|switch|case|elseif|end)\b"
    r"(?=.*[=(){};:\[\]<>\"])(?!.*[.!?]$)"
    r"|[\w\])]\s*(?:=|==|\+=|:=|=>|!=|<=|>=)\s*[\w\"'(\[{]|\bself\.\w+[(=]|[{};]\s*$|^\s*[@<]\w|\)\s*:\s*$"
)


def sentences(text: str, start: int = 0, end: int | None = None, code: bool = False) -> list[tuple[int, int]]:
    """(start, end) of each sentence within text[start:end], in order. code: the text is source code, so that `#`
    begins a comment, not a heading, and signatures count as sentences."""
    end = len(text) if end is None else end
    found: list[tuple[int, int]] = []
    for first, last, is_signature in _blocks(text, start, end, code):
        if is_signature:
            found.append((first, last))
            continue
        for left, right in _split(text, first, last):
            if _is_prose(text[left:right]):
                found.append((left, right))
    return found


def plain(sentence: str) -> str:
    """A sentence on one line: each line break, with the indentation and comment sign after it, becomes a space."""
    return " ".join(_LINE_BREAK.sub(" ", sentence).split())


def _blocks(text: str, start: int, end: int, code: bool) -> Iterator[tuple[int, int, bool]]:
    """Stretches of consecutive lines that may hold sentences: (start, end, is a signature)."""
    lines = list(_lines(text, start, end))
    first = -1  # start of the open block
    fenced = doctest = False
    number = 0
    while number < len(lines):
        left, right = lines[number]
        line = text[left:right]
        number += 1
        if _FENCE.match(line):
            fenced = not fenced
        blank = not line.strip()
        doctest = not blank and (doctest or bool(_DOCTEST.match(line)))
        skipped = blank or fenced or doctest or _FENCE.match(line) or _TABLE.match(line) or _RULE.match(line)
        if not skipped and not code:
            underlined = number < len(lines) and _RULE.match(text[slice(*lines[number])]) and first < 0
            skipped = bool(_HEADING.match(line)) or bool(underlined)
        if skipped:
            if first >= 0:
                yield first, left, False
            first = -1
            continue
        if code and _SIGNATURE.match(line):
            if first >= 0:
                yield first, left, False
            first = -1
            number = _signature_end(text, lines, number)
            yield left + len(line) - len(line.lstrip()), lines[number - 1][1], True
            continue
        opened = 0 if code and first >= 0 and _goes_on(text, lines, number) else _opens(line, code)
        if first >= 0 and (opened or _is_code_line(line)):
            yield first, left, False
            first = left + opened
        elif first < 0:
            first = left + opened
        for quotes in _QUOTES.finditer(line) if code else ():
            if left + quotes.start() > first >= 0:
                yield first, left + quotes.start(), False
            first = left + quotes.end()
        if _is_code_line(line):
            first = right if first < 0 else first
            yield first, right, False
            first = -1
    if first >= 0:
        yield first, end, False


def _lines(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """(start, end without the line break) of each line."""
    while start < end:
        stop = text.find("\n", start, end)
        stop = end if stop < 0 else stop
        yield start, stop
        start = stop + 1


def _goes_on(text: str, lines: list[tuple[int, int]], number: int) -> bool:
    """Whether line `number - 1` is a comment below a comment."""
    if number < 2:
        return False
    above, here = (_COMMENT.match(text[slice(*lines[n])]) for n in (number - 2, number - 1))
    return bool(above and here)


def _opens(line: str, code: bool) -> int:
    """How many characters of a line are a list marker, a comment sign or a quote mark; 0: it goes on."""
    marker = _MARKER.match(line)
    if marker and (code or not line.lstrip().startswith(("//", "/*", ";", "--"))):
        return int(marker.end())
    directive = _DIRECTIVE.match(line)
    if directive:
        return int(directive.end())
    return len(line) - len(line.lstrip()) if _FIELD.match(line) else 0


def _is_code_line(line: str) -> bool:
    return bool(_CODE.search(line)) and len(_WORD.findall(line)) < 12


def _signature_end(text: str, lines: list[tuple[int, int]], number: int) -> int:
    """The index after the last line of a signature whose first line is lines[number - 1]."""
    for last in range(number - 1, min(number - 1 + _MOST_SIGNATURE_LINES, len(lines))):
        if _SIGNATURE_END.search(text[slice(*lines[last])]):
            return last + 1
    return number


def _split(text: str, first: int, last: int) -> Iterator[tuple[int, int]]:
    """Cut a block at the ends of its sentences; blanks around each are left out."""
    for match in _END.finditer(text, first, last):
        if match.group()[0] == "." and _ABBREVIATION.search(
            text, max(first, match.start() - 12), match.start() + 1
        ):
            continue
        yield from _trimmed(text, first, match.end())
        first = match.end()
    yield from _trimmed(text, first, last)


def _trimmed(text: str, left: int, right: int) -> Iterator[tuple[int, int]]:
    """Without blanks around it and the comment or quote sign before it."""
    sign = _SIGN.match(text, left, right)
    left = sign.end() if sign else left
    piece = text[left:right].rstrip()
    if piece:
        yield left, left + len(piece)


def _is_prose(sentence: str) -> bool:
    """Whether it reads as a sentence: enough words, mostly letters, not code."""
    if len(_WIDE.findall(sentence)) >= 5:
        return True
    words = _WORD.findall(sentence)
    if len(words) < 3 or len(sentence) < 12 or "\x00" in sentence:
        return False
    solid = len(sentence) - sum(map(str.isspace, sentence))
    return sum(map(len, words)) >= 0.6 * solid and not (len(words) < 12 and _CODE.search(sentence))
