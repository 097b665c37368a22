"""Which language a text is in, how sure that is, and which others are in it.

A text of up to 512 characters is looked at whole; of a longer one, windows of 512 characters spread evenly from the
first to the last, at most 5, so that the time per document is bounded. URLs, addresses, tags, fenced code and lines of
code are left out. Each window gives probabilities (the table's scores, tempered by 1 / sqrt(letters), the softmax of
them); the document's are their mean weighted by letters, so a document half German and half English has 0.5 each.

`rank` adds small words and what is usual to the table's scores; `close` adds telling words where the best language has
near neighbours.

A window whose letters and small words fit the winning language badly counts as "unknown" (`_fits`): most languages of
the world are not in the table, and their texts must not pass as a neighbour's. A window that fits only just, or not at
all, or holds much of a second script, is judged in pieces of about 128 characters: a page in two languages has the
shares of both. All constants were set on one half of the lingua sentences and on UDHR texts of one half of the
languages that are not in the table.
"""

from __future__ import annotations

import math
import re
import unicodedata
from dataclasses import dataclass
from functools import cache

from ownlm.data.language import close, grams, table
from ownlm.data.language.codes import UNKNOWN
from ownlm.data.language.rank import rank
from ownlm.data.language.scripts import by_script
from ownlm.data.language.small_words import speakers, words_of

WINDOW = 512  # characters
MOST_WINDOWS = 5
PIECE = 128  # characters of a piece of a window that may be in several languages
WHOLE_FIT = 0.9  # a window below is tried as a mixture; of windows in one language about 5 in 100 are
WHOLE_LETTERS = 0.6  # letters of its main script among its characters; a window with fewer is tried as well
MOST_UNKNOWN = 0.15  # share of the letters of such a window in pieces of no known language
MOST_OF_ONE = 0.85  # and of its main language
FIT_OWN_SCRIPT = 0.4  # where a script has one language here, only gibberish in it must be told
OWN_SCRIPT = frozenset(("bn", "el", "gu", "he", "hy", "ja", "ka", "ko", "pa", "ta", "te", "th", "zh"))
CLOSE_WEIGHT = 10.0  # what a telling word adds, in the unit of the table's scores
SERBIAN_BEHIND = 25.0  # Serbian in Latin letters needs telling words, in the same unit
SMALLEST_SHARE = 0.05  # languages below are not listed
_NOISE = re.compile(
    r"```[^`]{0,512}(?:```|$)|`[^`\n]{1,80}`|(?:https?://|www\.)\S{1,512}|\S{1,64}@[\w.-]{1,64}|"
    r"</?\w[^<>]{0,200}>|&#?\w{1,8};"
)
_CODE_SIGNS = "{}[]();=<>_$\\|"
_MOST_SIGNS = 0.1  # share of such signs among the characters of a line of prose; above, the line is code


@dataclass(frozen=True, slots=True)
class Guess:
    language: str  # ISO 639-1, or "unknown"
    probability: float  # 0.0 to 1.0: the language's share of the text as far as it was looked at
    shares: dict[str, float]  # every language with a share of 0.05 or more, largest first
    letters: int  # that were looked at


def identify(text: str) -> Guess:
    """Deterministic; time bounded by 5 windows for any text. No letters: "unknown" with probability 0.0."""
    judged = [_window(prose(window)) for window in windows(text)]
    letters = sum(count for _, count in judged)
    if not letters:
        return Guess(UNKNOWN, 0.0, {}, 0)
    shares: dict[str, float] = {}
    for found, count in judged:
        weight = count / letters
        for language, probability in found.items():
            shares[language] = shares.get(language, 0.0) + probability * weight
    ranked = sorted(shares.items(), key=lambda one: (-one[1], one[0]))
    listed = {language: round(share, 4) for language, share in ranked if share >= SMALLEST_SHARE}
    return Guess(ranked[0][0], round(ranked[0][1], 4), listed, letters)


