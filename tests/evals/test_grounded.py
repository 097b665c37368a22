"""Grading on hand-made answers: each rule of the module's docstring, once right and once wrong."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from ownlm.errors import RequestError
from ownlm.evals.grounded import REFUSAL, cited, grade, grade_one, names_subject, overlaps, summary
from ownlm.records import Chunk, Passage, Question, Request, Usage

QUESTION = Question("q1", "what_is", "What is os.getcwd?", "os.getcwd: Return the current directory.",
                    "os.getcwd", "os", 100, 200)  # fmt: skip
UNANSWERABLE = Question("u1", "unanswerable", "What is os.teleport?", REFUSAL, "", "", answerable=False)


def passage(number: int, document: str, start: int, end: int, text: str = "") -> Passage:
    return Passage(number, document, "title", text or f"text {number}", "source", "MIT", start, end, 1.0)


GOLD = passage(1, "os", 90, 210, "Return the\n current directory.")
NEAR = passage(2, "os", 195, 400)
OTHER = passage(3, "sys", 90, 210)
COPY = passage(4, "posix", 5, 60, "Return the current directory.")


def detail(*passages: Passage) -> dict[str, Any]:
    names = ("id", "document_id", "title", "source", "licence", "text", "start", "end", "score")
    return {"passages": [{"n": n, **{k: getattr(p, k) for k in names}} for n, p in enumerate(passages, 1)]}


def answer_metrics(text: str, *passages: Passage, retrieved: Sequence[Passage] = (GOLD,)) -> dict[str, float]:
    score = grade_one(QUESTION, text, detail(*passages), retrieved)
    return {
        k: v
        for k, v in score.metrics.items()
        if k in ("names_subject", "citation_correct", "right", "false_refusal")
    }


def expect(named: int, citation: int, right: int, refused: int = 0) -> dict[str, float]:
    return {"names_subject": named, "citation_correct": citation, "right": right, "false_refusal": refused}


def test_right() -> None:
    assert answer_metrics("os.getcwd: Return the current directory. [1]", GOLD, OTHER) == expect(1, 1, 1)


def test_one_right_citation_among_several_is_enough() -> None:
    assert answer_metrics("os.getcwd: x. [2] os.getcwd: y. [1]", GOLD, OTHER) == expect(1, 1, 1)


def test_wrong_citation() -> None:
    assert answer_metrics("os.getcwd: Return the current directory. [2]", GOLD, OTHER) == expect(1, 0, 0)


def test_citation_of_the_neighbouring_passage_is_wrong() -> None:
    assert answer_metrics("os.getcwd: x. [1]", NEAR, GOLD) == expect(1, 0, 0)


def test_number_that_was_not_given() -> None:
    assert answer_metrics("os.getcwd: x. [7]", GOLD) == expect(1, 0, 0)


def test_no_citation() -> None:
    assert answer_metrics("os.getcwd: Return the current directory.", GOLD) == expect(1, 0, 0)


def test_wrong_object() -> None:
    assert answer_metrics("os.getcwdb: Return the current directory. [1]", GOLD) == expect(0, 1, 0)


def test_a_duplicate_elsewhere_is_as_good() -> None:
    assert answer_metrics("os.getcwd: x. [1]", COPY) == expect(1, 1, 1)
    assert answer_metrics("os.getcwd: x. [1]", COPY, retrieved=()) == expect(1, 0, 0), (
        "only when the gold text is known"
    )


def test_refusal_of_an_answerable_question() -> None:
    assert answer_metrics(REFUSAL, GOLD) == expect(0, 0, 0, 1)


def test_refusal_that_names_the_subject_is_no_answer() -> None:
    assert answer_metrics("os.getcwd: " + REFUSAL, GOLD)["false_refusal"] == 0


@pytest.mark.parametrize(("text", "correct"), [(REFUSAL, 1), (f" {REFUSAL}\n", 1), ("os: Miscellaneous. [1]", 0),
                                               ("", 0), (REFUSAL + " os: x. [1]", 0)])  # fmt: skip
def test_unanswerable(text: str, correct: int) -> None:
    score = grade_one(UNANSWERABLE, text, {"refused": True}, [])
    assert score.metrics == {"refusal_correct": correct, "error": 0}
    assert score.task == "unanswerable"


@pytest.mark.parametrize(
    ("retrieved", "expected"),
    [
        ([GOLD, OTHER], (1, 1, 1)),
        ([OTHER, NEAR, GOLD], (0, 1, 1 / 3)),
        ([OTHER, COPY, NEAR, GOLD], (0, 1, 1 / 2)),  # the copy counts, because the gold passage says the same
        ([OTHER, NEAR, OTHER, GOLD], (0, 0, 1 / 4)),
        ([OTHER] * 10 + [GOLD], (0, 0, 0)),
        ([OTHER, NEAR], (0, 0, 0)),
        ([], (0, 0, 0)),
    ],
)
def test_retrieval(retrieved: list[Passage], expected: tuple[float, float, float]) -> None:
    metrics = grade_one(QUESTION, "", {}, retrieved).metrics
    assert (metrics["hit@1"], metrics["hit@3"], metrics["mrr"]) == expected


@pytest.mark.parametrize(
    ("document", "start", "end", "expected"),
    [
        ("os", 100, 200, True), ("os", 0, 1000, True), ("os", 120, 130, True), ("os", 150, 300, True),
        ("os", 151, 300, False), ("os", 200, 300, False), ("os", 0, 100, False), ("sys", 100, 200, False),
    ],
)  # fmt: skip
def test_overlap(document: str, start: int, end: int, expected: bool) -> None:
    assert overlaps(QUESTION, document, start, end) is expected


@pytest.mark.parametrize(
    ("subject", "text", "expected"),
    [
        ("os", "os is a module. [1]", True), ("os", "It is os.", True), ("OS", "the os module", True),
        ("os", "posix", False), ("os", "os.path", False), ("path", "os.path", False), ("os", "os2", False),
        ("a b", "a\n  b", True), ("f(x)", "see f(x) here", True), ("1", "x [1]", False), ("", "anything", False),
    ],
)  # fmt: skip
def test_names_subject(subject: str, text: str, expected: bool) -> None:
    assert names_subject(subject, text) is expected


def test_cited() -> None:
    assert cited("a [2] b [1] c [2] d [x] e []") == [2, 1]


class Answers:
    """Answers by rule; remembers how many were at work at the same time."""

    name = "answers"

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.now = self.most = 0

    def generate(self, request: Request) -> Iterator[Chunk]:
        with self.lock:
            self.now += 1
            self.most = max(self.most, self.now)
        time.sleep(0.02)
        with self.lock:
            self.now -= 1
        text = request.messages[0].content
        if "long" in text:
            raise RequestError("The prompt is too long.", "9 tokens, 8 fit", "ask less")
        if "broken" in text:
            raise RuntimeError("a bug")
        answer = REFUSAL if "teleport" in text else "os.getcwd: x. [1]"
        yield Chunk(answer)
        yield Chunk("", (), "stop", Usage(1, 1), detail(GOLD))


def retrieve(question: str, k: int) -> list[Passage]:
    return [GOLD, OTHER][:k]


def ask(text: str, number: int) -> Question:
    return Question(f"q{number}", "what_is", text, "", "os.getcwd", "os", 100, 200)


def test_grade_runs_in_parallel_and_keeps_the_order() -> None:
    answers = Answers()
    questions = [ask("What is it?", n) for n in range(20)] + [UNANSWERABLE]
    scores = list(grade(questions, answers, retrieve, concurrency=4))
    assert [s.sample_id for s in scores] == [q.id for q in questions]
    assert 2 <= answers.most <= 4
    assert all(s.metrics["right"] == 1 for s in scores[:-1]) and scores[-1].metrics["refusal_correct"] == 1


def test_a_refused_request_is_a_result_and_a_bug_is_raised() -> None:
    score = next(grade([ask("too long", 1)], Answers(), retrieve))
    assert (
        score.metrics["error"] == 1
        and score.metrics["right"] == 0
        and "9 tokens" in score.detail["error_message"]
    )
    with pytest.raises(RuntimeError, match="a bug"):
        list(grade([ask("broken", 1)], Answers(), retrieve))


def test_summary_counts_everything_once() -> None:
    texts = ["os.getcwd: x. [1]", "os.getcwd: x. [2]", REFUSAL, "no idea"]
    scores = [grade_one(QUESTION, text, detail(GOLD, OTHER), [OTHER, GOLD]) for text in texts]
    groups = summary(scores)
    assert set(groups) == {"all", "what_is"}
    found = groups["all"]
    assert found["right"].value == 0.25 and found["right"].count == 4 and found["right"].method == "wilson"
    assert found["names_subject"].value == 0.5 and found["false_refusal"].value == 0.25
    assert found["mrr"].value == 0.5 and found["mrr"].method == "bootstrap"
