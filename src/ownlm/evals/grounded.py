"""Grounded questions: does retrieval find the passage, does the answer name the right thing and cite it?

What counts, so that nobody has to guess:

gold passage      overlaps the question's answer span in the question's document by at least half of the shorter
                  of the two; or its text is the same (blanks aside) as that of such a passage: a duplicate
                  elsewhere holds the answer just as well.
hit@1, hit@3      a gold passage is the first / among the first three retrieved.
mrr               1 / rank of the first gold passage among the retrieved DEPTH, 0 when there is none.
names_subject     the question's subject stands in the answer as a whole word (case and blanks aside; marks removed).
citation_correct  at least one [n] in the answer is the number of a passage that was given and is gold.
right             both.
false_refusal     an answerable question was refused.
refusal_correct   an unanswerable question was answered with exactly the refusal.

A refused or failed answer counts as wrong in every answer metric. Nothing is left out of a mean.
"""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np

from ownlm.errors import RequestError
from ownlm.evals.intervals import Interval, bootstrap_mean, wilson
from ownlm.records import Generate, Message, Passage, Question, Request, Retrieve, Sampling, Score, complete

REFUSAL = "The documents do not contain an answer to this question."
DEPTH = 10  # retrieved passages that mrr looks at
_GOLD_DEPTH = 50  # how far down the gold passage is looked for, to know what its duplicates say

RETRIEVAL = ("hit@1", "hit@3", "mrr")
ANSWER = ("names_subject", "citation_correct", "right", "false_refusal")
HIGHER_IS_BETTER = {
    "hit@1": True, "hit@3": True, "mrr": True, "names_subject": True, "citation_correct": True, "right": True,
    "false_refusal": False, "refusal_correct": True, "error": False,
}  # fmt: skip

_MARK = re.compile(r"\[(\d+)\]")


def grade(
    questions: Iterable[Question],
    generator: Generate,
    retrieve: Retrieve,
    concurrency: int = 16,
    sampling: Sampling | None = None,
    refusal: str = REFUSAL,
) -> Iterator[Score]:
    """One Score per question, in the order of the questions; `concurrency` are asked at a time.

    Scores of unanswerable questions carry refusal_correct, the others the retrieval and answer metrics.
    A RequestError from the generator is a result (metric `error`); any other exception is raised.
    """
    sampling = sampling or Sampling()
    waiting: deque[Future[Score]] = deque()
    pool = ThreadPoolExecutor(concurrency, thread_name_prefix="grade")
    try:
        for question in questions:
            waiting.append(pool.submit(_ask, question, generator, retrieve, sampling, refusal))
            if len(waiting) >= 2 * concurrency:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _ask(
    question: Question, generator: Generate, retrieve: Retrieve, sampling: Sampling, refusal: str
) -> Score:
    retrieved = retrieve(question.text, _GOLD_DEPTH) if question.answerable else []
    request = Request((Message("user", question.text),), sampling=sampling, id=f"eval-{question.id}")
    started = time.perf_counter()
    try:
        answer = complete(generator, request)
        text, detail, failure = answer.text, answer.detail, answer.finish_reason == "error"
    except RequestError as error:
        text, detail, failure = "", {"error": str(error)}, True
    return grade_one(question, text, detail, retrieved, refusal, failure, time.perf_counter() - started)


def grade_one(
    question: Question,
    text: str,
    detail: Mapping[str, Any],
    retrieved: Sequence[Passage],
    refusal: str = REFUSAL,
    failed: bool = False,
    seconds: float = 0.0,
) -> Score:
    """Grade one answer. `detail["passages"]` are those that the answer's [n] point at (records.Chunk.detail)."""
    refused = not failed and text.strip() == refusal
    if question.answerable:
        texts = gold_texts(question, retrieved)
        metrics = _retrieval_metrics(question, retrieved, texts)
        metrics |= _answer_metrics(question, text, detail, texts, refused or failed)
        metrics["false_refusal"] = float(refused)
    else:
        metrics = {"refusal_correct": float(refused)}
    metrics["error"] = float(failed)
    facts = {
        "kind": question.kind, "question": question.text, "answer": text, "reference": question.answer,
        "subject": question.subject, "document_id": question.document_id, "seconds": round(seconds, 4),
        "cited": cited(text), "passages": [_brief(passage) for passage in detail.get("passages", ())],
    }  # fmt: skip
    if "error" in detail:
        facts["error_message"] = detail["error"]
    return Score("grounded" if question.answerable else "unanswerable", question.id, metrics, facts)


