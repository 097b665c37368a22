"""The main text of a page: what is kept, in which form, and what is left out."""

from __future__ import annotations

from ownlm.data.html import main_text

PAGE = """<!doctype html><html><head><title>Guide &mdash; Site</title><style>x{}</style></head><body>
<header>SITE HEADER</header><nav>Home | About</nav>
<main><header><h1>Guide<a class="headerlink" href="#">¶</a></h1></header>
<p>First   paragraph with <b>bold</b>, <code>code()</code> and caf&eacute;.<script>alert(1)</script></p>
<ul><li>one<ul><li>inner</li></ul></li><li>two</li></ul>
<ol start="3"><li>three</li><li>four</li></ol>
<pre><code>def f():
    return 1
</code></pre>
<table><tr><th>a</th><th>b</th></tr><tr><td>1</td><td><p>2</p></td></tr></table>
<h2>Next</h2><dl><dt>term</dt><dd>meaning</dd></dl>
<blockquote><p>said</p></blockquote>
<form><button>Send</button></form><aside>ADVERT</aside>
</main><footer>COPYRIGHT</footer></body></html>"""


def test_structure_is_kept_and_boilerplate_is_not():
    page = main_text(PAGE)
    assert page.title == "Guide — Site"
    assert page.text == (
        "# Guide\n\nFirst paragraph with bold, `code()` and café.\n\n- one\n  - inner\n- two\n\n3. three\n4. four\n\n"
        "```\ndef f():\n    return 1\n```\n\na | b\n1 | 2\n\n## Next\n\nterm\n\n    meaning\n\n> said\n"
    )


def test_a_page_without_main_and_a_broken_page():
    assert main_text("<p>unclosed <b>bold<p>second &lt;tag&gt;").text == "unclosed bold\n\nsecond <tag>\n"
    assert main_text("").text == ""
    assert main_text("<title>only</title>").text == ""


def test_a_small_teaser_called_article_is_not_the_main_text():
    page = main_text("<body><article>short</article><div>" + "the long real text " * 20 + "</div>")
    assert "real text" in page.text
