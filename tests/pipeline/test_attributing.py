"""Attribution on a real build: a passage that says the answer word for word is the one that it is owed to."""

import pytest

from ownlm.data import store
from ownlm.errors import DataError, UsageError
from ownlm.pipeline import attributing, texts
from ownlm.rag.lexical import LexicalIndex


@pytest.fixture(scope="module")
def told(built):
    """(ids of the training documents, a sentence that stands in one of them)."""
    documents = list(store.read_documents(built / "corpus" / texts.TRAIN))
    index = LexicalIndex(built / "index" / "passages.sqlite")
    found = [
        p for p in index.search("shallow copy of a list", 20) if p.document_id in {d.id for d in documents}
    ]
    return {document.id for document in documents}, " ".join(found[0].text.split()[:12]), found[0]


@pytest.mark.parametrize("method", ["gradients", "influence", "ekfac"])
def test_the_passage_that_says_it_is_found(built, told, method):
    training, sentence, passage = told
    found = attributing.attribute(built, "", sentence, method, candidates=12, context=64)
    assert passage.id in [p.id for _, p in found.passages[:3]]
    assert all(p.document_id in training for _, p in found.passages)
    scores = [score for score, _ in found.passages]
    assert scores == sorted(scores, reverse=True) and scores[0] > 0
    facts = found.as_dict()
    assert facts["candidates"] == len(facts["passages"]) <= 12 and facts["weights"] > 1000


def test_mistakes_are_named(built):
    with pytest.raises(UsageError, match="empty"):
        attributing.attribute(built, "a question", "  ")
    with pytest.raises(UsageError, match="does not fit"):
        attributing.attribute(built, "", "word " * 100, context=16)
    with pytest.raises(DataError, match="shares a word"):
        attributing.attribute(built, "", "qqzzxx")
