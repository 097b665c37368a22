"""What can be said under the constraint: walks of all kinds, held against the passages."""

import random
import sys

import pytest

sys.path.insert(0, __file__.rpartition("/")[0])
from texts import document, library, small

from ownlm.data.synth import questions as synth
from ownlm.data.synth.sentences import plain
from ownlm.rag.chunk import passages
from ownlm.rag.grounding import (
    LONGEST,
    REFUSAL,
    GroundedConstraint,
    asks_for_place,
    citations,
    claims,
    joined_exactly,
)
from ownlm.records import Passage
from ownlm.tokenizer import bpe


@pytest.fixture(scope="module", params=["llama3", "gpt2"])
def tokenizer(request):
    return bpe.train(
        [d.text for d in [*small(), *library(("textwrap.py", "csv.py"))]], 1024, family=request.param
    )


def triples():
    """Groups of three passages that were cut from real and made-up text."""
    found = [p for d in [*small(), *library(("textwrap.py", "csv.py", "heapq.py"))] for p in passages(d)]
    draw = random.Random(0)
    return [draw.sample(found, 3) for _ in range(40)]


def walk(constraint, draw):
    said = []
    while True:
        allowed = constraint.allowed(said)
        assert allowed and len(set(allowed)) == len(allowed)
        token = draw.choice(allowed)
        if token == constraint.end:
            return said
        said.append(token)


def parse(text, given):
    """The claims of an answer, read without the code under test: list of (title, sentence or source, n)."""
    found, at = [], 0
    while at < len(text):
        for n, passage in enumerate(given, 1):
            title, mark = plain(passage.title), f" [{n}]"
            rest = text[at:]
            if rest.startswith(f"{title} is in {plain(passage.source)}.{mark}"):
                found.append((title, passage.source, n))
                at += len(f"{title} is in {plain(passage.source)}.{mark}") + 1
                break
            ends = [i for i in range(len(rest)) if rest.startswith(mark, i)]
            body = next((rest[len(title) + 2 : i] for i in ends if rest.startswith(f"{title}: ")), None)
            if body is not None and body and flat(body) in flat(plain(passage.text)):
                found.append((title, body, n))
                at += len(f"{title}: {body}{mark}") + 1
                break
        else:
            raise AssertionError(f"not grounded: {text[at:]!r}")
    return found


def flat(text):
    return " ".join(text.split())


def test_random_walks_are_grounded_answers(tokenizer):
    draw = random.Random(1)
    lengths = set()
    for given in triples():
        constraint = GroundedConstraint(tokenizer, given)
        for _ in range(10):
            ids = walk(constraint, draw)
            text = tokenizer.decode(ids)
            assert tokenizer.encode(text) == ids  # what is allowed is what would be trained on
            if text == REFUSAL:
                lengths.add(0)
                continue
            found = parse(text, given)
            lengths.add(len(found))
            assert 1 <= len(found) <= 3 and len(set(found)) == len(found)
            marks = citations(text, constraint.claims)
            assert [m["n"] for m in marks] == [n for _, _, n in found]
            assert all(text[m["end"] :].startswith(f" [{m['n']}]") for m in marks)
    assert lengths == {0, 1, 2, 3}


def test_every_claim_and_the_refusal_can_be_said(tokenizer):
    given = triples()[0]
    constraint = GroundedConstraint(tokenizer, given)
    texts = [claim.text for claim in constraint.claims]
    for text in [*texts, REFUSAL, f"{texts[0]} {texts[1]}", f"{texts[1]} {texts[0]} {texts[2]}"]:
        ids = [*tokenizer.encode(text), constraint.end]
        assert all(ids[at] in constraint.allowed(ids[:at]) for at in range(len(ids)))
        assert constraint.allowed(ids) == [constraint.end]
        assert joined_exactly(tokenizer, [text, texts[0]])


