"""Classical text preprocessing: normalise, clean, split into words, drop stop words, stem or lemmatise.

    text -> NFKC -> lower case -> cleaning patterns -> words -> stop words out -> lemmas -> stems -> words

Every step is a switch of `Preprocessing`; what a step removes is counted in `Words.removed`, never lost in silence.
Language models want none of this: it belongs to bags of words (vector_space.py) and to cleaning for search.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import regex  # type: ignore[import-untyped, unused-ignore]

from ownlm.errors import UsageError

FORMS = ("NFC", "NFD", "NFKC", "NFKD")

PATTERNS = {
    "tags": r"<[^<>]{1,500}>",
    "urls": r"\b(?:https?://|www\.)\S+",
    "emails": r"\b[\w.+-]+@[\w-]+(?:\.[\w-]+)+\b",
    "numbers": r"\b\d+(?:[.,]\d+)*\b",
}
"""Name -> what is cut out, in this order."""

STOP_WORDS = frozenset(
    """a about above after again against all am an and any are as at be because been before being below between both
    but by can could did do does doing down during each few for from further had has have having he her here hers
    herself him himself his how i if in into is it its itself just me more most my myself no nor not now of off on
    once only or other our ours ourselves out over own same she should so some such than that the their theirs
    them themselves then there these they this those through to too under until up very was we were what when
    where which while who whom why will with would you your yours yourself yourselves""".split()  # noqa: SIM905
)
"""English function words."""

IRREGULAR = {
    "am": "be", "are": "be", "is": "be", "was": "be", "were": "be", "been": "be", "being": "be",
    "has": "have", "had": "have", "having": "have", "does": "do", "did": "do", "done": "do", "doing": "do",
    "went": "go", "gone": "go", "goes": "go", "said": "say", "made": "make", "took": "take", "taken": "take",
    "came": "come", "saw": "see", "seen": "see", "knew": "know", "known": "know", "got": "get", "gotten": "get",
    "gave": "give", "given": "give", "found": "find", "thought": "think", "told": "tell", "became": "become",
    "left": "leave", "felt": "feel", "brought": "bring", "began": "begin", "begun": "begin", "kept": "keep",
    "held": "hold", "wrote": "write", "written": "write", "stood": "stand", "ran": "run", "running": "run",
    "bought": "buy", "spoke": "speak", "spoken": "speak", "read": "read", "built": "build", "sent": "send",
    "men": "man", "women": "woman", "children": "child", "feet": "foot", "teeth": "tooth", "mice": "mouse",
    "geese": "goose", "people": "person", "lives": "life", "wives": "wife", "knives": "knife", "leaves": "leaf",
    "wolves": "wolf", "indices": "index", "matrices": "matrix", "vertices": "vertex", "analyses": "analysis",
    "data": "datum", "criteria": "criterion", "better": "good", "best": "good", "worse": "bad", "worst": "bad",
}  # fmt: skip
"""English forms that no rule gives."""

_UNCHANGED = frozenset(
    """this thus his its yes us bus gas news series species always perhaps was has is as does""".split()  # noqa: SIM905
)
_WORD = regex.compile(r"[\p{L}\p{M}\p{N}]+(?:['’][\p{L}\p{M}]+)*")


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """Which steps are on."""

    normalization: str | None = "NFKC"
    """One of FORMS; None leaves the text as it is."""
    lower: bool = True
    strip_accents: bool = False
    remove: tuple[str, ...] = ("tags", "urls", "emails")
    """Names of PATTERNS."""
    stop_words: frozenset[str] = STOP_WORDS
    """Dropped, compared in lower case; an empty set keeps all."""
    lemmatize: bool = False
    """English, by rules and IRREGULAR."""
    stem: str | None = None
    """A Snowball language such as "english" or "german"; None: off."""

    def __post_init__(self) -> None:
        problems = []
        if self.normalization not in (None, *FORMS):
            problems.append(f"normalization = {self.normalization!r} is none of {', '.join(FORMS)}")
        problems += [
            f"remove: {name!r} is none of {', '.join(PATTERNS)}"
            for name in self.remove
            if name not in PATTERNS
        ]
        if self.stem is not None and self.stem not in _languages():
            problems.append(f"stem = {self.stem!r} is none of {', '.join(_languages())}")
        if problems:
            raise UsageError("These preprocessing steps do not exist.", "\n".join(problems), "correct them")


@dataclass(frozen=True, slots=True)
class Words:
    """words: what is left, in order; removed: step -> number of stretches or words that it took out."""

    words: tuple[str, ...]
    removed: dict[str, int] = field(default_factory=dict)


def preprocess(text: str, steps: Preprocessing = Preprocessing()) -> Words:
    """Run the steps that are on, in the order of the module's first line."""
    removed: Counter[str] = Counter()
    if steps.normalization is not None:
        text = unicodedata.normalize(steps.normalization, text)  # type: ignore[arg-type]
    if steps.lower:
        text = text.lower()
    if steps.strip_accents:
        bare = "".join(c for c in unicodedata.normalize("NFD", text) if unicodedata.category(c) != "Mn")
        text = unicodedata.normalize("NFC", bare)
    for name in steps.remove:
        text, number = regex.subn(PATTERNS[name], " ", text)
        removed[name] += number
    words = _WORD.findall(text)
    kept = [word for word in words if word.lower() not in steps.stop_words]
    removed["stop words"] += len(words) - len(kept)
    if steps.lemmatize:
        kept = [lemma(word) for word in kept]
    if steps.stem is not None:
        kept = list(_stemmer(steps.stem).stemWords(kept))
    return Words(tuple(kept), {name: number for name, number in removed.items() if number})


