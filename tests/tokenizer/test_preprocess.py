"""Preprocessing on fixtures, step by step; bags of words and TF-IDF against the formula by hand."""

import numpy as np
import pytest

from ownlm.errors import DataError, UsageError
from ownlm.tokenizer.preprocess import Preprocessing, lemma, preprocess
from ownlm.tokenizer.vector_space import VectorSpace, ngrams, one_hot

TEXT = "The <b>ﬁve</b> Cafés were RUNNING at https://a.org/x, mail me@x.org about 3.5 children's studies."
OFF = Preprocessing(None, False, remove=(), stop_words=frozenset())


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        (OFF, "The b ﬁve b Cafés were RUNNING at https a org x mail me x org about 3 5 children's studies"),
        (Preprocessing("NFKC", False, remove=(), stop_words=frozenset()),
         "The b five b Cafés were RUNNING at https a org x mail me x org about 3 5 children's studies"),
        (Preprocessing(), "five cafés running mail 3 5 children's studies"),
        (Preprocessing(strip_accents=True, remove=("tags", "urls", "emails", "numbers")),
         "five cafes running mail children's studies"),
        (Preprocessing(lemmatize=True), "five café run mail 3 5 child study"),
        (Preprocessing(stem="english"), "five café run mail 3 5 children studi"),
    ],
)  # fmt: skip
def test_each_step_is_a_switch(steps: Preprocessing, words: str) -> None:
    assert " ".join(preprocess(TEXT, steps).words) == words


def test_what_is_removed_is_counted() -> None:
    assert preprocess(TEXT).removed == {"tags": 2, "urls": 1, "emails": 1, "stop words": 4}
    assert preprocess("").words == () and preprocess("", OFF).removed == {}


@pytest.mark.parametrize(
    ("form", "base"),
    [("cities", "city"), ("boxes", "box"), ("hopping", "hop"), ("making", "make"), ("walked", "walk"), ("tried", "try"),
     ("classes", "class"), ("bus", "bus"), ("class", "class"), ("mice", "mouse"), ("was", "be"), ("string", "string"),
     ("houses", "house"), ("creating", "create"), ("used", "use"), ("called", "call"), ("thing", "thing"), ("need", "need"), ("seeds", "seed"), ("dogs'", "dog"), ("agreed", "agreed")],
)  # fmt: skip
def test_lemmas(form: str, base: str) -> None:
    assert lemma(form) == base


def test_unknown_steps_are_named_together() -> None:
    with pytest.raises(UsageError) as caught:
        Preprocessing("NFX", remove=("smileys",), stem="klingon")
    assert all(name in caught.value.values for name in ("NFX", "smileys", "klingon"))


DOCUMENTS = ["the cat sat on the mat".split(), "the dog ate the cat".split(), "stocks fell".split()]


def test_tf_idf_is_the_formula_and_ranks_the_known_document_first() -> None:
    space = VectorSpace(DOCUMENTS)
    row = {
        t: DOCUMENTS[0].count(t) * (np.log(4 / (1 + sum(t in d for d in DOCUMENTS))) + 1) for t in space.terms
    }
    expected = np.array([row[t] for t in space.terms])
    np.testing.assert_allclose(space.rows[0], expected / np.linalg.norm(expected), rtol=1e-12)
    assert space.counts[space.terms == "the"].shape[0] in (0, 1) and space.counts.sum() == 6 + 5 + 2
    for number, words in enumerate(DOCUMENTS):
        assert space.rank(words)[0] == (number, pytest.approx(1.0))
    assert [n for n, _ in space.rank(["dog"])] == [1] and space.rank(["unknown"]) == []
    assert space.vectors([["unknown", "dog"]])[1] == 1


def test_ngrams_and_one_hot() -> None:
    assert ngrams("a b c".split(), 1, 2) == ["a", "b", "c", "a b", "b c"]
    assert one_hot(["b", "a"], ["a", "b"]).tolist() == [[0, 1], [1, 0]]
    assert VectorSpace(DOCUMENTS, (2, 2)).rank("the mat".split())[0][0] == 0
    with pytest.raises(DataError, match="z"):
        one_hot(["z"], ["a"])
    with pytest.raises(UsageError):
        ngrams(["a"], 2, 1)
    with pytest.raises(DataError):
        VectorSpace([[]])
