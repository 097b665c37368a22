r"""Split patterns of foreign files: Oniguruma expressions (Ruby syntax), as Hugging Face `tokenizers` runs them, for `regex`.

What the two write alike but read differently is translated (^ and $ are those of lines; \w and \b count six
Latin-1 fractions and superscripts) or refused by name. Character classes are pinned to Unicode 16 on both sides.
"""

from __future__ import annotations

from functools import cache, lru_cache

import regex

from ownlm.tokenizer.fields import wrong
from ownlm.tokenizer.pretokenize import stand_ins

_LONGEST = 10_000  # characters of a pattern
_WORD = r"\w²³¹¼½¾"
_ESCAPES = {"w": f"[{_WORD}]", "W": f"[^{_WORD}]"}
_ESCAPES["b"] = rf"(?:(?<=[{_WORD}])(?![{_WORD}])|(?<![{_WORD}])(?=[{_WORD}]))"
_ESCAPES["B"] = rf"(?:(?<=[{_WORD}])(?=[{_WORD}])|(?<![{_WORD}])(?![{_WORD}]))"
_LINE_START = r"(?:\A|(?<=\n)(?!\Z))"  # Oniguruma begins no line at the end of a text
_REFUSED_ESCAPES = "hHGKZzRXyYOgkMCcNo"
_REFUSED = (
    (r"\(\?~", "the absent operator (?~"),
    (r"\(\?[a-z]*[mxyuaL]|\(\?[WDSP]", "the flags m, x, y, u, a, L, W, D, S, P"),
    (r"\(\?(?:R|&|\d|\()", "recursion or conditions"),
    (r"\(\*", "verbs or callouts"),
    (r"\{\d*,?\d*\}\+", "{n,m}+, which Oniguruma reads as a repetition"),
    (r"\\x\{", "\\x{"),
    (r"~~|--|\|\|", "the set operators of `regex`"),
)


@cache
def _stand_ins() -> tuple[frozenset[str], dict[int, str]]:
    different, table = stand_ins()
    return different, {code: "\u0378" if letter == "•" else letter for code, letter in table.items()}


def pinned(text: str) -> str:
    """The text with each character newer than Unicode 16 replaced by one of the class it had then; offsets stay."""
    if text.isascii():
        return text
    different, table = _stand_ins()
    return text if different.isdisjoint(text) else text.translate(table)


@lru_cache(maxsize=64)
def compiled_pattern(source: str, where: str) -> regex.Pattern[str]:
    """Raises ArtifactError for a pattern that does not parse or says what is not supported."""
    if len(source) > _LONGEST:
        raise wrong(where, "pattern", f"{len(source)} characters; {_LONGEST} are the limit")
    bare = regex.sub(r"\\\\|\\[()\[\]{}|*+~-]", "_", source)  # escapes of the signs looked for below
    for unreadable, name in _REFUSED:
        if regex.search(unreadable, bare):
            raise wrong(where, "pattern", f"{source[:80]!r} uses {name}, which is not supported")
    nested = regex.search(r"\[[^\]]*(?:\[|&&)", bare)  # [a[b]] and && need the newer set syntax
    try:
        translated = _translate(source, where)
        return regex.compile(translated, regex.MULTILINE | (regex.V1 if nested else regex.V0))
    except (regex.error, RecursionError, OverflowError, ValueError) as error:
        raise wrong(where, "pattern", f"{source[:80]!r}: {error}") from error


def _translate(source: str, where: str) -> str:
    out, at, depth = [], 0, 0  # depth: how many [ are open
    while at < len(source):
        letter = source[at]
        if letter == "\\" and at + 1 < len(source):
            escaped = source[at + 1]
            if escaped in _REFUSED_ESCAPES or (escaped.isdigit() and escaped != "0"):
                raise wrong(where, "pattern", f"{source[:80]!r} uses \\{escaped}, which is not supported")
            # in a set Oniguruma's \w lacks the six characters that it has alone
            out.append(source[at : at + 2] if depth else _ESCAPES.get(escaped, source[at : at + 2]))
            at += 2
            continue
        depth += (letter == "[") - (letter == "]" and depth > 0)
        out.append(_LINE_START if letter == "^" and not depth else letter)
        at += 1
    return "".join(out)
