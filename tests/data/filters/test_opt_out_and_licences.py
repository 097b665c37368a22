"""Opt-out and licence steps: what the reader kept, what raw HTML says, and what stays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ownlm.data.filters.licence_filter import Licences, of_html, of_url
from ownlm.data.filters.opt_out import OptOut
from ownlm.data.filters.spdx import holds
from ownlm.data.flow.step import Note, run_alone
from ownlm.records import Document, Drop


def page(text: str = "text", licence: str = "unknown", **meta: Any) -> Document:
    return Document("d", text, "crawl.warc.gz#3", licence, meta)


@pytest.mark.parametrize(
    ("document", "dropped"),
    [
        (page(x_robots_tag="noai"), True), (page(x_robots_tag=["index", "noimageai"]), True), (page(tdm_reservation=1), True),
        (page(tdm_reservation="1"), True), (page(tdm_reservation=True), True), (page(content_signal="ai-train=no"), True),
        (page('<meta name="robots" content="noai">', format="html"), True),
        (page('How to write <meta name="robots" content="noai">', format="markdown"), False),
        (page(x_robots_tag="otherbot: noai"), False), (page(tdm_reservation=0), False), (page(), False),
    ],
)  # fmt: skip
def test_opt_out(document: Document, dropped: bool) -> None:
    (out,) = run_alone(OptOut(), [document])
    assert isinstance(out, Drop) is dropped
    if isinstance(out, Drop):
        assert out.reason.startswith("opted out: ")
    else:
        assert out is document


def test_opt_out_by_robots_files(tmp_path: Path) -> None:
    (tmp_path / "a.example.txt").write_text("User-agent: *\nDisallow: /no\nContent-Usage: /art train-ai=n\n")
    (tmp_path / "b.example").mkdir()
    (tmp_path / "b.example" / "robots.txt").write_text("User-agent: ownlm\nDisallow: /\n")
    step = OptOut(robots=(tmp_path / "a.example.txt", tmp_path / "b.example" / "robots.txt"))
    urls = [
        "http://a.example/no/x",
        "http://a.example/art/x",
        "http://a.example/yes",
        "https://B.example/x",
        "http://c.example/no",
    ]
    out = run_alone(step, [page(url=url) for url in urls])
    assert [isinstance(one, Drop) for one in out] == [True, True, False, True, False]
    (tmp_path / "robots.txt").write_text("User-agent: *\nDisallow: /no\n")
    assert isinstance(run_alone(OptOut(robots=(tmp_path / "robots.txt",)), [page(url=urls[4])])[0], Drop)


def test_opt_out_of_other_directives_only() -> None:
    step = OptOut(directives=("noai",))
    assert isinstance(run_alone(step, [page(x_robots_tag="noindex")])[0], Document)
    assert isinstance(run_alone(step, [page(x_robots_tag="NOAI")])[0], Drop)


@pytest.mark.parametrize(
    ("url", "spdx"),
    [
        ("https://creativecommons.org/licenses/by-nc-sa/3.0/us/", "CC-BY-NC-SA-3.0"),
        ("http://www.creativecommons.org/licenses/BY/4.0", "CC-BY-4.0"), ("//creativecommons.org/publicdomain/zero/1.0/", "CC0-1.0"),
        ("https://creativecommons.org/publicdomain/mark/1.0/", "CC-PDM-1.0"), ("https://opensource.org/licenses/MIT", "MIT"),
        ("https://www.apache.org/licenses/LICENSE-2.0.html", "Apache-2.0"), ("https://evil.org/creativecommons.org/licenses/by/4.0/", ""),
        ("https://creativecommons.org.evil.org/licenses/by/4.0/", ""), ("https://creativecommons.org/licenses/", ""), ("", ""),
    ],
)  # fmt: skip
def test_licence_addresses(url: str, spdx: str) -> None:
    assert of_url(url) == spdx


def test_licence_links_are_recorded_and_judged() -> None:
    by = '<a rel="license noopener" href="https://creativecommons.org/licenses/by/4.0/">CC</a>'
    nc = "<link rel=license href=//creativecommons.org/licenses/by-nc/4.0/>"
    other = '<a href="https://creativecommons.org/licenses/by/4.0/">not the licence of this page</a>'
    assert (
        of_html(by + other) == "CC-BY-4.0"
        and of_html(other) == ""
        and of_html(by + nc) == "CC-BY-4.0 AND CC-BY-NC-4.0"
    )
    note, kept = run_alone(Licences(deny=("CC-*-NC-*",)), [page(by, format="html")])
    assert isinstance(note, Note) and isinstance(kept, Document) and kept.licence == "CC-BY-4.0"
    out = run_alone(Licences(deny=("CC-*-NC-*",)), [page(by + nc, format="html")])[-1]
    assert isinstance(out, Drop) and out.reason == "licence not allowed: CC-BY-4.0 AND CC-BY-NC-4.0"
    assert run_alone(Licences(), [page(nc, "MIT", format="html")]) == [
        page(nc, "MIT", format="html")
    ]  # stated stays


@pytest.mark.parametrize(
    ("licence", "kept"),
    [
        ("MIT", True), ("mit", True), ("GPL-3.0", False), ("MIT OR GPL-3.0", True), ("MIT AND GPL-3.0", False),
        ("GPL-3.0 OR MIT AND Apache-2.0", True), ("(GPL-3.0 OR MIT) AND GPL-2.0", False), ("CC-BY-4.0", True),
        ("CC-BY-NC-4.0", False), ("CC-BY-NC-SA-4.0", False), ("CC-BY-SA-4.0", True), ("Apache-2.0 WITH LLVM-exception", True),
        ("unknown", False), ("", False), ("LicenseRef-COPYING", False), ("MIT (", False), ("OR", False), ("(" * 500, False),
    ],
)  # fmt: skip
def test_licence_expressions(licence: str, kept: bool) -> None:
    step = Licences(allow=("MIT", "Apache-2.0", "CC-BY-*"), deny=("CC-BY-NC-*",), unknown="drop")
    (out,) = run_alone(step, [page(licence=licence)])
    assert isinstance(out, Document) is kept


def test_expression_order_against_python() -> None:
    import random

    rng = random.Random(1)
    for _ in range(500):
        tokens = ["T" if rng.random() < 0.5 else "F"]
        for _ in range(rng.randint(0, 5)):
            tokens += [rng.choice(["and", "or"]), rng.choice("TF")]
        expected = eval(" ".join({"T": "True", "F": "False"}.get(token, token) for token in tokens))  # noqa: S307
        assert (
            holds(
                " ".join(token if len(token) == 1 else token.upper() for token in tokens),
                lambda name: name == "T",
            )
            is expected
        )
