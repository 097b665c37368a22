"""The languages that a window of text may be in, by the table, the small words and what is usual.

    logit(language) = (score + SMALL_WEIGHT * small words) / sqrt(letters) + PRIOR

The kernel LanguageTable computes it in one pass over the text; `plain_rank` is its reference and does the same.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from ownlm.data.language import grams, table
from ownlm.runtime.native import kernels

SMALL_WEIGHT = 8.0  # in the unit of the table's scores
# Esperanto and Latin are hardly ever the language of a page, and near to many that are. The Malay of web corpora is half
# Indonesian, so that the table leans to Malay; it leans to Croatian and Nynorsk as well (found on the tuning half).
PRIOR = {"eo": -4.0, "la": -4.0, "bs": 0.6, "id": 0.8, "nb": 0.4}
WITHIN = 12.0  # a language this far behind the best has less than 1e-5 of its probability, and is left out


class Ranked(NamedTuple):
    letters: int  # of the window's main script
    best: int  # index of the language with the largest logit, the first of equals
    score: float  # its score by letters alone
    small: int  # its small words
    near: list[tuple[int, float]]  # index and logit of every language within WITHIN of the best


def rank(text: str, small: list[int]) -> Ranked:
    """Of a lower-cased text and, per small word in it, the indexes of the languages that have that word."""
    if kernels() is None:
        return plain_rank(text, small)
    letters, best, sum_of_best, count, near = _compiled().rank(text.encode("utf-32-le", "replace"), small)
    return Ranked(letters, best, sum_of_best / table.STEPS, count, near)


def plain_rank(text: str, small: list[int]) -> Ranked:
    known = table.load()
    scores, letters = known.scores(text)
    words = np.bincount(np.array(small, dtype=np.intp), minlength=len(known.languages))
    logits = (scores + SMALL_WEIGHT * words) * (1.0 / math.sqrt(max(letters, 1))) + _prior()
    best = int(logits.argmax())
    near = np.flatnonzero(logits >= logits[best] - WITHIN).tolist()
    return Ranked(
        letters, best, float(scores[best]), int(words[best]), [(at, float(logits[at])) for at in near]
    )


@cache
def _prior() -> np.ndarray:
    return np.array([PRIOR.get(language, 0.0) for language in table.load().languages])


@cache
def _compiled() -> Any:
    module, known = kernels(), table.load()
    return module and module.LanguageTable(
        grams.is_letter().view(np.uint8),
        known.slots,
        known.keys,
        known.weights,
        _prior(),
        SMALL_WEIGHT * table.STEPS,
        table.STEPS,
        WITHIN,
    )
