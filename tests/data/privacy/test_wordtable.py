"""Sums per word against the definition of the features, in any order and after the table was emptied."""

from __future__ import annotations

import numpy as np
import pytest

from ownlm.data.privacy import features, names, wordtable
from ownlm.data.privacy.sentences import Maker
from ownlm.runtime import seed


def sentences(count: int) -> list[list[str]]:
    maker = Maker(seed.generator(6, "test", "words"))
    texts = ["".join(text for text, _ in maker.sentence()) for _ in range(count)]
    return [features.TOKEN.findall(text) for text in texts]


def by_definition(model: names.NameModel, words: list[str]) -> np.ndarray:
    return np.asarray(model.weights[features.rows(model.hashes(words))].sum(axis=1, dtype=np.int32))


def test_scores_are_the_sums_over_all_features() -> None:
    model = names.model()
    for words in sentences(40):
        assert np.array_equal(model.scores(list(words)), by_definition(model, words))


def test_texts_in_a_row_do_not_see_each_other() -> None:
    model = names.model()
    one, two = sentences(2)
    gap = [None] * features.REACH
    together = model.scores([*one, *gap, *two])
    assert np.array_equal(together[: len(one)], by_definition(model, one))
    assert np.array_equal(together[len(one) + features.REACH :], by_definition(model, two))


def test_a_full_table_starts_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wordtable, "MOST", 40)
    trained = names.model()
    model = names.NameModel(trained.weights, trained.follow, trained.common)
    for words in sentences(30):
        assert np.array_equal(model.scores(list(words)), by_definition(model, words))
        assert len(model.table._index) <= max(40, len(set(words)) + 1)
