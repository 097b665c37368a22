"""Blocks: what HTML5 says about unclosed tags, tables and odd markup, held against a browser-grade parser."""

from __future__ import annotations

import random
import re
from collections import Counter

import pytest
from selectolax.lexbor import LexborHTMLParser

from ownlm.data.extract.blocks import MOST_BLOCKS, read_blocks
from ownlm.data.limits import Unusable

DROPPED = (
    "script style textarea iframe noframes noembed xmp svg math noscript select button object canvas audio video map "
    "datalist dialog template title head"
).split()  # fmt: skip


def texts(source: str) -> list[tuple[str, str]]:
    return [(block.kind, block.text) for block in read_blocks(source).blocks]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("<p>one<p>two", [("p", "one"), ("p", "two")]),
        ("<div>a</section></div>b", [("p", "a"), ("p", "b")]),
        ("<ul><li>a<li>b<ul><li>c</ul></ul>d", [("li", "a"), ("li", "b"), ("li", "c"), ("p", "d")]),
        ("<dl><dt>t<dd>m<dt>u<dd>n</dl>", [("dt", "t"), ("dd", "m"), ("dt", "u"), ("dd", "n")]),
        ("<p title='a > b'>x</p>", [("p", "x")]),
        ('<p title=it\'s class="y"">x</p>', [("p", "x")]),
        ("a < b &amp; c &lt;d&gt;", [("p", "a < b & c <d>")]),
        ("<!-- a > b -- c --><p>x<!-- never closed <p>y", [("p", "x")]),
        ("<script>if (a < b) '<p>'</script>x<style>p{}</style>", [("p", "x")]),
        ("one<br>two<br>\n<br>three", [("p", "one\ntwo"), ("p", "three")]),
        ("<h2>A <b>bold</b> one</h2>", [("h2", "A bold one")]),
        ("<pre><code>a\n  b\n</code></pre>", [("pre", "a\n  b")]),
        ("<p>call <code>f()</code> now", [("p", "call `f()` now")]),
        ("<my-card>x</my-card>y", [("p", "x"), ("p", "y")]),
        ("<p>x<button>Buy</button><select><option>1</select>", [("p", "x")]),
        ("", []),
        (" \n ", []),
    ],
)
def test_blocks(source, expected):
    assert texts(source) == expected


def test_a_table_of_facts_becomes_rows_and_a_table_of_layout_does_not():
    rows = "<table><tr><th>a<th>b<tr><td>1<td><p>2|3</p></table>"
    assert texts(rows) == [("row", "| a | b |"), ("row", "| 1 | 2\\|3 |")]
    layout = "<table><tr><td>menu</td><td><p>one</p><p>two</p></td></tr></table>"
    assert texts(layout) == [("p", "menu"), ("p", "one"), ("p", "two")]
    assert texts("<table><tr><td>alone</td></tr></table>") == [("p", "alone")]


def test_an_end_tag_does_not_reach_out_of_a_cell():
    source = "<div id=out><table><tr><td>a</div>b</td></tr></table>c</div>"
    tree = read_blocks(source)
    after = next(block for block in tree.blocks if block.text == "c")
    assert tree.tags[after.node] == "div"


def test_a_block_closes_the_paragraph_before_it():
    tree = read_blocks("<p>one<p>two<div>three<li>four<li>five")
    assert [tree.tags[tree.parents[block.node]] for block in tree.blocks] == [
        "body",
        "body",
        "body",
        "div",
        "div",
    ]


def test_links_are_counted_in_the_characters_that_are_written():
    (block,) = read_blocks("<p>go <a href=x>  to   it </a> and <a>there</a>").blocks
    assert (block.link_characters, block.num_links) == (len("to it") + len("there"), 2)


def test_the_blocks_of_every_element_are_a_range():
    tree = read_blocks("<div>a<p>b</p><table><tr><td>1<td>2</table></div><div>c</div>")
    for node, (start, end) in enumerate(zip(tree.starts, tree.ends, strict=True)):
        inside = [
            number for number, block in enumerate(tree.blocks) if _is_below(tree.parents, block.node, node)
        ]
        assert inside == list(range(start, end))


def _is_below(parents: list[int], node: int, ancestor: int) -> bool:
    while node not in (ancestor, 0):
        node = parents[node]
    return node == ancestor


def test_words_agree_with_lexbor_on_random_markup():
    """The words of a page and how often each stands there; lexbor is an independent reading of HTML5."""
    draw = random.Random(5)
    names = [
        "p",
        "div",
        "b",
        "li",
        "ul",
        "td",
        "tr",
        "table",
        "h2",
        "pre",
        "a",
        "span",
        "blockquote",
        "script",
    ]
    for _ in range(150):
        parts = []
        for number in range(draw.randrange(60)):
            name = draw.choice(names)
            parts.append(draw.choice(["<{}>", "</{}>", "<{} class='x > y'>", "<{} id=z>"]).format(name))
            if name != "script":
                parts.append(f" w{number} ")
        source = "".join(parts)
        assert _words(source) == _lexbor_words(source), source


def _words(source: str) -> Counter[str]:
    return Counter(re.findall(r"\w+", " ".join(block.text for block in read_blocks(source).blocks)))


def _lexbor_words(source: str) -> Counter[str]:
    parser = LexborHTMLParser(source)
    parser.strip_tags(DROPPED, recursive=True)
    return (
        Counter(re.findall(r"\w+", parser.body.text(separator=" "))) if parser.body is not None else Counter()
    )


def test_a_page_beyond_the_limits_is_refused():
    with pytest.raises(Unusable, match="blocks of text"):
        read_blocks("<p>x" * (MOST_BLOCKS + 1))


@pytest.mark.parametrize(
    "piece", ["<div>", "<b id=1>", "<ul><li>", "<table><tr><td>", "<blockquote>", "<article>"]
)
def test_nesting_depth_is_free(piece):
    source = piece * 30_000 + "the text"
    assert read_blocks(source).blocks[-1].text == "the text"
