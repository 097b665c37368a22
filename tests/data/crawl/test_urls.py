"""One spelling per URL: tricks that must not change the host, and differences that must stay."""

from __future__ import annotations

import pytest
from growth import check_growth
from hypothesis import given, settings
from hypothesis import strategies as st

from ownlm.data.crawl.links import links, locations
from ownlm.data.crawl.markup import tags
from ownlm.data.crawl.urls import canonical


@pytest.mark.parametrize(
    "text",
    ["http://evil.com/", "HTTP://EVIL.COM", "http://evil.com.", "http://good.org@evil.com/", "http://a:b@evil.com:80/",
     "http:\\\\evil.com\\", "http:/\\evil.com/", "http://e\tv\nil.com/", "  http://evil.com/#top", "http://%65vil.com/",
     "http://evil。com/", "http://ｅｖｉｌ.com/", "http://ev\u00adil.com/", "http://evil.com/a/../", "http://evil.com/./",
     "http://evil.com/?", "http://evil.com/?utm_source=x&gclid=3", "http:///evil.com/", "http://good.org:x@evil.com/"],
)  # fmt: skip
def test_spellings_of_one_page(text: str) -> None:
    assert str(canonical(text)) == "http://evil.com/"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://Bücher.example:443/ä?ü", "https://xn--bcher-kva.example/%C3%A4?%C3%BC"),
        ("http://xn--bcher-kva.example/", "http://xn--bcher-kva.example/"),
        ("http://a.b:8080/%7euser/%2f%C3%A4", "http://a.b:8080/~user/%2F%C3%A4"),
        ("http://a.b/x?b=2&a=1&utm_medium=y", "http://a.b/x?b=2&a=1"),
        ("http://2130706433/", "http://127.0.0.1/"), ("http://0x7f.1/", "http://127.0.0.1/"),
        ("http://017700000001", "http://127.0.0.1/"), ("http://[0:0:0:0:0:0:0:1]:80/", "http://[::1]/"),
        ("http://a.b/c/../../d/.", "http://a.b/d/"), ("http://a.b/a b", "http://a.b/a%20b"),
        ("http://a.b/%zz", "http://a.b/%zz"),
    ],
)  # fmt: skip
def test_canonical_forms(text: str, expected: str) -> None:
    assert str(canonical(text)) == expected


@pytest.mark.parametrize(
    "text",
    ["ftp://a.b/", "javascript:alert(1)", "mailto:a@b.c", "example.org", "http://", "http:///", "http://a b/",
     "http://a.b:99999/", "http://a.b:x/", "http://[::1/", "http://256.1.1.1/", "http://1.2.3.4.5/", "http://a..b/",
     "http://" + "a" * 64 + ".com/", "http://a%00b/", "http://" + "a" * 9000],
)  # fmt: skip
def test_what_is_no_url(text: str) -> None:
    with pytest.raises(ValueError):
        canonical(text)


@pytest.mark.parametrize(
    ("reference", "expected"),
    [  # RFC 3986, section 5.4, over http://a/b/c/d?q
        ("g", "/b/c/g"), ("./g", "/b/c/g"), ("g/", "/b/c/g/"), ("/g", "/g"), ("?y", "/b/c/d?y"), ("g?y", "/b/c/g?y"),
        ("#s", "/b/c/d?q"), ("", "/b/c/d?q"), (".", "/b/c/"), ("./", "/b/c/"), ("..", "/b/"), ("../g", "/b/g"),
        ("../..", "/"), ("../../../g", "/g"), ("/./g", "/g"), ("g.", "/b/c/g."), ("..g", "/b/c/..g"),
        ("./../g", "/b/g"), ("g;x=1/../y", "/b/c/y"), ("http:g", "/b/c/g"), ("http://a/x", "/x"),
    ],
)  # fmt: skip
def test_references_of_rfc_3986(reference: str, expected: str) -> None:
    assert str(canonical(reference, canonical("http://a/b/c/d?q"))) == "http://a" + expected
    assert str(canonical("//g/x", canonical("https://a/b"))) == "https://g/x"


@settings(max_examples=300, derandomize=True, deadline=None)
@given(st.text(max_size=60), st.sampled_from(["http://", "https://a.b/", "http://a.b/?", ""]))
def test_canonical_is_stable_and_safe(text: str, front: str) -> None:
    try:
        url = canonical(front + text, canonical("http://parent.example/x/y"))
    except ValueError:
        return
    again = canonical(str(url))
    assert again == url
    assert str(url).isascii() and not any(character <= " " or character == "#" for character in str(url))


def test_links_and_sitemaps() -> None:
    page = canonical("http://a.b/dir/page")
    source = """<!-- <a href=/hidden> --><script>'<a href="/script">'</script><base href="/base/">
    <a title="a > b" href="one">x</a><A HREF='two#x'>y</A><a href=three rel="nofollow ugc">z</a><area href="/four?a=1&amp;b=2">
    <a href="javascript:x()"><a href="one"><a data-x href = "mailto:x@y.z"><a name=top>"""
    assert [str(url) for url in links(source, page)[0]] == [
        "http://a.b/base/one", "http://a.b/base/two", "http://a.b/four?a=1&b=2",
    ]  # fmt: skip
    assert links('<meta name="robots" content="nofollow"><a href=x>', page)[0] == []
    assert locations(
        b"<urlset><url><loc> http://a/?x&amp;y </loc></url><image:loc>i</image:loc></urlset>"
    ) == (["http://a/?x&y", "i"], False)
    assert locations(b"<sitemapindex><sitemap><loc><![CDATA[http://a/s]]></loc>")[1] is True
    assert locations(b"http://a/1\nhttp://a/2\n") == (["http://a/1", "http://a/2"], False)


@pytest.mark.parametrize(
    "hostile",
    [
        "<a ",
        "<a href='",
        '<a href="x" ',
        "<a b=c",
        "<!--",
        "<script",
        "<script>",
        "<meta content=",
        "<a =",
        "<a/",
        "< a",
        "<a\n",
    ],
)
def test_tags_take_linear_time(hostile: str) -> None:
    import time

    def seconds(num_bytes: int) -> float:
        text = hostile * (num_bytes // len(hostile))
        return min(_timed(text) for _ in range(3))

    def _timed(text: str) -> float:
        began = time.process_time()
        for _ in tags(text, ("a", "meta")):
            pass
        return time.process_time() - began

    check_growth(seconds, 1 << 14, 1 << 18, most=64)
