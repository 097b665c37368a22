"""Words, shingles and MinHash: the kernels equal the numpy code, and both what they are defined to be."""

from __future__ import annotations

import re
import unicodedata

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ownlm.data.dedup import minhash, words
from ownlm.runtime.native import kernels

TEXTS = st.lists(
    st.text(alphabet=st.sampled_from("ab  A,é我ไ語\U0001f600\U0003ffff\U000e0100İ_9\u0301क\udc80\n")),
    max_size=5,
)


def both(monkeypatch, work):
    monkeypatch.delenv("OWNLM_NATIVE", raising=False)
    if kernels() is None:
        pytest.skip("the native kernels are not built")
    fast = work()
    monkeypatch.setenv("OWNLM_NATIVE", "0")
    return fast, work()


@given(TEXTS)
def test_kernel_equals_reference(texts):
    with pytest.MonkeyPatch.context() as monkeypatch:
        for work in (
            lambda: words.words(texts),
            lambda: words.shingles(texts, 3),
            lambda: minhash.signatures(texts, 2, 37),
        ):
            fast, slow = both(monkeypatch, work)
            for a, b in zip(fast, slow, strict=True):
                np.testing.assert_array_equal(a, b)
                assert a.dtype == b.dtype


def test_words_are_lower_cased_runs():
    found = words.words(["Hello, WORLD foo_bar 12x", "hello world foo_bar 12X!", "我们hello", "我 们 HELLO"])
    rows = words.split(found.hashes, found.ends)
    assert len(rows[0]) == 4 and (rows[0] == rows[1]).all()
    assert len(rows[2]) == 3 and (rows[2] == rows[3]).all()
    assert found.starts[:4].tolist() == [0, 7, 13, 21] and found.stops[:4].tolist() == [5, 12, 20, 24]


@given(st.text(st.characters(max_codepoint=0x2FF, exclude_categories=["M", "No"]), max_size=80))
def test_ascii_and_latin_words_are_those_of_re(text):
    """Independent oracle: Python's \\w+ on text whose lower case is character by character."""
    expected = [(match.start(), match.end()) for match in re.finditer(r"\w+", text)]
    found = words.words([text])
    assert list(zip(found.starts.tolist(), found.stops.tolist(), strict=True)) == expected
    for (a, b), hashed in zip(expected, found.hashes.tolist(), strict=True):
        lowered = "".join(character.lower()[0] for character in text[a:b])
        assert words.words([lowered]).hashes[0] == hashed


def test_combining_marks_stay_in_their_word():
    assert unicodedata.category("ि") == "Mc"
    assert len(words.words(["नमस्ते दुनिया"]).hashes) == 2


def test_shingles_by_hand():
    hashes, ends = words.shingles(["a b c d", "a b", "", "b c d"], 3)
    assert ends.tolist() == [2, 3, 3, 4]
    assert hashes[1] == hashes[3] and len(set(hashes.tolist())) == 3


def test_estimated_similarity_matches_the_exact_one():
    """Every value of two signatures agrees with the probability of their Jaccard similarity: binomial bounds."""
    random = np.random.default_rng(3)
    count = 1024
    for similarity in (0.1, 0.3, 0.5, 0.7, 0.8, 0.95):
        universe = random.integers(0, 1 << 30, 2000)
        shared = int(1000 * similarity)
        a = np.concatenate([universe[:shared], universe[1000 : 2000 - shared]])
        b = np.concatenate([universe[:shared], universe[2000 - shared :]]) if shared else universe[1000:]
        texts = [" ".join(map(str, side.tolist())) for side in (a, b)]
        found = minhash.signatures(texts, 1, count)
        sets = [set(part.tolist()) for part in words.split(found.shingles, found.ends)]
        exact = len(sets[0] & sets[1]) / len(sets[0] | sets[1])
        estimate = float((found.values[0] == found.values[1]).mean())
        assert abs(estimate - exact) < 4 * np.sqrt(exact * (1 - exact) / count)


def test_recall_formula():
    assert minhash.recall(0.7, 14, 8) == pytest.approx(0.565, abs=1e-3)
    assert minhash.recall(0.8, 28, 4) > 0.9999
