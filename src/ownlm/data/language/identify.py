"""Which language a text is in, how sure that is, and which others are in it.

A text of up to 512 characters is looked at whole; of a longer one, windows of 512 characters spread evenly from the
first to the last, at most 5, so that the time per document is bounded. URLs, addresses, tags, fenced code and lines of
code are left out. Each window gives probabilities (the table's scores, tempered by 1 / sqrt(letters), the softmax of
them); the document's are their mean weighted by letters, so a document half German and half English has 0.5 each.

A window whose letters fit the winning language badly (below MIN_FIT of what its own text scores, per letter) counts as
"unknown": most languages of the world are not in the table, and their texts must not pass as a neighbour's. The
temperature and MIN_FIT were set on one half of the lingua sentences and on UDHR texts of languages not in the table.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from ownlm.data.language import close, grams, table
from ownlm.data.language.codes import UNKNOWN
from ownlm.data.language.scripts import by_script

WINDOW = 512  # characters
MOST_WINDOWS = 5
MIN_FIT = 0.75
MIN_FIT_OWN_SCRIPT = 0.4  # where a script has one language here, only gibberish in it must be told
OWN_SCRIPT = frozenset(("bn", "el", "gu", "he", "hy", "ja", "ka", "ko", "pa", "ta", "te", "th", "zh"))
CLOSE_WEIGHT = 10.0  # what one telling word of `close` adds, in the unit of the table's scores
SERBIAN_BEHIND = 25.0  # Serbian in Latin letters needs telling words, in the same unit
RARE = ("eo", "la")  # hardly ever the language of a page, and near to many that are: a prior of exp(-4)
RARE_PENALTY = 4.0
SMALLEST_SHARE = 0.05  # languages below are not listed
_NOISE = re.compile(
    r"```[^`]{0,512}(?:```|$)|`[^`\n]{1,80}`|(?:https?://|www\.)\S{1,512}|\S{1,64}@[\w.-]{1,64}|"
    r"</?\w[^<>]{0,200}>|&#?\w{1,8};"
)
_CODE_SIGNS = re.compile(r"[{}\[\]();=<>_$\\|]")
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
    lines = _NOISE.sub(" ", window).split("\n")
    return "\n".join(line for line in lines if len(_CODE_SIGNS.findall(line)) <= _MOST_SIGNS * len(line))


def _window(text: str) -> tuple[dict[str, float], int]:
    """Probabilities of one window and its number of letters."""
    codes, letter = grams.codes_of(text)
    letter = _main_script(codes, letter)
    if alone := by_script(codes[letter]):
        return {alone: 1.0}, int(np.count_nonzero(letter))
    known = table.load()
    scores, letters = known.scores(codes, letter)
    if not letters:
        return {}, 0
    best = int(scores.argmax())
    fit = MIN_FIT_OWN_SCRIPT if known.languages[best] in OWN_SCRIPT else MIN_FIT
    if scores[best] < fit * letters * known.expected[best]:
        return {UNKNOWN: 1.0}, letters
    _tell_close_ones_apart(text, scores, known.languages, best)
    logits = scores / np.sqrt(letters)
    logits[[known.languages.index(language) for language in RARE]] -= RARE_PENALTY
    tempered = np.exp(logits - logits.max())
    tempered /= tempered.sum()
    return {known.languages[i]: float(tempered[i]) for i in np.flatnonzero(tempered > 1e-4)}, letters


def _main_script(codes: np.ndarray, letter: np.ndarray) -> np.ndarray:
    """Only the Latin letters, or only the others, whichever fill more bytes of UTF-8: English terms in a Chinese text
    are many letters and few words."""
    latin = letter & ((codes < 0x2B0) | ((codes >= 0x1E00) & (codes < 0x1F00)))
    other = letter & ~latin
    bytes_of_others = 2 * np.count_nonzero(other) + np.count_nonzero(other & (codes >= 0x800))
    return other if bytes_of_others > np.count_nonzero(latin) else latin


def _tell_close_ones_apart(text: str, scores: np.ndarray, languages: tuple[str, ...], best: int) -> None:
    """Add what the telling words say to the scores, in place."""
    if (group := close.group_of(languages[best])) is None:
        return
    if languages[best] in ("hr", "bs"):  # the table knows Serbian in Cyrillic letters only
        serbian = languages.index("sr")
        scores[serbian] = max(scores[serbian], scores[best] - SERBIAN_BEHIND)
    for language, count in close.evidence(text, group).items():
        scores[languages.index(language)] += CLOSE_WEIGHT * count
