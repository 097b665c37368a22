"""Questions that the documents do not answer: invented names, the wide world, and near misses.

near miss      a real name with a part it does not have: textwrap.shorten_async, "the Zavrin of Installing"
invented       pronounceable names that the collection does not contain
general        general_questions.py, those whose words never stand together in the collection
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import regex

from ownlm.data.synth import phrasing
from ownlm.data.synth.general_questions import GENERAL
from ownlm.data.synth.outline import language_of, sections
from ownlm.records import Document, Question
from ownlm.runtime.seed import generator

REFUSAL = "The documents do not contain an answer to this question."
_ONSETS = "b br c ch cl d dr f fl g gl gr h j k kr l m n p pl pr qu r s sk sl sn sp st t tr v w y z".split()  # noqa: SIM905
_VOWELS = "a e i o u ai ea oo ou".split()  # noqa: SIM905
_CODAS = "b ck d g l m n nd nt p r rd rk rn s sk st t x z".split()  # noqa: SIM905
_SUFFIXES = (
    "async",
    "bulk",
    "lazy",
    "inplace",
    "batch",
    "remote",
    "threadsafe",
    "cached",
    "deferred",
    "quantum",
    "v3",
)
_ROLES = (
    "{}",
    "the {} class",
    "the {} function",
    "the {} module",
    "{}",
    "the {} method",
    "{} theorem",
    "{} protocol",
)
_ROUNDS = 40  # attempts per question wanted before a source of questions is given up
_WORD = regex.compile(r"\w+")


def unanswerable(
    documents: Sequence[Document],
    count: int,
    *,
    seed: int = 0,
    together: Callable[[Sequence[str]], bool] | None = None,
) -> list[Question]:
    """`count` questions, a third of each sort; fewer near misses and general ones where the text offers too few, then
    more invented ones.

    together: whether all these words stand in one passage of the collection (LexicalIndex.together); default:
    whether they stand in one of `documents`.
    """
    draw = generator(seed, "unanswerable")
    holds = together or _in_documents(documents)
    sources = [_near_misses(documents, holds, draw), _general(holds, draw), _invented(holds, draw)]
    found: dict[str, Question] = {}
    while len(found) < count and sources:
        for source in list(sources):
            text = next(source, None)
            if text is None:
                sources.remove(source)
            elif len(found) < count:
                key = hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=6).hexdigest()
                found.setdefault(text.lower(), Question(f"unanswerable-{key}", "unanswerable", text, REFUSAL, "", "", answerable=False))  # fmt: skip
    return list(found.values())


def _in_documents(documents: Sequence[Document]) -> Callable[[Sequence[str]], bool]:
    vocabularies = [frozenset(_WORD.findall(document.text.lower())) for document in documents]
    return lambda words: any(all(word in vocabulary for word in words) for vocabulary in vocabularies)


def _general(holds: Callable[[Sequence[str]], bool], draw: np.random.Generator) -> Iterator[str]:
    for number in draw.permutation(len(GENERAL)).tolist():
        question, words = GENERAL[number]
        if not holds(words.split()):
            yield phrasing.ask((question,), "", draw)


def _invented(holds: Callable[[Sequence[str]], bool], draw: np.random.Generator) -> Iterator[str]:
    templates = phrasing.WHAT_IS + phrasing.WHAT_DOES + phrasing.WHERE + phrasing.RETURNS + phrasing.WHO_IS + phrasing.WHERE_ABOUT  # fmt: skip
    while True:
        name = _name(draw)
        if not holds([name.lower()]):
            role = _ROLES[int(draw.integers(len(_ROLES)))]
            yield phrasing.ask(templates, role.format(name), draw)


def _name(draw: np.random.Generator) -> str:
    """Pronounceable: two or three syllables, now and then in two parts as identifiers are."""

    def pick(parts: Sequence[str]) -> str:
        return parts[int(draw.integers(len(parts)))]

    def word(syllables: int) -> str:
        return "".join(pick(_ONSETS) + pick(_VOWELS) for _ in range(syllables)) + pick(_CODAS)

    name = word(int(draw.integers(1, 3)) + 1)
    style = draw.random()
    if style < 0.35:
        return name.capitalize()
    if style < 0.5:
        return f"{word(1)}_{name}"
    return name.capitalize() + word(1).capitalize() if style < 0.6 else name


def _near_misses(
    documents: Sequence[Document], holds: Callable[[Sequence[str]], bool], draw: np.random.Generator
) -> Iterator[str]:
    """Real names with a part that they do not have."""
    for number in draw.permutation(len(documents)).tolist():
        document = documents[number]
        named = [section for section in sections(document) if section.opens and 3 <= len(section.name) <= 40]
        for chosen in draw.permutation(len(named)).tolist()[:2]:
            section = named[chosen]
            if language_of(document):
                if section.name.startswith("_"):
                    continue
                suffix = _SUFFIXES[int(draw.integers(len(_SUFFIXES)))]
                name = f"{section.name}_{suffix}"
                if not holds([name.lower()]):
                    full = f"{section.parent}.{name}" if section.parent and draw.random() < 0.7 else name
                    yield phrasing.ask(phrasing.WHAT_DOES + phrasing.RETURNS + phrasing.WHERE + phrasing.ARGUMENTS, full, draw)  # fmt: skip
            else:
                name = _name(draw)
                if not holds([name.lower()]):
                    yield phrasing.ask(
                        phrasing.WHAT_IS + phrasing.WHERE_ABOUT, f"the {name} of {section.name}", draw
                    )