def test_what_cannot_be_said(tokenizer):
    constraint = GroundedConstraint(tokenizer, triples()[0])
    once = tokenizer.encode(constraint.claims[0].text)
    again = tokenizer.encode(" " + constraint.claims[0].text)
    with pytest.raises(ValueError, match="not allowed"):
        constraint.allowed([*once, *again])
    with pytest.raises(ValueError, match="not allowed"):
        constraint.allowed(tokenizer.encode("something that nobody wrote"))
    with pytest.raises(ValueError, match="after the end"):
        constraint.allowed([*once, constraint.end, once[0]])
    assert constraint.end not in constraint.allowed([]) and constraint.end not in constraint.allowed(
        once[:-1]
    )
    assert constraint.end in constraint.allowed(once)


def test_refusal_is_final_and_max_claims_holds(tokenizer):
    constraint = GroundedConstraint(tokenizer, triples()[0], max_claims=1)
    assert constraint.allowed(tokenizer.encode(REFUSAL)) == [constraint.end]
    assert constraint.allowed(tokenizer.encode(constraint.claims[0].text)) == [constraint.end]


def test_without_passages_only_the_refusal(tokenizer):
    constraint = GroundedConstraint(tokenizer, [])
    assert tokenizer.decode(walk(constraint, random.Random(0))) == REFUSAL


def test_pure_in_what_was_generated(tokenizer):
    given = triples()[1]
    one, other = GroundedConstraint(tokenizer, given), GroundedConstraint(tokenizer, given)
    ids = walk(one, random.Random(3))
    backwards = [other.allowed(ids[:at]) for at in reversed(range(len(ids) + 1))]
    assert [one.allowed(ids[:at]) for at in range(len(ids) + 1)] == backwards[::-1]


def test_max_tokens_leaves_out_what_would_be_cut(tokenizer):
    given = triples()[2]
    short = min(len(tokenizer.encode(" " + claim.text)) for claim in claims(given)) + 2
    most = max(short, len(tokenizer.encode(REFUSAL)) + 1)
    constraint = GroundedConstraint(tokenizer, given, max_tokens=most)
    draw = random.Random(5)
    for _ in range(50):
        assert len(walk(constraint, draw)) < most
    assert walk(
        GroundedConstraint(tokenizer, given, max_tokens=1), draw
    )  # nothing fits: cut by the engine, not here


def test_long_sentences_are_offered_shorter_and_verbatim():
    text = "The kettle, " + "which is red and stands on the stove by the door, " * 12 + "boils."
    offered = claims(list(passages(document(text, "a.txt"))))
    quoted = [
        claim.text[len("a: ") : -len(" [1]")] for claim in offered if not claim.text.startswith("a is in")
    ]
    assert quoted and all(len(q) <= LONGEST and q in text for q in quoted)


def test_the_same_said_twice_is_one_claim():
    given = list(passages(small()[1]))
    doubled = claims([given[0], given[0]])
    assert [c.text for c in doubled] == [c.text for c in claims([given[0]])]


@pytest.mark.parametrize("n", range(4))
def test_reference_answers_are_claims_of_their_passage(n):
    """Whatever a question's answer says, the passage around its span offers it, token for token."""
    source = [*small(), *library(("textwrap.py", "csv.py"))][n + (n > 2)]
    cut = list(passages(source))
    asked = list(synth.from_document(source, seed=1, most=500))
    assert len(asked) >= 3
    missing = []
    for question in asked:
        around = [p for p in cut if p.start < question.end and p.end > question.start]
        if not any(f"{question.answer} [1]" == claim.text for p in around for claim in claims([p])):
            missing.append(question.answer)
    assert len(missing) <= 0.02 * len(asked), missing


def test_where_questions_get_places_and_others_get_sentences():
    for question in (
        "Where is shorten defined?", "Which module has shorten", "in which file is it?", "What module is it in?",
        "Which of the chapters tells of the band?",
    ):  # fmt: skip
        assert asks_for_place(question), question
    for question in (
        "What is shorten?",
        "How do I open a file?",
        "What does read_file return?",
        "Who is Irene Adler?",
    ):
        assert not asks_for_place(question), question
    passage = Passage(1, "d", "Teapot", "A teapot pours tea.", "tea.md", "MIT", 0, 19)
    assert [c.text for c in claims([passage], place=True)] == ["Teapot is in tea.md. [1]"]
    assert [c.text for c in claims([passage], place=False)] == ["Teapot: A teapot pours tea. [1]"]
    assert len(claims([passage])) == 2
