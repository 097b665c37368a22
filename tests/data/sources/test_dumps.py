"""MediaWiki exports and question-and-answer dumps."""

from __future__ import annotations

import bz2
import gzip
import time
from xml.sax.saxutils import escape, quoteattr

import pytest
from growth import check_growth
from reading import read, reasons

from ownlm.data.sources import wikitext

ARTICLE = """{{Infobox city|name=X|{{nested|a}}}}
'''Xtown''' (; {{IPA|x}}) is a [[City|town]] in [[Yland]].<ref name="a">A book, p. 5</ref> It has 3&nbsp;km² &amp; more.
<!-- a comment with [[brackets -->
[[File:X.jpg|thumb|A [[photo]] of it]]
== History ==
Founded by [[John Smith (mayor)|]]. See [https://example.org the site] and [[Star Wars: A New Hope]].
* first ''item''
** second item
{| class="wikitable"
|-
| cell || {{x}}
|}
After the table.<ref name="b" /> Formula <math>x^2</math> gone, <code>code</code> kept.
=== Empty ===
== References ==
{{reflist}}
[[Category:Towns]]
[[de:Xstadt]]
"""
PLAIN = """Xtown is a town in Yland. It has 3 km² & more.

## History

Founded by John Smith. See the site and Star Wars: A New Hope.
- first item
  - second item

After the table. Formula gone, code kept.
"""


def test_wikitext_to_plain_text():
    assert wikitext.plain(ARTICLE) == PLAIN


@pytest.mark.parametrize(
    ("markup", "text"),
    [
        ("a {{b [[c}} d", "a d\n"),
        ("a [[b {{c]] d}} e", "a b e\n"),
        ("a [[b]] c]] d", "a b c]] d\n"),
        ("a {{{b}}} c", "a c\n"),
        ("a [b] c", "a [b] c\n"),
        ("a <ref>x [[y</ref> b", "a b\n"),
        ("a <nowiki>b</nowiki> c < d > e", "a b c < d > e\n"),
        ("__TOC__", ""),
        ("a <!-- b", "a\n"),
        ("'''''a''''' ''b''", "a b\n"),
        ("{{{a|{{b}}}}} [[c|{{{d}}}e]]", "e\n"),
        ("= T =\ntext", "## T\n\ntext\n"),
        ("{{a", ""),
    ],
)
def test_wikitext_corners(markup, text):
    assert wikitext.plain(markup) == text


def dump(pages):
    body = "".join(
        f"<page><title>{escape(title)}</title><ns>{ns}</ns><id>{number}</id>"
        + (f"<redirect title={quoteattr(redirect)} />" if redirect else "")
        + f"<revision><id>9{number}</id><timestamp>2024-01-01T00:00:00Z</timestamp>"
        f'<text xml:space="preserve">{escape(text)}</text></revision></page>\n'
        for number, (title, ns, redirect, text) in enumerate(pages, 1)
    )
    site = "<siteinfo><sitename>Wikipedia</sitename><base>https://en.wikipedia.org/wiki/Main_Page</base></siteinfo>"
    root = '<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.11/" version="0.11" xml:lang="en">'
    return f"{root}\n{site}\n{body}</mediawiki>\n".encode()


PAGES = [
    ("X town", 0, "", ARTICLE),
    ("Talk:X", 1, "", "talk"),
    ("Old X", 0, "X town", "#REDIRECT [[X town]]"),
    ("Empty", 0, "", " "),
    ("Only", 0, "", "{{template}}"),
    ("Zed & co", 0, "", "Zed is <b>bold</b>."),
]


@pytest.mark.parametrize("suffix", ["", ".gz", ".bz2"])
def test_a_wikipedia_dump(tmp_path, suffix):
    pack = {"": bytes, ".gz": gzip.compress, ".bz2": bz2.compress}[suffix]
    path = tmp_path / f"enwiki-pages-articles.xml{suffix}"
    path.write_bytes(pack(dump(PAGES)))
    documents, drops = read(path)
    assert [document.meta["title"] for document in documents] == ["X town", "Zed & co"]
    first = documents[0]
    assert first.text == f"# X town\n\n{PLAIN}" and first.licence == "CC-BY-SA-4.0"
    assert first.source == "https://en.wikipedia.org/wiki/X_town" and first.meta["page"] == "1"
    name = path.name
    assert reasons(drops) == {
        f"{name}#page2": "not an article: namespace 1", f"{name}#page3": "redirect", f"{name}#page4": "empty",
        f"{name}#page5": "no text in the page",
    }  # fmt: skip


