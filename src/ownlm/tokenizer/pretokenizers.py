"""The pre-tokenizers of tokenizer.json: pieces of normalised text -> smaller pieces, which the model never joins.

Each type is read strictly (fields.py) and becomes a function on a list of pieces. Semantics are those of Hugging Face
`tokenizers`, held against it on random text. Split patterns are Oniguruma expressions there and are run by
`regex` here: what the two read differently is refused by name, and a pattern that backtracks without end is stopped.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import regex

from ownlm.errors import DataError
from ownlm.tokenizer.fields import Fields
from ownlm.tokenizer.patterns import compiled_pattern, pinned
from ownlm.tokenizer.pretokenize import family_of
from ownlm.tokenizer.pretokenize import split as split_family
from ownlm.tokenizer.scripts import script_starts
from ownlm.tokenizer.spelling import byte_letters
from ownlm.tokenizer.steps import read_step


class Piece(NamedTuple):
    text: str
    first: bool  # does it begin at the first character of the whole input? (Metaspace "first" asks)


Step = Callable[[list[Piece]], list[Piece]]
Match = tuple[int, int, bool]  # start, end, is it a match of the pattern; in order, without a hole

BEHAVIORS = ("Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous")
_WHITE = (
    r"\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"  # White_Space; str.isspace has 4 more
)
# Punctuation is that of Unicode 8 in `tokenizers`: these came later.
_LATER_PUNCTUATION = (
    r"\u061d\u09fd\u0a76\u0c77\u0c84\u1b4e-\u1b4f\u1b7d-\u1b7f\u2e43-\u2e4f\u2e52-\u2e5d\u2e60-\u2e63"
    r"\U00010d6e\U00010ead\U00010ed0\U00010f55-\U00010f59\U00010f86-\U00010f89\U000113d4-\U000113d5"
    r"\U000113d7-\U000113d8\U0001144b-\U0001144f\U0001145a-\U0001145b\U0001145d\U00011660-\U0001166c"
    r"\U000116b9\U0001183b\U00011944-\U00011946\U000119e2\U00011a3f-\U00011a46\U00011a9a-\U00011a9c"
    r"\U00011a9e-\U00011aa2\U00011b00-\U00011b09\U00011be1\U00011c41-\U00011c45\U00011c70-\U00011c71"
    r"\U00011ef7-\U00011ef8\U00011f43-\U00011f4f\U00011fff\U00012ff1-\U00012ff2\U00016d6d-\U00016d6f"
    r"\U00016e97-\U00016e9a\U00016fe2\U0001e5ff\U0001e95e-\U0001e95f"
)
_MARKS = r"\p{P}$+<=>^`|~\u166d\U000111c9"
_PUNCTUATION = rf"(?![{_LATER_PUNCTUATION}])[{_MARKS}]"
_WORD = r"[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\u200c\u200d]"


def pre_tokenizer(raw: Any, where: str) -> Step:
    """The function for one pre_tokenizer object; None passes everything. Raises ArtifactError naming the field."""
    return (lambda pieces: pieces) if raw is None else read_step(raw, where, _KINDS, "pretokenizers")


def _cut(piece: Piece, spans: Iterable[tuple[int, int]]) -> list[Piece]:
    text, first = piece
    return [Piece(text[a:b], first and a == 0) for a, b in spans if b > a]


def behaved(matches: Sequence[Match], behavior: str) -> list[tuple[int, int]]:
    """The spans that a behaviour makes of matches and the stretches between them."""
    if behavior == "Isolated":
        return [(a, b) for a, b, _ in matches]
    if behavior == "Removed":
        return [(a, b) for a, b, is_match in matches if not is_match]
    spans: list[tuple[int, int]] = []
    if behavior == "Contiguous":
        before: bool | None = None
        for a, b, is_match in matches:
            if is_match == before:
                spans[-1] = (spans[-1][0], b)
            else:
                spans.append((a, b))
            before = is_match
        return spans
    backwards = behavior == "MergedWithNext"
    previous = False
    for a, b, is_match in reversed(matches) if backwards else matches:
        if is_match and not previous and spans:
            spans[-1] = (a, spans[-1][1]) if backwards else (spans[-1][0], b)
        else:
            spans.append((a, b))
        previous = is_match
    return spans[::-1] if backwards else spans


def split_step(
    pattern: regex.Pattern[str], behavior: str, invert: bool = False, where: str = "", pin: bool = True
) -> Step:
    """Split every piece at the matches of a compiled pattern. Raises DataError when matching takes too long.

    pin: character classes are those of Unicode 16, not those of the installed `regex`.
    """

    def run(pieces: list[Piece]) -> list[Piece]:
        done: list[Piece] = []
        known: dict[str, list[tuple[int, int]]] = {}  # an earlier split leaves the same few words many times
        for piece in pieces:
            spans = known.get(piece.text)
            if spans is None:
                spans = behaved(find_matches(pattern, piece.text, where, invert, pin), behavior)
                known[piece.text] = spans
            if len(spans) == 1 and spans[0] == (0, len(piece.text)):
                done.append(piece)
            else:
                done += _cut(piece, spans)
        return done

    return run


def find_matches(
    pattern: regex.Pattern[str], text: str, where: str = "", invert: bool = False, pin: bool = True
) -> list[Match]:
    """Matches and the stretches between them, in order; `invert` calls the stretches matches."""
    matches: list[Match] = []
    at = 0
    try:
        for found in pattern.finditer(pinned(text) if pin else text, timeout=_patience(text)):
            start, end = found.span()
            if start == end == at and matches:
                continue  # nothing, right behind a match: Oniguruma's search does not report it
            if at < start:
                matches.append((at, start, invert))
            matches.append((start, end, not invert))
            at = end
    except TimeoutError:
        raise DataError(
            "The split pattern of this tokenizer takes too long on this text.",
            f"{where}: {len(text)} characters, more than {_patience(text):.1f} s",
            "the pattern backtracks; use a tokenizer with a simpler one, or shorter texts",
        ) from None
    if at < len(text):
        matches.append((at, len(text), invert))
    return matches


def _patience(text: str) -> float:
    return 1.0 + len(text) * 5e-6  # seconds; about twenty times what a linear pattern needs


# --- one function per type ---


def _byte_level(fields: Fields) -> Step:
    prefix = fields.flag("add_prefix_space", True)
    fields.flag("trim_offsets", True)  # changes offsets, never ids
    use_regex = fields.flag("use_regex", True)
    letters = byte_letters()

    def spelled(text: str) -> str:
        return "".join([letters[byte] for byte in text.encode("utf-8")])

    def run(pieces: list[Piece]) -> list[Piece]:
        done: list[Piece] = []
        for text, first in pieces:
            if prefix and not text.startswith(" "):
                text = " " + text
            for n, word in enumerate(split_family(text, "gpt2") if use_regex else (text,)):
                done.append(Piece(spelled(word), first and n == 0))
        return done

    return run


def _bert(fields: Fields) -> Step:
    """Cut at white space, which goes, and around each punctuation mark: one search finds all that stays."""
    marks = f"[[{_MARKS}]--[{_LATER_PUNCTUATION}]]"
    word = regex.compile(f"{marks}|[[^{_WHITE}]--{marks}]+", regex.V1)

    def run(pieces: list[Piece]) -> list[Piece]:
        done: list[Piece] = []
        for text, first in pieces:
            seen = pinned(text)
            words = word.findall(seen)
            if seen != text:
                words = [text[slice(*found.span())] for found in word.finditer(seen)]
            begins = first and bool(words) and text.startswith(words[0])
            done += map(
                Piece._make, zip(words, [begins, *itertools.repeat(False, len(words) - 1)], strict=False)
            )
        return done

    return run


def _whitespace(fields: Fields) -> Step:
    return split_step(
        regex.compile(rf"{_WORD}+|(?:(?!{_WORD})[^{_WHITE}])+"), "Removed", invert=True, where=fields.where
    )


def _whitespace_split(fields: Fields) -> Step:
    return split_step(regex.compile(f"[{_WHITE}]+"), "Removed")


def _metaspace(fields: Fields) -> Step:
    mark = fields.letter("replacement")
    scheme = fields.any("prepend_scheme")
    old = fields.any("add_prefix_space")  # files written before prepend_scheme existed
    if old not in (None, True, False) or (old is False and scheme not in (None, "never")):
        raise fields.wrong("add_prefix_space", f"{old!r} does not go with prepend_scheme = {scheme!r}")
    if scheme is None:
        scheme = "never" if old is False else "always"
    if scheme not in ("first", "always", "never"):
        raise fields.wrong("prepend_scheme", f"{str(scheme)[:60]!r} is not one of first, always, never")
    spelled = fields.any("str_rep")
    if spelled not in (None, mark):
        raise fields.wrong("str_rep", f"{str(spelled)[:60]!r} differs from replacement = {mark!r}")
    split = fields.flag("split", True)
    cut = split_step(regex.compile(regex.escape(mark, special_only=True)), "MergedWithNext")

    def run(pieces: list[Piece]) -> list[Piece]:
        done = []
        for text, first in pieces:
            text = text.replace(" ", mark)
            if not text.startswith(mark) and (scheme == "always" or (scheme == "first" and first)):
                text = mark + text
            done.append(Piece(text, first))
        return cut(done) if split else done

    return run


def _digits(fields: Fields) -> Step:
    single = fields.flag("individual_digits", False)
    number = regex.compile(
        r"(?![\U0001246f\U00012475-\U0001247f\U00012550-\U00012686])\p{N}"
    )  # newer than Unicode 17
    return split_step(number, "Isolated" if single else "Contiguous", pin=False)


def _punctuation(fields: Fields) -> Step:
    behavior = fields.choice("behavior", BEHAVIORS, "Isolated")
    return split_step(regex.compile(_PUNCTUATION), behavior)


def _split(fields: Fields) -> Step:
    pattern = Fields(fields.any("pattern"), f"{fields.where}.pattern")
    behavior = fields.choice("behavior", BEHAVIORS)
    invert = fields.flag("invert", False)
    if "Regex" in pattern.raw and "String" in pattern.raw:
        raise pattern.wrong("Regex", "a pattern is either Regex or String")
    source = pattern.text("Regex") if "Regex" in pattern.raw else pattern.text("String")
    pattern.done()
    if "Regex" in pattern.raw and behavior == "Isolated" and not invert and family_of(source):
        return _family_step(str(family_of(source)))
    if "String" in pattern.raw:
        if not source:
            raise pattern.wrong("String", "empty")
        compiled = regex.compile(regex.escape(source, special_only=True))
    else:
        compiled = compiled_pattern(source, pattern.where + ".Regex")
    return split_step(compiled, behavior, invert, pattern.where)


def _family_step(family: str) -> Step:
    """A known pattern, with character classes pinned to Unicode 16 as in the native encoder."""

    def run(pieces: list[Piece]) -> list[Piece]:
        return [
            Piece(word, first and n == 0)
            for text, first in pieces
            for n, word in enumerate(split_family(text, family))
        ]

    return run


def _delimiter(fields: Fields) -> Step:
    return split_step(regex.compile(regex.escape(fields.letter("delimiter"), special_only=True)), "Removed")


def _scripts(fields: Fields) -> Step:
    def run(pieces: list[Piece]) -> list[Piece]:
        done: list[Piece] = []
        for piece in pieces:
            starts = script_starts(piece.text)
            done += _cut(piece, itertools.pairwise([*starts, len(piece.text)]))
        return done

    return run


def _fixed_length(fields: Fields) -> Step:
    length = fields.integer("length", 1, 1 << 30, 5)

    def run(pieces: list[Piece]) -> list[Piece]:
        return [
            Piece(text[at : at + length], first and at == 0)
            for text, first in pieces
            for at in range(0, len(text), length)
        ]

    return run


_KINDS: dict[str, Callable[[Fields], Step]] = {
    "ByteLevel": _byte_level,
    "BertPreTokenizer": _bert,
    "Whitespace": _whitespace,
    "WhitespaceSplit": _whitespace_split,
    "Metaspace": _metaspace,
    "Digits": _digits,
    "Punctuation": _punctuation,
    "Split": _split,
    "CharDelimiterSplit": _delimiter,
    "UnicodeScripts": _scripts,
    "FixedLength": _fixed_length,
}
