"""HTML source -> tokens, in one pass and linear time whatever the input.

A tolerant reader of the token level of HTML5 (WHATWG HTML, 13.2.5): quoted attributes may hold `>`, script and its
like end at their own end tag, an unclosed comment, quote or tag reaches to the end of the file. Every alternative
consumes what it has looked at (possessive repeats, end of file as a closing), so nothing is scanned twice.
Deviations: entities are decoded once per block by the reader of the tokens, script has no escaped states, and
content that can hold no text of the page (svg, math, noscript) is skipped here as if it were script. Letters and
white space of markup are those of ASCII, as in HTML5.
"""

from __future__ import annotations

import re
from functools import cache
from html import unescape

import regex

_ATTRIBUTES = r"""(?:[^>=]++|=\s*+(?:"[^"]*+(?:"|\Z)|'[^']*+(?:'|\Z)|[^\s>]*+))*+"""


def _raw(name: str, attributes: str, content: str) -> str:
    """An element whose content is no markup: up to its end tag, or to the end of the file."""
    return rf"{name}(?=[\s/>]){attributes}(?:>|\Z){content}"


def _until(name: str) -> str:
    return rf"[^<]*+(?:<(?!/{name}[\s/>])[^<]*+)*+"


_SKIPPED = ("style", "textarea", "iframe", "noframes", "noembed", "xmp", "svg", "math", "noscript")

# Groups: 1, 2 attributes and content of a script; 3 the title; 4, 5, 6 slash, name, attributes of any other tag.
TOKEN = regex.compile(  # not re: its possessive repeats within groups are wrong before Python 3.11.4
    r"<(?:(?=[sStTiInNxXmM])(?i:"
    + _raw("script", f"({_ATTRIBUTES})", f"({_until('script')})")
    + "|"
    + _raw("title", _ATTRIBUTES, f"({_until('title')})")
    + "|"
    + "|".join(_raw(name, _ATTRIBUTES, _until(name)) for name in _SKIPPED)
    + rf")|(/?+)([a-zA-Z][^\s/>]*+)({_ATTRIBUTES})(?:>|\Z)"
    + r"|!--(?:-?>|[^-]*+(?:-(?!-!?>)[^-]*+)*+(?:--!?>|\Z))"
    + r"|[!?/][^>]*+(?:>|\Z))",
    regex.A,
)

_VALUE = r"""\s*=\s*+(?:"([^"]*)"|'([^']*)'|([^\s>"']+))"""
_HINTS = re.compile(rf"(?<![\w-])(?:class|id|role|itemprop){_VALUE}", re.I | re.A)
_HIDDEN = re.compile(
    r"""display\s?:\s?none|visibility\s?:\s?hidden|(?<![\w-])hidden(?![\w-])|aria-hidden\s?=\s?["']?true""",
    re.I | re.A,
)


@cache
def _pattern(name: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![\w-]){name}{_VALUE}", re.I | re.A)


def attribute(attributes: str, name: str) -> str:
    """The value of one attribute, or ""; entities stay as they are."""
    found = _pattern(name).search(attributes)
    return (found[1] or found[2] or found[3] or "") if found else ""


def hints(attributes: str) -> str:
    """Class, id, role and itemprop in lower case, one string; "" where there is none."""
    return " ".join([a or b or c for a, b, c in _HINTS.findall(attributes)]).lower()


def is_hidden(attributes: str) -> bool:
    """Whether the element says itself that it is not shown."""
    if "idden" not in attributes and "none" not in attributes:
        return False
    return _HIDDEN.search(attributes) is not None


_LONG_NUMBER = re.compile(r"&#([0-9]{20,})")


def decoded(text: str) -> str:
    """`text` with its character references decoded; html.unescape alone fails at numbers of thousands of digits."""
    return unescape(_LONG_NUMBER.sub(_shortened, text) if "&#" in text else text)


def _shortened(match: re.Match[str]) -> str:
    return "&#" + (match[1].lstrip("0")[:8] or "0")  # eight digits are beyond Unicode as all more are
