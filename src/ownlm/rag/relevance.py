"""Do these passages speak of what is asked? A share of the question's information, and where to draw the line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ownlm.data.synth import questions as synth
from ownlm.rag.lexical import LexicalIndex
from ownlm.rag.ranking import Weighed, covered
from ownlm.rag.terms import terms
from ownlm.records import Document, Passage, Question

PASSAGES = 3  # that a question is judged by
QUESTIONS = 300  # of each kind (answerable, not) that the threshold is chosen on
SLACK = 0.015  # of balanced accuracy
LOWEST = 0.35  # no threshold is below: less than this of a question is not what it is about
FALLBACK = 0.5  # threshold when no question could be written


def relevance(weighed: Sequence[Weighed], passages: Sequence[Passage]) -> float:
    """The best passage's share of the question's content words, each weighed by its inverse document frequency.

    A word that no passage of the collection has weighs most and counts as missing.
    """
    return max((covered(weighed, set(terms(f"{p.title} {p.text}"))) for p in passages), default=0.0)


def calibrate(index: LexicalIndex, documents: Sequence[Document], seed: int) -> tuple[float, dict[str, Any]]:
    """The threshold with the best balanced accuracy on questions from these documents, and how good it is there."""
    most = max(6, -(-2 * QUESTIONS // max(1, len(documents))))
    answerable = [
        question
        for document in documents
        for question in synth.from_document(
            document, seed=seed, most=most, count_of=index.sections_named, mentions_of=index.mentions
        )
    ]
    unanswerable = synth.unanswerable(documents, QUESTIONS, seed=seed, together=index.together)
    order = np.random.default_rng(seed).permutation(len(answerable))[:QUESTIONS]
    right = [score(index, answerable[i]) for i in sorted(order)]
    wrong = [score(index, question) for question in unanswerable]
    threshold, accuracy = best_threshold(right, wrong)
    return threshold, {
        "num_answerable": len(right), "num_unanswerable": len(wrong), "balanced_accuracy": accuracy,
    }  # fmt: skip


def score(index: LexicalIndex, question: Question) -> float:
    return index.relevance(question.text, index.search(question.text, PASSAGES))


def best_threshold(right: Sequence[float], wrong: Sequence[float]) -> tuple[float, float]:
    """(threshold, balanced accuracy): answered when relevance >= threshold.

    The lowest cut that is within SLACK of the best: people word their questions more freely than rules do, so that
    of two equally good thresholds the lower one is nearer to the truth.
    """
    if not right or not wrong:
        return FALLBACK, 0.0
    values = np.unique([0.0, *right, *wrong, 1.0])
    cuts = np.maximum((values[:-1] + values[1:]) / 2, LOWEST)
    kept = (np.array(right)[:, None] >= cuts).mean(0)
    refused = (np.array(wrong)[:, None] < cuts).mean(0)
    accuracy = (kept + refused) / 2
    best = int(np.flatnonzero(accuracy >= accuracy.max() - SLACK)[0])
    return round(float(cuts[best]), 4), round(float(accuracy[best]), 4)