def _brief(passage: Mapping[str, Any]) -> dict[str, Any]:
    return {key: passage.get(key) for key in ("n", "id", "document_id", "start", "end", "score")}


def cited(text: str) -> list[int]:
    """The numbers of all [n] marks in an answer, in order of first appearance."""
    return list(dict.fromkeys(int(number) for number in _MARK.findall(text)))


def overlaps(question: Question, document_id: str, start: int, end: int) -> bool:
    """Whether characters start..end of a document hold the question's answer span (at least half of the shorter)."""
    if document_id != question.document_id:
        return False
    shared = min(end, question.end) - max(start, question.start)
    shorter = min(end - start, question.end - question.start)
    return shared > 0 and 2 * shared >= shorter


def gold_texts(question: Question, passages: Iterable[Passage]) -> set[str]:
    """What the gold passages say, blanks made equal: a passage elsewhere with the same text is as good."""
    return {
        _plain(p.text)
        for p in passages
        if overlaps(question, p.document_id, p.start, p.end) and p.text.strip()
    }


def names_subject(subject: str, text: str) -> bool:
    """Whether the subject stands in the text as a whole word: `os` is not named by `posix` or `os.path`... by
    `os` alone, but a full stop that ends the sentence may follow it."""
    needle = re.escape(_plain(subject).casefold())
    if not needle:
        return False
    haystack = _plain(_MARK.sub("", text)).casefold()
    return re.search(rf"(?<![\w.]){needle}(?!\w|\.\w)", haystack) is not None


def _plain(text: str) -> str:
    return " ".join(text.split())


def _retrieval_metrics(question: Question, retrieved: Sequence[Passage], texts: set[str]) -> dict[str, float]:
    ranks = [
        rank
        for rank, p in enumerate(retrieved[:DEPTH], 1)
        if overlaps(question, p.document_id, p.start, p.end) or _plain(p.text) in texts
    ]
    first = ranks[0] if ranks else 0
    return {"hit@1": float(first == 1), "hit@3": float(0 < first <= 3), "mrr": 1 / first if first else 0.0}


def _answer_metrics(
    question: Question, text: str, detail: Mapping[str, Any], texts: set[str], refused: bool
) -> dict[str, float]:
    named = not refused and names_subject(question.subject, text)
    given = {int(p["n"]): p for p in detail.get("passages", ())}
    correct = not refused and any(_is_gold(question, given[n], texts) for n in cited(text) if n in given)
    return {
        "names_subject": float(named),
        "citation_correct": float(correct),
        "right": float(named and correct),
    }


def _is_gold(question: Question, passage: Mapping[str, Any], texts: set[str]) -> bool:
    place = str(passage["document_id"]), int(passage["start"]), int(passage["end"])
    return overlaps(question, *place) or _plain(str(passage["text"])) in texts


def summary(scores: Iterable[Score]) -> dict[str, dict[str, Interval]]:
    """Means with 95 % intervals: {"all" or "kind": {metric: Interval}}.

    0/1 metrics get Wilson's interval, others (mrr) a bootstrap. `Interval.count` says over how many questions.
    """
    values: dict[str, dict[str, list[float]]] = {}
    for score in scores:
        for group in ("all", str(score.detail.get("kind", "unknown"))):
            for metric, value in score.metrics.items():
                values.setdefault(group, {}).setdefault(metric, []).append(value)
    return {
        group: {metric: interval(metric, np.array(numbers)) for metric, numbers in metrics.items()}
        for group, metrics in values.items()
    }


def interval(metric: str, values: np.ndarray) -> Interval:
    """95 % interval of a mean of float [n]: Wilson's for the 0/1 metrics."""
    return bootstrap_mean(values) if metric == "mrr" else wilson(float(values.sum()), len(values))
