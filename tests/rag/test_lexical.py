"""The index: what is found, in which order, and what the user's text cannot do."""

import sqlite3
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

sys.path.insert(0, __file__.rpartition("/")[0])
from texts import document, small

from ownlm.errors import ArtifactError, DataError
from ownlm.rag.lexical import LexicalIndex


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    path = tmp_path_factory.mktemp("index") / "passages.sqlite"
    built = LexicalIndex.build(path, small())
    found = LexicalIndex(path)
    assert built.num_passages == found.num_passages > 8 and built.threshold == found.threshold
    return found


@pytest.mark.parametrize(
    ("question", "title"),
    [
        ("What does shorten do?", "wrapping.textwrap.shorten"),
        ("what is textwrap.shorten", "wrapping.textwrap.shorten"),
        ("What does the fill method return?", "wrapping.textwrap.Wrapper.fill"),
        ("How do I install the kettle?", "ignored by the heading › Guide › Installing the kettle"),
        ("how do i instal teh ketlte", "ignored by the heading › Guide › Installing the kettle"),
        ("What is a frigate?", "blue lamp › CHAPTER II"),
        ("Which page explains usage of things?", "Title › Usage of Things"),
    ],
)
def test_finds(index, question, title):
    assert index.search(question, 3)[0].title == title
    assert index.relevance(question, index.search(question, 3)) >= index.threshold


@pytest.mark.parametrize(
    "question",
    ["How do I bake bread?", "What is the Zorblax protocol?", "What does shorten_async return?", ""],
)
def test_does_not_find(index, question):
    assert index.relevance(question, index.search(question, 3)) < max(index.threshold, 0.01)


INJECTIONS = [
    '"', '""', "'", "a OR b", "NEAR(a b)", "shorten*", "^shorten", "title:shorten", "{title body}: x", "(", ")", "a AND NOT b",
    '" OR 1=1 --', "'; DROP TABLE passages; --", "-shorten", "+a", "a\x00b", "\ud800", "()()", "*", "\\", "shorten\"", "“”", "%", "_" * 300,
    "x" * 10000, "word " * 5000, "中" * 500, "\n\t ", "$", "rank", "terms MATCH x",
]  # fmt: skip


@pytest.mark.parametrize("question", INJECTIONS, ids=range(len(INJECTIONS)))
def test_no_text_is_syntax(index, question):
    found = index.search(question, 3)
    assert len(found) <= 3
    assert 0 <= index.relevance(question, found) <= 1
    assert (
        index.together([question]) in (True, False)
        and index.mentions(question) >= 0
        and index.sections_named(question) >= 0
    )


def test_order_is_stable_and_scores_fall(index):
    runs = [index.search("the width of the text", 10) for _ in range(3)]
    assert runs[0] == runs[1] == runs[2]
    scores = [p.score for p in runs[0]]
    assert scores == sorted(scores, reverse=True)


def test_passages_and_documents_come_back(index):
    for number in range(1, index.num_passages + 1):
        passage = index.passage(number)
        whole = index.document(passage.document_id)
        assert whole.text[passage.start : passage.end] == passage.text and whole.source == passage.source
    for missing in (0, index.num_passages + 1):
        with pytest.raises(KeyError):
            index.passage(missing)
    with pytest.raises(KeyError):
        index.document("none")


def test_threads(index):
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda n: index.search("What does shorten do?", 3), range(64)))
    assert all(one == found[0] for one in found)


def test_nothing_is_written_while_serving(index):
    before = index.path.read_bytes()
    index.search("shorten", 3)
    assert index.path.read_bytes() == before and sorted(p.name for p in index.path.parent.iterdir()) == [
        "passages.sqlite"
    ]
    with pytest.raises(sqlite3.OperationalError):
        index._connection().execute("DELETE FROM passages")


def test_same_documents_same_bytes(tmp_path):
    for name in "ab":
        LexicalIndex.build(tmp_path / name, small())
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_bad_input(tmp_path):
    with pytest.raises(DataError, match="nothing to index"):
        LexicalIndex.build(tmp_path / "x", [])
    with pytest.raises(DataError, match="nothing to index"):
        LexicalIndex.build(tmp_path / "x", [document(" \n", "blank.txt")])
    with pytest.raises(DataError, match="same id"):
        LexicalIndex.build(tmp_path / "x", [small()[0], small()[0]])
    with pytest.raises(ArtifactError, match="no passage index"):
        LexicalIndex(tmp_path / "missing")
    (tmp_path / "junk").write_text("not a database at all, only text" * 100)
    with pytest.raises(ArtifactError, match="not a passage index"):
        LexicalIndex(tmp_path / "junk")


def test_calibration_uses_training_documents_only(tmp_path):
    """With no training document there is nothing to calibrate on, so the fallback must be what is stored."""
    from ownlm.rag.relevance import FALLBACK

    LexicalIndex.build(tmp_path / "x", small(), num_training=0)
    assert LexicalIndex(tmp_path / "x").threshold == FALLBACK


def test_ten_words_are_enough(tmp_path):
    LexicalIndex.build(tmp_path / "x", [document("The red kettle boils water for tea at noon.", "tea.txt")])
    index = LexicalIndex(tmp_path / "x")
    assert index.search("When does the kettle boil?", 3)[0].source == "tea.txt"
