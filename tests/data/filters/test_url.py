"""URL filter: list formats, tricks that must not get past it, and neighbours that must."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from ownlm.data.filters.domains import entries, of_files, parents
from ownlm.data.filters.url import UrlFilter
from ownlm.data.flow.step import run_alone
from ownlm.errors import DataError
from ownlm.records import Document, Drop


def reason(step: UrlFilter, url: str, source: str = "file#1") -> str:
    (out,) = run_alone(step, [Document("d", "text", source, meta={"url": url} if url else {})])
    assert isinstance(out, (Document, Drop))
    return out.reason if isinstance(out, Drop) else ""


@pytest.mark.parametrize(
    "url",
    ["http://evil.com/", "https://www.evil.com/x", "http://a.b.c.EVIL.com:8080/", "http://good.org@evil.com/",
     "http://evil.com./", "http://%65vil.com", "http://evil。com/", "http:\\\\evil.com", "http://good.org:80@evil.com",
     "http://xn--bse-sna.example/", "http://böse.example/", "http://BÖSE.example/x", "http://0x0a.0.0.5/", "http://167772165/"],
)  # fmt: skip
def test_spellings_of_blocked_hosts(tmp_path: Path, url: str) -> None:
    blocked = tmp_path / "list.txt"
    blocked.write_text("# list\nevil.com\nBöse.example\n10.0.0.5\n")
    assert reason(UrlFilter(block=(blocked,)), url).startswith("blocked domain: ")


@pytest.mark.parametrize(
    "url",
    ["http://notevil.com/", "http://evil.com.good.org/", "http://evil.co/", "http://good.org/evil.com", "http://com/",
     "http://evil.com@good.org/", "http://good.org/?u=http://evil.com/", "http://110.0.0.5/"],
)  # fmt: skip
def test_neighbours_of_blocked_hosts_pass(tmp_path: Path, url: str) -> None:
    blocked = tmp_path / "list.txt"
    blocked.write_text("evil.com\n10.0.0.5\n")
    assert reason(UrlFilter(block=(blocked,)), url) == ""


def test_three_forms_of_list_files(tmp_path: Path) -> None:
    (tmp_path / "hosts").write_text(
        "127.0.0.1 localhost\n::1 localhost ip6-localhost\n0.0.0.0 ads.example tracker.example # two\n0.0.0.0 0.0.0.0\n"
    )
    (tmp_path / "domains").write_text(
        "*.star.example\n.dot.example\nhttps://part.example/forum/\n\n! comment\n"
    )
    (tmp_path / "adblock").write_text(
        "[Adblock Plus 2.0]\n||block.example^\n||opts.example^$third-party\n||script.example^$script\n"
        "@@||good.block.example^\n||path.example/bad/\nnews.example##.banner\n"
    )
    step = UrlFilter(block=(tmp_path / "hosts", tmp_path / "domains", tmp_path / "adblock"))
    gone = ["ads.example", "a.tracker.example", "x.star.example", "star.example", "dot.example", "part.example/forum/1",
            "block.example", "opts.example", "path.example/bad/x", "www.path.example/bad/"]  # fmt: skip
    kept = ["localhost", "part.example/", "script.example", "good.block.example", "a.good.block.example",
            "path.example/good", "news.example", "example"]  # fmt: skip
    assert [bool(reason(step, f"http://{place}")) for place in gone] == [True] * len(gone)
    assert [reason(step, f"http://{place}") for place in kept] == [""] * len(kept)


def test_lines_that_are_no_rule_are_an_error_unless_told(tmp_path: Path) -> None:
    (tmp_path / "list").write_text("good.example\nthis is prose\n")
    with pytest.raises(DataError, match="1 lines") as caught:
        reason(UrlFilter(block=(tmp_path / "list",)), "http://x.y/")
    assert "list:2" in str(caught.value)
    assert reason(UrlFilter(block=(tmp_path / "list",), unreadable="ignore"), "http://good.example/")
    with pytest.raises(DataError, match="cannot be read"):
        reason(UrlFilter(block=(tmp_path / "none",)), "http://x.y/")


def test_allow_lists_patterns_and_words() -> None:
    step = UrlFilter(block_domains=("bad.example",), allow_domains=("ok.bad.example",), patterns=("/tag/", "*.php$", "https://x.example/a*z$"),
                     words=("casino",), soft_words=("free", "win", "cash"), parts=("porn",))  # fmt: skip
    assert reason(step, "http://ok.bad.example/casino") == ""
    assert reason(step, "http://x.example/a/tag/b") == "blocked URL pattern: /tag/"
    assert reason(step, "http://x.example/a.php") and not reason(step, "http://x.example/a.php?x")
    assert reason(step, "https://x.example/abz") and not reason(step, "http://x.example/abz")
    assert reason(step, "http://x.example/best-Casino_games") and not reason(step, "http://x.example/casinos")
    assert reason(step, "http://free.example/cash") and not reason(step, "http://free.example/free")
    assert reason(step, "http://x.example/superpornstar") and reason(step, "http://x.example/%70orn")
    only = UrlFilter(allow_domains=("a.example",), only_allowed=True)
    assert reason(only, "http://b.example/") == "domain not allowed: b.example" and not reason(
        only, "http://w.a.example/"
    )


def test_documents_without_a_url() -> None:
    assert reason(UrlFilter(block_domains=("evil.com",)), "") == ""
    assert reason(UrlFilter(without_url="drop"), "") == "no URL"
    assert reason(UrlFilter(block_domains=("evil.com",)), "", source="https://evil.com/x")
    assert reason(UrlFilter(), "http://[bad/").startswith("unreadable URL: ")


def test_hashed_lookup_agrees_with_a_set_of_names() -> None:
    rng = random.Random(3)
    words = [f"w{n}" for n in range(40)]
    listed = {".".join(rng.choices(words, k=rng.randint(2, 3))) for _ in range(200)}
    loaded = of_files((), tuple(sorted(listed)))
    from ownlm.data.crawl.urls import canonical

    for _ in range(2000):
        host = ".".join(rng.choices(words, k=rng.randint(1, 4)))
        expected = next((name for name in parents(host) if name in listed), "")
        assert loaded.match(canonical(f"http://{host}/")) == expected
    assert entries("0.0.0.0 a.b c.d") == [("a.b", "", False), ("c.d", "", False)]
