"""Blocks to Markdown, and the facts that a page states about itself."""

from __future__ import annotations

from ownlm.data.extract.blocks import read_blocks
from ownlm.data.extract.metadata import page_facts
from ownlm.data.extract.write import markdown

PAGE = """<h1>Guide</h1><p>First   <b>bold</b> and <code>code()</code>.</p>
<ul><li>one<ul><li>inner</li></ul></li><li>two</li></ul><ol start="3"><li>three<p>more of it</p></li><li>four</li></ol>
<pre><code>def f():
    return "```"
</code></pre><table><tr><th>a</th><th>b</th></tr><tr><td>1</td><td>x|y</td></tr></table>
<dl><dt>term</dt><dd>meaning</dd></dl><blockquote><p>said</p><ul><li>listed</li></ul></blockquote>"""

TEXT = """# Guide

First bold and `code()`.

- one
  - inner
- two
3. three

  more of it

4. four

````
def f():
    return "```"
````

| a | b |
| --- | --- |
| 1 | x\\|y |

term
: meaning

> said

> - listed
"""


def written(source: str) -> str:
    blocks = read_blocks(source).blocks
    return markdown(blocks, range(len(blocks)))


def test_the_structure_is_written_as_markdown():
    assert written(PAGE) == TEXT


def test_only_the_chosen_blocks_are_written():
    blocks = read_blocks(PAGE).blocks
    assert markdown(blocks, [0, 3]) == "# Guide\n\n  - inner\n"
    assert markdown(blocks, []) == ""


def test_deep_lists_and_quotations_stay_narrow():
    assert len(max(written("<ul><li>x" * 5_000).split("\n"), key=len)) < 20
    assert len(written("<blockquote>" * 5_000 + "x")) < 20


def test_facts_of_the_page():
    source = """<html lang="de-AT"><head><title>Titel &amp; mehr | Seite</title>
    <meta property="og:title" content="Titel &amp; mehr"><meta name=author content="https://x.example/profile">
    <script type="application/ld+json">{"@graph": [{"@type": ["NewsArticle"], "datePublished": "2024-02-03T04:05:06Z",
    "author": [{"name": "Ada  L."}]}, {"@type": "Person", "name": "no"}]}</script></head></html>"""
    assert page_facts(read_blocks(source).head) == {
        "title": "Titel & mehr", "date": "2024-02-03", "author": "Ada L.", "declared_language": "de-AT",
    }  # fmt: skip


def test_nothing_is_made_up_from_damaged_facts():
    source = (
        "<html lang='<x>'><title> </title><meta name=date content='yesterday'><meta name=author content='@me'>"
        '<script type=\'application/ld+json\'>{"@type": "Article", "headline": [1, null, {}]</script>'
        "<script type='application/ld+json'>" + "[" * 100_000 + "</script>"
    )
    assert page_facts(read_blocks(source).head) == {}
