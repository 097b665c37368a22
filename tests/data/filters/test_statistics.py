"""The compiled counts equal the readable ones on hostile text; words and counts are what a hand count says."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ownlm.data.filters import statistics
from ownlm.data.filters.stopwords import STOP_WORDS, stop_words
from ownlm.data.filters.words import words
from ownlm.runtime.native import kernels

native = pytest.mark.skipif(kernels() is None, reason="the native kernels are not built")
# Characters that take part in a rule; one, two, three and four bytes of UTF-8, a lone surrogate.
SPECIAL = "aAbn tdsm.,-–—~'’\"\n\r\t :/<>=%+^*#…•_()0３9éß²的さカงกİſ\u0301\u00a0\u2028\u0085😀𝒜\ud800$€www."


def cut(text: str) -> list[str]:
    return [text[first:end] for first, end in words(text)]


@native
@settings(derandomize=True, deadline=None, max_examples=300)
@given(st.one_of(st.text(max_size=200), st.text(st.sampled_from(SPECIAL), max_size=80)), st.integers(0, 40))
def test_kernel_equals_reference(text, short_line):
    assert statistics.measure(text, short_line) == statistics.reference(text, short_line)


@native
@pytest.mark.parametrize("alphabet", ["ab", "ab \n", "a. \n", "的さ a", "งก a", SPECIAL])
def test_kernel_equals_reference_on_repetitive_text(alphabet):
    generator = random.Random(len(alphabet))
    for size in (0, 1, 2, 5, 30, 200, 1500):
        parts = ["".join(generator.choices(alphabet, k=generator.randrange(1, 9))) for _ in range(12)]
        text = generator.choice(["", " ", "\n", "\r\n", "\n\n"]).join(generator.choices(parts, k=size))
        assert statistics.measure(text) == statistics.reference(text)


@native
def test_kernel_equals_reference_when_its_tables_grow():
    generator = random.Random(5)
    vocabulary = [f"w{number}" for number in range(700)]
    text = (
        " ".join(generator.choices(vocabulary, k=4000))
        + "\n"
        + "\n".join(generator.choices(vocabulary, k=4000))
    )
    assert statistics.measure(text) == statistics.reference(text)


@native
@settings(derandomize=True, deadline=None, max_examples=100)
@given(st.text(st.sampled_from("ab的 \n,"), max_size=60), st.integers(0, 4))
def test_finder_equals_sets(text, enough):
    wanted = ["a", "b", "ab", "的", "zz"]
    found = len({text[first:end] for first, end in words(text)} & set(wanted))
    assert statistics.distinct_words(text, wanted, enough) == min(enough, found)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("I don't like e-mails.", ["I", "do", "n't", "like", "e", "-", "mails", "."]),
        (
            '("Well-known," he\'s said…)',
            ["(", '"', "Well", "-", "known", ",", '"', "he", "'s", "said", "…", ")"],
        ),
        (
            "The U.S. NATO. 3.5% $40,000 wait...what",
            ["The", "U.S.", "NATO", ".", "3.5", "%", "$", "40,000", "wait", "...", "what"],
        ),
        ("https://a.b/c-d?x=y, www.x-y.org/z", ["https://a.b/c-d?x=y", ",", "www.x-y.org/z"]),
        (
            "end.Start snake_case a,b 1,2 and/or 1/2",
            ["end", ".", "Start", "snake_case", "a", ",", "b", "1,2", "and", "/", "or", "1/2"],
        ),
        ("我喜欢编程。很好", ["我喜", "欢编", "程", "。", "很好"]),
        ("カタカナとabc", ["カタカナ", "と", "abc"]),
        ("नमस्ते दुनिया।", ["नमस्ते", "दुनिया", "।"]),
        ("สวัสดีครับ abc", ["สวัส", "ดีคร", "ับ", "abc"]),
        ("😀ok😀", ["😀", "ok", "😀"]),
        ("- x\r\n\r\n+5 + a", ["-", "x", "+5", "+", "a"]),
        ("'s ''", ["'", "s", "'", "'"]),
        ("", []),
        (" \n\t", []),
    ],
)
def test_words(text, expected):
    assert cut(text) == expected


def test_counts_by_hand():
    text = "- One two...\r\n- One two...\r\n\r\nEnd of #it…\n  \nEnd of #it…\n"
    it = statistics.measure(text)
    # words: - One two ... | - One two ... | End of # it … | End of # it …
    assert (it.words, it.plain_words, it.plain_word_characters, it.alphabetic_words) == (18, 10, 26, 10)
    assert (it.hashes, it.ellipses, it.newlines, it.characters) == (2, 4, 6, len(text))
    assert (it.lines, it.bullet_lines, it.ellipsis_lines, it.terminal_lines, it.short_lines) == (
        4,
        2,
        4,
        2,
        4,
    )
    assert (it.duplicate_lines, it.duplicate_line_characters) == (2, 12 + 11)
    assert (it.paragraphs, it.duplicate_paragraphs, it.duplicate_paragraph_characters) == (3, 1, 11)
    assert it.top_2 == 2 * len("- One")
    assert it.top_4 == 2 * len("- One two ...")
    assert it.duplicate_5 == len("Endof#it…")


def test_a_duplicate_gram_does_not_count_its_words_twice():
    it = statistics.measure("a b c d e " * 4)  # 20 words; grams of 5 at 0..4 are new, 5, 10, 15 are not
    assert it.duplicate_5 == 15
    assert (
        it.duplicate_10 == 10 - 5 + 5
    )  # at 5 the first 10 words were never seen from 0? they were: one duplicate
    assert it.top_2 == 4 * 3


def test_words_of_the_fallback(monkeypatch):
    text = "The cat and the dog. " * 3
    compiled = statistics.measure(text)
    monkeypatch.setenv("OWNLM_NATIVE", "0")
    assert statistics.measure(text) == compiled
    assert statistics.distinct_words(text, ["the", "and", "of"], 5) == 2


def test_stop_word_lists():
    assert len(STOP_WORDS) >= 10
    assert all(len(found) >= 8 for found in STOP_WORDS.values())
    assert stop_words("de-AT") == stop_words("de") and stop_words("pt_BR") == stop_words("pt")
    assert stop_words("zh") == frozenset()
