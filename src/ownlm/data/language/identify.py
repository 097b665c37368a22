"""Which language a text is in, how sure that is, and which others are in it.

A text of up to 512 characters is looked at whole; of a longer one, windows of 512 characters spread evenly from the
first to the last, at most 5, so that the time per document is bounded. URLs, addresses, tags, fenced code and lines of
code are left out. Each window gives probabilities (the table's scores, tempered by 1 / sqrt(letters), the softmax of
them); the document's are their mean weighted by letters, so a document half German and half English has 0.5 each.

What is added to the table's scores: SMALL_WEIGHT per small word (`small_words`), CLOSE_WEIGHT per telling word where
the best language has near neighbours (`close`), and PRIOR.

A window whose letters and small words fit the winning language badly counts as "unknown" (`_fits`): most languages of
the world are not in the table, and their texts must not pass as a neighbour's. All constants were set on one half of
the lingua sentences and on UDHR texts of one half of the languages that are not in the table.
"""

from __future__ import annotations

import math
import re
import unicodedata
from dataclasses import dataclass
from functools import cache

import numpy as np

from ownlm.data.language import close, grams, table
from ownlm.data.language.codes import UNKNOWN
from ownlm.data.language.scripts import by_script
from ownlm.data.language.small_words import speakers, words_of

WINDOW = 512  # characters
MOST_WINDOWS = 5
FIT_OWN_SCRIPT = 0.4  # where a script has one language here, only gibberish in it must be told
OWN_SCRIPT = frozenset(("bn", "el", "gu", "he", "hy", "ja", "ka", "ko", "pa", "ta", "te", "th", "zh"))
SMALL_WEIGHT = 8.0  # in the unit of the table's scores
CLOSE_WEIGHT = 10.0
SERBIAN_BEHIND = 25.0  # Serbian in Latin letters needs telling words, in the same unit
# Added to the tempered score. Esperanto and Latin are hardly ever the language of a page and near to many that are.
# The Malay of web corpora is half Indonesian, the Bosnian has less text behind its counts than the Croatian.
PRIOR = {"eo": -4.0, "la": -4.0, "bs": 0.6, "id": 0.8, "nb": 0.4}
SMALLEST_SHARE = 0.05  # languages below are not listed
_NOISE = re.compile(
    r"```[^`]{0,512}(?:```|$)|`[^`\n]{1,80}`|(?:https?://|www\.)\S{1,512}|\S{1,64}@[\w.-]{1,64}|"
    r"</?\w[^<>]{0,200}>|&#?\w{1,8};"
)
_NOISE_HAS = ("`", "://", "www.", "@", "<", "&")  # one of them is in everything that _NOISE finds
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
    shares: dict[str, float] = {}
    letters = 0
    for window in windows(text):
        found, count = _window(prose(window))
        letters += count
        for language, probability in found.items():
            shares[language] = shares.get(language, 0.0) + probability * count
    if not letters:
        return Guess(UNKNOWN, 0.0, {}, 0)
    ranked = sorted(
        ((value / letters, name) for name, value in shares.items()), key=lambda one: (-one[0], one[1])
    )
    listed = {name: round(value, 4) for value, name in ranked if value >= SMALLEST_SHARE}
    return Guess(ranked[0][1], round(ranked[0][0], 4), listed, letters)


def windows(text: str) -> list[str]:
    """The text itself, or evenly spread pieces of it that do not overlap."""
    if len(text) <= WINDOW:
        return [text]
    count = min(MOST_WINDOWS, -(-len(text) // WINDOW))
    starts = np.linspace(0, max(len(text) - WINDOW, 0), count).astype(int).tolist()
    ends = [min(start + WINDOW, *starts[i + 1 : i + 2], len(text)) for i, start in enumerate(starts)]
    return [text[start:end] for start, end in zip(starts, ends, strict=True)]


def prose(window: str) -> str:
    """The window without URLs, addresses, tags, code in backquotes, and lines that are code."""
    if any(sign in window for sign in _NOISE_HAS):
        window = _NOISE.sub(" ", window)
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
    known = table.load()
    scores, letters = known.scores(text)
    if not letters:
        return {}, 0
    words = words_of(text)
    small = _small_words(words)
    heat = 1.0 / math.sqrt(letters)
    logits = (scores + SMALL_WEIGHT * small) * heat + _prior()
    best = int(logits.argmax())
    language = known.languages[best]
    fit = float(scores[best]) / (letters * float(known.expected[best]))
    if not _fits(language, fit, float(small[best]) / max(len(words), 1), letters):
        codes, letter = grams.codes_of(text)
        return {by_script(codes[grams.main_script(codes, letter)]) or UNKNOWN: 1.0}, letters
    _tell_close_ones_apart(words, logits, heat, best)
    shares = np.exp(logits - logits.max())
    shares /= shares.sum()
    return {known.languages[i]: float(shares[i]) for i in np.flatnonzero(shares > 1e-4).tolist()}, letters


def _fits(language: str, fit: float, share_of_small_words: float, letters: int) -> bool:
    """Whether a window can be in the language at all. `fit`: its score by that of the language's own text."""
    if language in OWN_SCRIPT:
        return fit >= FIT_OWN_SCRIPT
    return fit + min(share_of_small_words, 0.2) >= max(1.1 - 3.0 / math.sqrt(letters), 0.5)


@cache
def _prior() -> np.ndarray:
    return np.array([PRIOR.get(language, 0.0) for language in table.load().languages])


@cache
def _speakers() -> dict[str, tuple[int, ...]]:
    languages = table.load().languages
    return {word: tuple(map(languages.index, of)) for word, of in speakers().items()}


def _small_words(words: list[str]) -> np.ndarray:
    """How many of the words are small words of each language, int64 [L]."""
    of = _speakers()
    found: list[int] = []
    for word in words:
        if word in of:
            found.extend(of[word])
    return np.bincount(np.array(found, dtype=np.intp), minlength=len(_prior()))


def _tell_close_ones_apart(words: list[str], logits: np.ndarray, heat: float, best: int) -> None:
    """Add what the telling words say to the logits, in place."""
    languages = table.load().languages
    if (group := close.group_of(languages[best])) is None:
        return
    if languages[best] in ("hr", "bs"):  # the table knows Serbian in Cyrillic letters only
        serbian = languages.index("sr")
        logits[serbian] = max(logits[serbian], logits[best] - SERBIAN_BEHIND * heat)
    for language, count in close.evidence(words, group).items():
        logits[languages.index(language)] += CLOSE_WEIGHT * count * heat
