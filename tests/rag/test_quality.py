"""The bar that retrieval and refusal must pass on real text that nothing here was fitted to, document by document."""

import sys

import pytest

sys.path.insert(0, __file__.rpartition("/")[0])
from texts import book, library, rows

from ownlm.data.synth import questions as synth
from ownlm.evals.grounded import gold_texts, overlaps
from ownlm.rag.lexical import LexicalIndex

HIT, ANSWERED, REFUSED = 0.85, 0.85, 0.80
NUM_QUESTIONS = 150


def measure(documents, path, divide=2):
    """(hit@3, answered, refused): calibrated on one half of the documents, measured on the other."""
    first, other = (
        (documents[::divide], documents[1::divide]) if len(documents) > 2 else (documents, documents)
    )
    LexicalIndex.build(path, [*first, *(d for d in documents if d not in first)], num_training=len(first))
    index = LexicalIndex(path)
    most = max(2, 3 * NUM_QUESTIONS // len(other))
    known = {"count_of": index.sections_named, "mentions_of": index.mentions}
    asked = [q for d in other for q in synth.from_document(d, seed=11, most=most, **known)]
    asked = asked[:: max(1, len(asked) // NUM_QUESTIONS)]
    hits = answered = 0
    for question in asked:
        found = index.search(question.text, 50)
        texts = gold_texts(question, found)
        hits += any(
            overlaps(question, p.document_id, p.start, p.end) or " ".join(p.text.split()) in texts
            for p in found[:3]
        )
        answered += index.relevance(question.text, found[:3]) >= index.threshold
    impossible = synth.unanswerable(other, NUM_QUESTIONS, seed=11, together=index.together)
    refused = sum(index.relevance(q.text, index.search(q.text, 3)) < index.threshold for q in impossible)
    assert len(asked) >= 60
    return hits / len(asked), answered / len(asked), refused / len(impossible)


def check(documents, path):
    hit, answered, refused = measure(documents, path)
    assert hit >= HIT and answered >= ANSWERED and refused >= REFUSED, (hit, answered, refused)


def test_some_of_the_standard_library(tmp_path):
    check(library()[::8], tmp_path / "x")


def test_vue_documentation(tmp_path):
    check(rows("vue-docs.en")[::2], tmp_path / "x")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["rust-book.en", "cpython-docs.en", "react-docs.en", "tldr.en", "d2l-zh.zh"])
def test_documentation(name, tmp_path):
    check(rows(name), tmp_path / "x")


@pytest.mark.slow
def test_books(tmp_path):
    check([book("adventures-of-sherlock-holmes"), book("war-and-peace")], tmp_path / "x")


@pytest.mark.slow
def test_whole_standard_library(tmp_path):
    check(library(), tmp_path / "x")
