"""The native reader of pages against its reference in Python: equal trees on random markup and on real pages."""

from __future__ import annotations

import gzip
import os
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ownlm.data.extract import builder
from ownlm.data.extract.blocks import read_blocks
from ownlm.data.extract.tree import Block, Tree
from ownlm.data.limits import Unusable
from ownlm.runtime.native import kernels

needs_kernel = pytest.mark.skipif(kernels() is None, reason="no native kernels in this installation")
FOLDER = Path(os.environ.get("OWNLM_TEST_DATA", Path(__file__).parents[4] / "shared" / "data"))

NAMES = (
    "p div b li ul ol td tr th table h1 h2 pre listing a a span blockquote script title style svg noscript br br hr code tt dl "
    "dt dd menu section article nav button select meta html time body my-card LI TD Blocquote bloc\u212aquote x-\u0130 x-\ud800"
).split()
ATTRIBUTES = (
    "", "", ' class="post-content main"', " id=sidebar", " CLASS='Nav'", ' style="display: none"', " hidden", " aria-hidden=true",
    ' class="', " id='", ' title="a > b"', " =", "=x>y", ' data-class="ad" role=navigation', " start=7", ' start="12"',
    " start=-3", " start=999999999", " class=nav\u0130e\u212a", "\u00a0id=foot", ' type="application/ld+json"', "/", " /", " visibility:hidden",
    " class=" + "a" * 45 + "ad", ' class="' + "nav " * 130 + '"', " class = x id\t=\n'share'", ' id=a"b class=comment', " \x0bhidden-x",
)  # fmt: skip
TEXTS = (
    "", " ", "word", " two words ", "\n", "&amp;", "&", "am", "&am", "p;", "&#65;", "&#x41", "&#xZ", "&#", "&nbsp;", "&notit;", "&lt;b&gt;",
    "&#" + "0" * 30 + "65;", "&#" + "9" * 5000, "&" + "x" * 40 + ";", "\x0b", "\u00a0", "\u2028", "\x1c", "中文", "😀", "ſcript", "|", "<", "< b",
    "a" * 301, "<!-- x -->", "<!-->", "<!--->", "<!-- -- >", "<!-- --!>", "<!", "<?php x ?>", "</>", "</ p>", "</script>", "</script", "</svg ", "]]>",
    "\ud800", "<!--", "--", "\r\n", "\x00", "`", "=", '"', "'", ">",
)  # fmt: skip
PIECES = st.one_of(
    st.sampled_from(TEXTS),
    st.builds("<{}{}>".format, st.sampled_from(NAMES), st.sampled_from(ATTRIBUTES)),
    st.builds("</{}>".format, st.sampled_from(NAMES)),
)


def values(tree: Tree) -> list[Any]:
    arrays = (tree.parents, tree.own, tree.inherited, tree.starts, tree.ends)
    return [tree.blocks, tree.tags, tree.head, *(array.tolist() for array in arrays)]


def assert_same(source: str) -> None:
    ours, reference = read_blocks(source), builder.build(source)
    assert values(ours) == values(reference), repr(source)
    assert all(type(block) is Block for block in ours.blocks)


@needs_kernel
@settings(max_examples=400, deadline=None, derandomize=True)
@given(st.lists(PIECES, max_size=40).map("".join))
def test_random_markup_gives_the_same_tree(source):
    assert_same(source)


@needs_kernel
@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.text(alphabet="<>/!-='\"& ;#xp\x0b\n\u00e9\u4e2d", max_size=60))
def test_random_characters_give_the_same_tree(source):
    assert_same(source)


@needs_kernel
def test_deep_tables_and_lists_give_the_same_tree():
    """Longer pages of well-formed and broken structure than Hypothesis draws."""
    draw = random.Random(8)
    names = "table tr td td th ul ol li li dl dt dd p p h2 pre blockquote div div a br code my-x".split()
    for number in range(60):
        parts = []
        for _ in range(draw.randrange(400)):
            parts.append(
                draw.choice(("<{}>", "<{}>", "</{}>", "<{} class='x-{}'>")).format(draw.choice(names), number)
            )
            parts.append(draw.choice(("", " ", "word ", "some words. ", "a&amp;b|c")))
        assert_same("".join(parts))


@needs_kernel
@pytest.mark.skipif(
    not (FOLDER / "web_extraction").is_dir(), reason="no web_extraction below OWNLM_TEST_DATA"
)
def test_real_pages_give_the_same_tree():
    for file in sorted((FOLDER / "web_extraction" / "article_benchmark" / "html").iterdir())[::6]:
        source = gzip.decompress(file.read_bytes()).decode("utf-8", "replace")
        for text in (source, source[len(source) // 3 :] + source[: len(source) // 3]):
            assert_same(text)


@needs_kernel
@pytest.mark.parametrize("limit", ["MOST_ELEMENTS", "MOST_BLOCKS"])
def test_the_limits_are_the_same(limit, monkeypatch):
    """The kernel takes its limits from the reference; both refuse at the same element or block."""
    most = 50
    monkeypatch.setattr(builder, limit, most)
    native = kernels()
    assert native is not None
    elements, blocks = (most if limit == name else 10**6 for name in ("MOST_ELEMENTS", "MOST_BLOCKS"))
    tags = {name: (kind, 0) for name, kind in builder.KIND.items()}
    reader = native.PageReader(tags, (0, 0, 0, 0, 0), elements, blocks)
    for count in range(most - 2, most + 3):
        source = "<p>x" * count
        found = reader.read(source, lambda word: 0, str, str.encode, Block)
        try:
            builder.build(source)
        except Unusable:
            assert found == limit.removeprefix("MOST_").lower()
        else:
            assert not isinstance(found, str)


def test_numbers_of_any_length_are_decoded():
    (block,) = read_blocks(f"<p>&#{'0' * 5000}65;&#{'9' * 6000};&#x{'0' * 5000}42;").blocks
    assert block.text == "A\ufffdB"


def test_without_the_kernel_the_reference_reads(monkeypatch):
    source = "<div class=post><p>one<p>two</div>"
    expected = values(read_blocks(source))
    monkeypatch.setenv("OWNLM_NATIVE", "0")
    assert values(read_blocks(source)) == expected
