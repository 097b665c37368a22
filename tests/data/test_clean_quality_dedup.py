"""Repairs are exact and counted; rules drop what is no text and keep what is; duplicates go by content."""

from __future__ import annotations

import base64
import random

import pytest
from counted import counted
from hypothesis import given
from hypothesis import strategies as st

from ownlm.data import clean, quality
from ownlm.data.dedup.exact import ExactDuplicates
from ownlm.data.funnel import Funnel
from ownlm.data.rows import document_id
from ownlm.data.stdlib import standard_library
from ownlm.records import Document


def document(text: str, source: str = "s") -> Document:
    return Document(document_id(source, text), text, source)


@pytest.mark.parametrize(
    ("dirty", "tidy", "change", "count"),
    [
        ("a\r\nb\rc\x0cd\u2028e", "a\nb\nc\nd\ne", "line ends changed", 4),
        ("a\0b\x01c\x7fd\x85e\ufefff\x9f", "abcd\nef", "control characters removed", 5),
        ("\x1b[1;31mred\x1b[0m text", "red text", "terminal escapes removed", 2),
        ("N\bNA\bAME", "NAME", "overstrikes removed", 2),
        ("e\u0301t\u00e9", "\u00e9t\u00e9", "documents normalized to NFC", 1),
        ("bad \ud800 half", "bad \ufffd half", "lone surrogates replaced", 1),
        ("caf\u00c3\u00a9 na\u00c3\u00afve", "café naïve", "documents double-encoded, undone", 1),
        ("it\u00e2\u20ac\u2122s", "it\u2019s", "documents double-encoded, undone", 1),
        ("x\ufffey", "xy", "control characters removed", 1),
    ],
)
def test_repairs(dirty, tidy, change, count):
    text, changes = clean.repair(dirty)
    assert text == tidy
    assert changes[change] == count


@pytest.mark.parametrize("text", [
    "plain\ttext\n", "café naïve – “quoted” ½ £5 Ü", "the sequence Ã© shows a wrong charset", "Ã© is how é looks, Ã¼ is ü",
    "日本語のテキスト", "emoji 👩‍👩‍👧 stay", "नमस्ते",
])  # fmt: skip
def test_what_is_not_certainly_wrong_stays(text):
    repaired, changes = clean.repair(text)
    assert repaired is text and not changes


@given(st.text(st.characters(codec="utf-8"), max_size=200))
def test_repair_is_stable_and_always_encodable(text):
    once, _ = clean.repair(text)
    once.encode("utf-8")
    if "\u00c3" not in once:  # undoing a second double encoding is the one repair that may go on
        assert clean.repair(once)[0] == once


def test_mojibake_is_undone_exactly():
    text = "Ärger über “Größe” – naïve café, 日本語 и русский"
    for wrong in ("cp1252", "latin-1"):
        try:
            broken = text.encode("utf-8").decode(wrong)
        except UnicodeDecodeError:
            continue
        assert clean.repair(broken)[0] == text


def test_documents_keep_id_and_the_funnel_adds_up():
    funnel = Funnel()
    documents = [document("fine text\n"), document("a\0b"), document("\0\x01"), document("")]
    out = counted("clean", clean.Clean(), documents, funnel)
    assert [item.text for item in out] == ["fine text\n", "ab"]
    assert out[0] is documents[0] and out[1].id == documents[1].id
    step = funnel.step("clean")
    assert (step.num_in, step.num_out, step.dropped) == (4, 2, {"empty after repair": 2})
    assert step.notes == {"control characters removed": 3}


PROSE = "It was a bright cold day in April, and the clocks were striking thirteen. " * 5


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("too little", "too short"),
        ("+-=*/#" * 100, "mostly symbols"),
        ("═══║ " * 200, "mostly symbols"),
        (base64.b64encode(random.Random(0).randbytes(3000)).decode(), "encoded or minified"),
        ("var a=" + "function(){return[1]};" * 200, "encoded or minified"),
        ("the same line of text\n" * 40, "one line repeated"),
        (PROSE + "\ufffd" * 40, "undecodable"),
        (PROSE, ""),
        (PROSE * 2000, ""),
        ("吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。", ""),
        ("".join(f"{{\n  item {n}: {n * n}\n}}\n" for n in range(30)), ""),
        (PROSE + "https://example.org/" + "a" * 250, ""),
        ("if (a) {\n  b[i] = c[j] + (d - e) * 2;\n}\n" * 2 + "return x;\n" * 2, ""),
    ],
)
def test_quality_rules(text, reason):
    assert quality.reason_to_drop(text, quality.BasicQuality()).partition(":")[0] == reason


def test_the_default_text_passes_nearly_whole():
    funnel = Funnel()
    documents = list(standard_library())
    kept = counted("quality", quality.BasicQuality(), documents, funnel)
    step = funnel.step("quality")
    assert step.num_in == step.num_out + step.num_dropped == len(documents)
    assert len(kept) >= 0.98 * len(documents)


def test_exact_duplicates_apart_from_white_space():
    funnel = Funnel()
    documents = [
        document("one two", "a"),
        document("one  two\n", "b"),
        document("one\u00a0two", "c"),
        document("onetwo", "d"),
    ]
    assert [item.source for item in counted("dedup", ExactDuplicates(), documents, funnel)] == ["a", "d"]
    assert funnel.step("dedup").dropped == {"exact duplicate": 2}
    assert funnel.table() == [("dedup", "", 4, 2, 2), ("dedup", "exact duplicate", 0, 0, 2)]
