"""Repeated spans: SA-IS against a sorted list, both methods against the definition, and what is cut."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ownlm.data.dedup import substrings
from ownlm.data.dedup.substrings import SubstringDuplicates
from ownlm.data.flow.step import Note, run_alone
from ownlm.errors import DataError
from ownlm.records import Document, Drop
from ownlm.runtime.native import kernels

native = pytest.mark.skipif(kernels() is None, reason="the native kernels are not built")
SYMBOLS = st.lists(st.integers(1, 3), max_size=60)


@native
@given(SYMBOLS)
def test_suffix_array_is_the_sorted_suffixes(symbols):
    found = kernels().suffix_array(np.array(symbols, np.uint32), 4)
    assert found.tolist() == sorted(range(len(symbols)), key=lambda i: symbols[i:])


@native
@pytest.mark.parametrize("kind", ["equal", "period", "fibonacci", "random", "wide", "falling"])
def test_suffix_array_of_long_regular_strings(kind):
    n = 3000
    random = np.random.default_rng(1)
    a, b = [1], [1, 2]
    while len(b) < n:
        a, b = b, b + a
    symbols = {"equal": [1] * n, "period": [1, 2, 1, 3] * (n // 4), "fibonacci": b[:n], "random": random.integers(1, 5, n).tolist(),
               "wide": random.integers(1, n, n).tolist(), "falling": list(range(n, 0, -1))}[kind]  # fmt: skip
    found = kernels().suffix_array(np.array(symbols, np.uint32), n + 1)
    data = np.array(symbols, ">u4").tobytes()
    assert found.tolist() == sorted(range(len(symbols)), key=lambda i: data[4 * i :])


@native
def test_kernel_refuses_what_it_cannot_sort():
    with pytest.raises(ValueError, match="symbols must be in"):
        kernels().suffix_array(np.array([0, 1], np.uint32), 4)
    with pytest.raises(ValueError, match="symbols must be in"):
        kernels().suffix_array(np.array([4], np.uint32), 4)


def by_definition(documents: list[list[int]], length: int) -> list[int]:
    """Quadratic: a window is repeated when the same tokens occur before, ending before it."""
    places = [(d, i) for d, row in enumerate(documents) for i in range(len(row))]
    base = [sum(map(len, documents[:d])) for d in range(len(documents))]
    flags = []
    for d, i in places:
        window = documents[d][i : i + length]
        flags.append(
            int(
                len(window) == length
                and any(
                    documents[e][j : j + length] == window and base[e] + j + length <= base[d] + i
                    for e, j in places
                )
            )
        )
    return flags


def parts_of(documents: list[list[int]], cut: int) -> list[dict[str, np.ndarray]]:
    parts = []
    for rows in (documents[:cut], documents[cut:]):
        tokens = np.array([token for row in rows for token in row], np.uint32)
        parts.append({"tokens": tokens, "ends": np.cumsum([len(row) for row in rows], dtype=np.int64)})
    return parts


@given(st.lists(st.lists(st.integers(0, 2), max_size=20), max_size=5), st.integers(2, 5), st.integers(0, 5))
def test_both_methods_equal_the_definition(documents, length, cut):
    expected = by_definition(documents, length)
    parts = parts_of(documents, cut)
    assert substrings.by_windows(parts, length).tolist() == expected
    assert substrings.by_windows(parts, length, most=7).tolist() == expected
    if kernels() is not None:
        assert substrings.by_suffix_array(parts, length).tolist() == expected


def text(*numbers: int) -> str:
    return " ".join(f"w{number}" for number in numbers)


def documents(*texts: str) -> list[Document]:
    return [Document(f"d{number}", body, f"s{number}") for number, body in enumerate(texts)]


@pytest.mark.parametrize("method", ["suffix_array", "windows"])
def test_later_copies_of_a_span_are_cut(method):
    step = SubstringDuplicates(min_length=5, method=method)
    shared = range(100, 106)
    first, second = (
        text(1, 2, *shared, 3),
        "Start W9. " + text(*shared).upper().replace(" ", ",\n") + "; tail w8",
    )
    kept = run_alone(step, documents(first, second, text(*shared), "short"))
    notes = [item for item in kept if isinstance(item, Note)]
    texts = [item.text for item in kept if isinstance(item, Document)]
    assert texts == [first, "Start W9. tail w8", "short"]
    assert notes == [Note("repeated spans removed", 1), Note("words of repeated spans removed", 6)]
    (gone,) = [item for item in kept if isinstance(item, Drop)]
    assert gone.reason == "repeated spans: 100% of the words occurred before" and gone.source == "s2"


def test_a_run_keeps_its_first_period_and_characters_work():
    step = SubstringDuplicates(min_length=4, unit="characters", min_kept_share=0)
    kept = run_alone(step, documents("aaaaaaaaaa", "xyaaaaz\ud800"))
    assert [item.text for item in kept if isinstance(item, Document)] == ["aaaa", "xyz\ud800"]


def test_documents_shared_out_over_parts_are_cut_alike():
    random = np.random.default_rng(5)
    rows = [text(*random.integers(0, 3, 30).tolist()) for _ in range(12)]
    step = SubstringDuplicates(min_length=6, min_kept_share=0)
    alone = run_alone(step, documents(*rows))
    whole = documents(*rows)
    parts = [whole[:5], whole[5:5], whole[5:]]
    decided = step.decide([step.sketch(iter(part)) for part in parts])
    joined = [
        item
        for part, decision in zip(parts, decided, strict=True)
        for item in step.apply(iter(part), decision)
    ]
    assert joined == alone and any(isinstance(item, Note) for item in alone)


def test_changed_documents_are_noticed():
    step = SubstringDuplicates()
    (decision,) = step.decide([step.sketch(iter(documents("a b c")))])
    with pytest.raises(DataError, match="not those that were looked at"):
        list(step.apply(iter(documents("a b c d")), decision))
    with pytest.raises(DataError, match="not those that were looked at"):
        list(step.apply(iter(documents("a b")), decision))