def lemma(word: str) -> str:
    """The dictionary form of an English word, as far as spelling tells: IRREGULAR, then 's, -s, -ed, -ing."""
    if word.endswith(("'s", "’s", "s'", "s’")):
        word = word[:-2] + ("s" if word[-1] != "s" else "")
    if word in IRREGULAR:
        return IRREGULAR[word]
    if word in _UNCHANGED or len(word) < 4:
        return word
    for ending, instead in (
        ("ies", "y"),
        ("sses", "ss"),
        ("shes", "sh"),
        ("ches", "ch"),
        ("xes", "x"),
        ("zes", "ze"),
    ):
        if word.endswith(ending) and len(word) > len(ending) + 1:
            return word[: -len(ending)] + instead
    if word.endswith("s") and not word.endswith(("ss", "us", "is")):
        return word[:-1]
    if word.endswith("ied"):
        return word[:-3] + "y"
    for ending in ("ing", "ed"):
        stem = word[: -len(ending)]
        if word.endswith(ending) and len(stem) > 1 and regex.search(r"[aeiouy]", stem) and stem[-1] != "e":
            return _without_ending(stem)
    return word


def _without_ending(stem: str) -> str:
    """hopp -> hop, mak -> make, walk -> walk."""
    if stem[-1] == stem[-2] and stem[-1] not in "lsz":
        return stem[:-1]
    # One vowel between single consonants at the end of a short stem had an e: mak-ing, hop-ed; also -at, -iz, -v, -c.
    if stem.endswith(("at", "iz", "bl", "v", "c", "g", "u")) or regex.fullmatch(
        r"[^aeiou]*[aeiou][^aeiouwxy]", stem
    ):
        return stem + "e"
    return stem


@lru_cache(maxsize=1)
def _languages() -> tuple[str, ...]:
    import Stemmer  # type: ignore[import-not-found, unused-ignore]

    return tuple(Stemmer.algorithms())


@lru_cache(maxsize=8)
def _stemmer(language: str) -> Any:
    import Stemmer  # type: ignore[import-not-found, unused-ignore]

    return Stemmer.Stemmer(language)
