"""Do-not-train signals: what counts, and what must not be mistaken for one."""

from __future__ import annotations

import json

import pytest

from ownlm.data.crawl import robots, signals


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ([("X-Robots-Tag", "noai, noimageai")], "noai"), ([("x-robots-tag", "NOINDEX")], "noindex"),
        ([("X-Robots-Tag", "none")], "noindex"), ([("X-Robots-Tag", "ownlm: noai")], "noai"),
        ([("X-Robots-Tag", "max-snippet: 5, noai")], "noai"), ([("TDM-Reservation", "1")], "tdm-reservation"),
        ([("Content-Usage", "train-ai=n")], "content-usage"), ([("Content-Signal", "search=yes,ai-train=no")], "content-signal"),
        ([("Content-Usage", "bots=n")], "content-usage"), ([("x_robots_tag", "noai")], "noai"),
        ([("X-Robots-Tag", "otherbot: noai, noindex")], ""), ([("X-Robots-Tag", "nofollow, noarchive")], ""),
        ([("X-Robots-Tag", "unavailable_after: 25 Jun 2010 15:00:00 PST")], ""), ([("TDM-Reservation", "0")], ""),
        ([("Content-Usage", "bots=n, train-ai=y")], ""), ([("Content-Signal", "search=no, ai-train=yes")], ""),
        ([("Content-Type", "noai")], ""),
    ],
)  # fmt: skip
def test_headers(headers: list[tuple[str, str]], reason: str) -> None:
    found = signals.of_headers(headers)
    assert found.startswith(reason) and bool(found) == bool(reason)


@pytest.mark.parametrize(
    ("source", "against"),
    [
        ('<meta name="robots" content="noai">', True), ("<META CONTENT='index, NoAI' NAME=Robots >", True),
        ('<meta name="ownlm" content="noindex"/>', True), ('<meta name="tdm-reservation" content="1">', True),
        ('<meta charset=x><p>text<meta name=robots content=noimageai>', True),
        ('<meta name="robots" content="no&#97;i">', True), ('<meta title="a > b" name="robots" content="noai">', True),
        ('<meta name="googlebot" content="noindex">', False), ('<meta name="robots" content="index,follow">', False),
        ('<!-- <meta name="robots" content="noai"> -->', False), ('<script>"<meta name=robots content=noai>"</script>', False),
        ('<meta name="description" content="noai noindex">', False), ("&lt;meta name=robots content=noai&gt;", False),
        ('<meta name="tdm-reservation" content="0">', False), ("", False), ("<meta", False), ('<meta name="robots', False),
    ],
)  # fmt: skip
def test_html(source: str, against: bool) -> None:
    assert bool(signals.of_html(source)) is against


def test_tdmrep_first_location_that_matches_decides() -> None:
    rules = json.dumps([
        {"location": "/open/*", "tdm-reservation": 0}, {"location": "/*", "tdm-reservation": 1}, "x", {"y": 1},
    ])  # fmt: skip
    assert not signals.of_tdmrep(rules, "/open/a") and signals.of_tdmrep(rules, "/b")
    for damaged in ("", "{", "[" * 100_000, "{}", "[1]", "null"):
        assert signals.of_tdmrep(damaged, "/x") == ""


def test_robots_and_ai_txt() -> None:
    rules = robots.parse("User-agent: *\nContent-Signal: ai-train=no\n")
    assert signals.of_robots(rules, "/x")
    assert not signals.of_robots(robots.parse("User-agent: GPTBot\nContent-Signal: ai-train=no\n"), "/x")
    assert signals.of_ai_txt(robots.parse("User-Agent: *\nDisallow: *.txt\nAllow: /\n"), "/a.txt")