def windows(text: str) -> list[str]:
    """The text itself, or evenly spread pieces of it that do not overlap."""
    if len(text) <= WINDOW:
        return [text]
    count = min(MOST_WINDOWS, -(-len(text) // WINDOW))
    starts = [(len(text) - WINDOW) * at // (count - 1) for at in range(count)]
    ends = [min(start + WINDOW, *starts[i + 1 : i + 2], len(text)) for i, start in enumerate(starts)]
    return [text[start:end] for start, end in zip(starts, ends, strict=True)]


def prose(window: str) -> str:
    """The window without URLs, addresses, tags, code in backquotes, and lines that are code."""
    if (
        "@" in window
        or "<" in window
        or "&" in window
        or "`" in window
        or "://" in window
        or "www." in window
    ):
        window = _NOISE.sub(" ", window)  # which is slow, and finds nothing in a window without these
    if _num_signs(window) == 0:
        return window
    return "\n".join(line for line in window.split("\n") if _num_signs(line) <= _MOST_SIGNS * len(line))


def _num_signs(line: str) -> int:
    return sum(map(line.count, _CODE_SIGNS))


def plain(text: str) -> str:
    """Lower case, in compatibility forms (Arabic presentation forms, full width), without soft hyphens."""
    if text.isascii():
        return text.lower()
    return unicodedata.normalize("NFKC", text.replace("\xad", "")).lower()


def _window(text: str) -> tuple[dict[str, float], int]:
    """Probabilities of one window and its number of letters."""
    text = plain(text)
    shares, letters, fit = _judged(text)
    doubtful = fit < WHOLE_FIT or letters < WHOLE_LETTERS * len(text)
    if doubtful and len(text) > 2 * PIECE and (mixed := _mixture(text)):
        return mixed, letters
    return shares, letters


def _mixture(text: str) -> dict[str, float]:
    """Shares of a window whose pieces are each in some language, though as a whole it fits none. Empty when they all
    are in one language or too many in none: then the misfit of the whole says more."""
    shares: dict[str, float] = {}
    counted = 0
    for piece in _pieces(text):
        found, letters, _ = _judged(piece)
        counted += letters
        for language, share in found.items():
            shares[language] = shares.get(language, 0.0) + share * letters
    most = max((share for language, share in shares.items() if language != UNKNOWN), default=0.0)
    if shares.get(UNKNOWN, 0.0) > MOST_UNKNOWN * counted or most > MOST_OF_ONE * counted:
        return {}
    return {language: share / counted for language, share in shares.items()}


def _pieces(text: str) -> list[str]:
    """Lines, since a page changes its language between lines; short ones joined with the next, long ones cut."""
    found, line = [], ""
    for part in text.split("\n"):
        line += part + "\n"
        if len(line) >= PIECE // 2:
            found += [line[at : at + PIECE] for at in range(0, max(len(line) - PIECE // 2, 1), PIECE)]
            line = ""
    return [*found, line]


def _judged(text: str) -> tuple[dict[str, float], int, float]:
    """Probabilities of a lower-cased text in one language, or "unknown"; its number of letters; and the fit of the
    likeliest language: its score by that of its own text, about 1.0 where it is that language."""
    words = words_of(text)
    known, of = table.load(), _speakers()
    ranked = rank(text, [at for word in words if word in of for at in of[word]])
    if not ranked.letters:
        return {}, 0, 0.0
    language = known.languages[ranked.best]
    fit = ranked.score / (ranked.letters * known.expected[language])
    if not _fits(language, fit, ranked.small / max(len(words), 1), ranked.letters):
        codes, letter = grams.codes_of(text)
        return {by_script(codes[grams.main_script(codes, letter)]) or UNKNOWN: 1.0}, ranked.letters, fit
    logits = {known.languages[at]: logit for at, logit in ranked.near}
    _tell_close_ones_apart(words, logits, language, 1.0 / math.sqrt(ranked.letters))
    top = max(logits.values())
    shares = {name: math.exp(logit - top) for name, logit in logits.items()}
    total = sum(shares.values())
    return {name: share / total for name, share in shares.items()}, ranked.letters, fit


def _fits(language: str, fit: float, share_of_small_words: float, letters: int) -> bool:
    """Whether a window can be in the language at all. `fit`: its score by that of the language's own text."""
    if language in OWN_SCRIPT:
        return fit >= FIT_OWN_SCRIPT
    return fit + min(share_of_small_words, 0.2) >= max(1.1 - 3.0 / math.sqrt(letters), 0.5)


@cache
def _speakers() -> dict[str, tuple[int, ...]]:
    languages = table.load().languages
    return {word: tuple(map(languages.index, of)) for word, of in speakers().items()}


def _tell_close_ones_apart(words: list[str], logits: dict[str, float], best: str, heat: float) -> None:
    """Add what the telling words say to the logits, in place."""
    if (group := close.group_of(best)) is None:
        return
    if best in ("hr", "bs"):  # the table knows Serbian in Cyrillic letters only
        logits["sr"] = max(logits.get("sr", -math.inf), logits[best] - SERBIAN_BEHIND * heat)
    for language, count in close.evidence(words, group).items():
        if language in logits:
            logits[language] += CLOSE_WEIGHT * count * heat