def test_a_cut_multistream_dump_gives_the_pages_before_the_cut(tmp_path):
    data = dump(PAGES * 200)
    packed = b"".join(bz2.compress(data[at : at + 20_000]) for at in range(0, len(data), 20_000))
    (tmp_path / "a.xml.bz2").write_bytes(packed)
    whole, _ = read(tmp_path / "a.xml.bz2")
    assert len(whole) == 400
    (tmp_path / "a.xml.bz2").write_bytes(packed[: len(packed) // 2])
    documents, drops = read(tmp_path / "a.xml.bz2")
    assert 100 < len(documents) < 300 and documents == whole[: len(documents)]
    assert drops[-1].reason == "truncated compressed file"


POSTS = [
    {"Id": 1, "PostTypeId": 1, "AcceptedAnswerId": 5, "Score": 7, "Title": "How?", "Tags": "<python><list>",
     "Body": "<p>How is <b>it</b> done?</p>", "CreationDate": "2020-01-01", "ContentLicense": "CC BY-SA 4.0"},
    {"Id": 2, "PostTypeId": 1, "Score": 0, "Title": "Nobody knows", "Body": "<p>?</p>"},
    {"Id": 3, "PostTypeId": 2, "ParentId": 1, "Score": 9, "Body": "<p>The popular way.</p>",
     "ContentLicense": "CC BY-SA 3.0"},
    {"Id": 4, "PostTypeId": 2, "ParentId": 99, "Score": 1, "Body": "<p>lost</p>"},
    {"Id": 5, "PostTypeId": 2, "ParentId": 1, "Score": 2, "Body": "<pre><code>x = 1\n</code></pre>"},
    {"Id": 6, "PostTypeId": 4, "Body": "wiki"},
    {"Id": "x", "PostTypeId": 1, "Body": "bad"},
    {"Id": 7, "PostTypeId": 2, "ParentId": 1, "Score": -1, "Body": "<p>bad</p>"},
]  # fmt: skip


def posts(rows):
    lines = [
        "  <row " + " ".join(f"{key}={quoteattr(str(value))}" for key, value in row.items()) + " />"
        for row in rows
    ]
    return ('<?xml version="1.0" encoding="utf-8"?>\n<posts>\n' + "\n".join(lines) + "\n</posts>").encode()


def test_a_question_with_its_answers_is_one_document(tmp_path):
    (tmp_path / "Posts.xml").write_bytes(posts(POSTS))
    ((document,), drops) = read(tmp_path / "Posts.xml")
    assert document.text.startswith("# How?\n\nHow is it done?\n\n## Accepted answer\n\n")
    assert document.text.index("x = 1") < document.text.index("popular") < document.text.index("bad")
    assert document.meta["answer_scores"] == [2, 9, -1] and document.meta["accepted"] is True
    assert document.meta["tags"] == ["python", "list"] and document.meta["score"] == 7
    assert document.licence == "CC-BY-SA-3.0 AND CC-BY-SA-4.0"
    assert reasons(drops) == {
        "Posts.xml#row6": "not a question or answer: post type 4",
        "Posts.xml#row7": "bad row: its Id, ParentId or Score is no number",
        "Posts.xml#question2": "question without an answer",
        "Posts.xml#answer4": "answer without its question",
    }


def test_only_the_best_answers_are_kept_and_the_rest_counted(tmp_path):
    answers = [
        {"Id": n, "PostTypeId": 2, "ParentId": 1, "Score": n, "Body": f"<p>a{n}</p>"} for n in range(2, 12)
    ]
    (tmp_path / "Posts.xml").write_bytes(posts([*reversed(answers), {**POSTS[0], "AcceptedAnswerId": 3}]))
    ((document,), drops) = read(tmp_path / "Posts.xml")
    assert document.meta["answer_scores"] == [3, 11, 10, 9, 8] and len(drops) == 5


def test_other_xml_and_damaged_dumps(tmp_path):
    (tmp_path / "a.xml").write_text("<rss><channel/></rss>")
    (tmp_path / "b.xml").write_bytes(posts(POSTS)[:-40])
    documents, drops = read(tmp_path)
    assert len(documents) == 1
    assert reasons(drops)["a.xml"] == "XML that is neither a MediaWiki export nor a Q&A dump"
    assert reasons(drops)["b.xml"].startswith("bad XML")


@pytest.mark.parametrize(
    "declaration", ['SYSTEM "posts.dtd"', "[]", '[<!ENTITY a "b">]', '[<!ENTITY % p SYSTEM "x"> %p;]']
)
def test_a_dtd_of_any_kind_is_refused(tmp_path, declaration):
    (tmp_path / "a.xml").write_bytes(f"<!DOCTYPE posts {declaration}>".encode() + posts(POSTS)[39:])
    assert read(tmp_path)[1][0].reason == "XML with a DTD or entities of its own is refused"


def seconds(text):
    """The fastest of three: what the machine does beside is not the function's."""
    times = []
    for _ in range(3):
        start = time.process_time()
        wikitext.plain(text)
        times.append(time.process_time() - start)
    return min(times)


UNITS = ["[[", "{{", "{|", "[[a|", "[[a]]", "{{a}}", "<ref>", "<ref/>", "''", "=", "\n= ", "\n* ", "(", "( ;", "<!--",
         "[http://a ", "]]", "}}", "|}", "&amp;", "<b ", "__A", "\n", " ", "\n## a\n", "== a ==\n", "{{[[", "-", "[[a:"]  # fmt: skip


@pytest.mark.parametrize("unit", ["[[a|", "{{[[", "== a ==\n", "( "])
def test_wikitext_takes_linear_time(unit):
    check_growth(lambda count: seconds(unit * count), 1 << 10, 1 << 14, most=64, floor=0.002)


@pytest.mark.slow
@pytest.mark.parametrize("unit", UNITS)
def test_wikitext_takes_linear_time_at_full_size(unit):
    small = seconds((unit * (1 << 20))[: 1 << 18])
    assert seconds((unit * (1 << 20))[: 1 << 20]) <= 5 * max(small, 0.02)
