"""Passages: exact offsets, nothing lost, titles."""

import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, __file__.rpartition("/")[0])
from texts import BOOK, MARKDOWN, PYTHON, RST, book, document, library, rows, small

from ownlm.rag.chunk import MOST, passages


def check(source):
    """Every passage is exact, in order, within the limits; everything but front matter and blanks is in one."""
    at = 0
    for passage in passages(source):
        assert passage.text == source.text[passage.start : passage.end]
        assert 0 < len(passage.text) <= MOST and len(passage.title) <= 80 and passage.title
        gap = source.text[at : passage.start].strip()
        assert not gap or (at == 0 and gap.startswith("---")), gap[:100]
        at = passage.end
    assert not source.text[at:].strip()


@pytest.mark.parametrize("source", small(), ids=lambda d: d.source)
def test_small_documents(source):
    check(source)


def test_real_python_files():
    for source in library(("textwrap.py", "json/decoder.py", "ast.py", "tarfile.py", "csv.py", "this.py")):
        check(source)


@pytest.mark.parametrize("name", ["vue-docs.en", "tldr.ko", "rust-book.en"])
def test_real_documentation(name):
    for source in rows(name):
        check(source)


def test_real_book():
    check(book("adventures-of-sherlock-holmes"))


@given(
    st.text(alphabet=st.sampled_from("ab .\n#=-`*>|:\"'()1AЖ中\t"), max_size=2000),
    st.sampled_from(["a.md", "a.py", "a.txt", "a.rs"]),
)
@settings(max_examples=150, deadline=None)
def test_any_text(text, name):
    source = document(text, name)
    found = list(passages(source))
    assert all(p.text == text[p.start : p.end] and 0 < len(p.text) <= MOST for p in found)
    if not text.lstrip().startswith("---"):
        assert sum(not c.isspace() for p in found for c in p.text) == sum(not c.isspace() for c in text)


def test_one_huge_line_and_no_text():
    check(document("x" * 5000 + " " + "word " * 5000, "huge.txt"))
    assert list(passages(document(" \n\n ", "blank.txt"))) == []


def titles(text, name, **meta):
    return list(dict.fromkeys(p.title for p in passages(document(text, name, **meta))))


def test_titles_of_python():
    assert titles(PYTHON, "src/wrapping/textwrap.py") == [
        "wrapping.textwrap", "wrapping.textwrap.Wrapper", "wrapping.textwrap.Wrapper.fill",
        "wrapping.textwrap.Wrapper.wrap", "wrapping.textwrap.shorten",
    ]  # fmt: skip
    assert titles(PYTHON, "json/__init__.py")[0] == "json"
    assert (
        titles(PYTHON, "x/y.py", format="code", programming_language="python", module="public")[0] == "public"
    )


def test_signature_and_docstring_come_first():
    first = next(p for p in passages(document(PYTHON, "textwrap.py")) if p.title == "textwrap.shorten")
    assert first.text.startswith("def shorten(text") and "Collapse and truncate" in first.text


def test_broken_python_is_chunked_as_code():
    assert titles("def broken(:\n    pass\n\n\ndef other():\n    return 1\n", "bad.py") == [
        "bad.py › broken",
        "bad.py › other",
    ]


def test_titles_of_other_code():
    text = "// Adds.\npub fn add(a: i32) -> i32 {\n    a\n}\n\n\nstruct Point {\n    x: i32,\n}\n"
    assert titles(text, "lib.rs") == ["lib.rs › add", "lib.rs › Point"]


def test_titles_of_headings():
    assert titles(MARKDOWN, "docs/guide.md") == [
        "ignored by the heading › Guide", "ignored by the heading › Guide › Installing the kettle",
        "ignored by the heading › Guide › boil()",
    ]  # fmt: skip
    assert titles(RST, "docs/title.rst") == ["Title", "Title › Usage of Things"]
    assert titles("Page\n====\n\nWords here.\n\nPart\n----\n\nMore words.\n", "x.md") == [
        "Page",
        "Page › Part",
    ]


def test_titles_of_books():
    assert titles(BOOK, "blue-lamp.txt")[-2:] == ["blue lamp › CHAPTER I", "blue lamp › CHAPTER II"]
