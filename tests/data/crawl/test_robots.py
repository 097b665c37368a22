"""RFC 9309: the examples of its text, the published table of path matching, and what the RFC leaves out."""

from __future__ import annotations

import time

import pytest

from ownlm.data.crawl.robots import matches, parse

RFC_5_1 = """User-Agent: *
Disallow: *.gif$
Disallow: /example/
Allow: /publications/

User-Agent: foobot
Disallow:/
Allow:/example/page.html
Allow:/example/allowed.gif

User-Agent: barbot
User-Agent: bazbot
Disallow: /example/page.html

User-Agent: quxbot
"""


@pytest.mark.parametrize(
    ("agent", "path", "allowed"),
    [
        ("otherbot", "/a.gif", False), ("otherbot", "/a.gif?x", True), ("otherbot", "/example/x", False),
        ("otherbot", "/publications/x", True), ("otherbot", "/", True),
        ("foobot", "/", False), ("foobot", "/example/page.html", True), ("foobot", "/example/allowed.gif", True),
        ("foobot", "/example/other.html", False), ("FooBot", "/x", False),
        ("barbot", "/example/page.html", False), ("barbot", "/example/", True), ("bazbot", "/example/page.html", False),
        ("bazbot", "/a.gif", True), ("quxbot", "/example/", True), ("quxbot", "/a.gif", True),
    ],
)  # fmt: skip
def test_example_of_section_5_1(agent: str, path: str, allowed: bool) -> None:
    assert parse(RFC_5_1).allows(path, agent) is allowed


def test_example_of_section_5_2_longest_match() -> None:
    robots = parse("User-Agent: foobot\nAllow: /example/page/\nDisallow: /example/page/disallowed.gif\n")
    assert robots.allows("/example/page/", "foobot")
    assert not robots.allows("/example/page/disallowed.gif", "foobot")


def test_groups_of_one_agent_are_merged_section_2_2_1() -> None:
    text = "user-agent: a\ndisallow: /a\n\nuser-agent: b\ndisallow: /b\n\nUSER-AGENT: A\ndisallow: /c\n"
    robots = parse(text)
    assert [robots.allows(path, "a") for path in ("/a", "/b", "/c")] == [False, True, False]


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [  # the table of Google's robots.txt specification
        ("/", ["/fish", "/"], []),
        ("/*", ["/fish", "/"], []),
        ("/$", ["/"], ["/fish"]),
        ("/fish", ["/fish", "/fish.html", "/fish/salmon.html", "/fishheads", "/fishheads/yummy.html", "/fish.php?id=x"],
         ["/Fish.asp", "/catfish", "/?id=fish", "/desert/fish"]),
        ("/fish*", ["/fish", "/fish.html", "/fish/salmon.html", "/fishheads", "/fish.php?id=anything"],
         ["/Fish.asp", "/catfish", "/?id=fish", "/desert/fish"]),
        ("/fish/", ["/fish/", "/fish/?id=anything", "/fish/salmon.htm"], ["/fish", "/fish.html", "/animals/fish/", "/Fish/Salmon.asp"]),
        ("/*.php", ["/index.php", "/filename.php", "/folder/filename.php", "/folder/filename.php?parameters",
                    "/folder/any.php.file.html", "/filename.php/"], ["/", "/windows.PHP"]),
        ("/*.php$", ["/filename.php", "/folder/filename.php"], ["/filename.php?parameters", "/filename.php/", "/filename.php5", "/windows.PHP"]),
        ("/fish*.php", ["/fish.php", "/fishheads/catfish.php?parameters"], ["/Fish.PHP"]),
    ],
)  # fmt: skip
def test_published_path_table(pattern: str, yes: list[str], no: list[str]) -> None:
    assert [matches(pattern, path) for path in yes] == [True] * len(yes)
    assert [matches(pattern, path) for path in no] == [False] * len(no)


@pytest.mark.parametrize(
    ("rules", "path", "allowed"),
    [  # the published examples of which rule wins
        ("allow: /p\ndisallow: /", "/page", True),
        ("allow: /folder\ndisallow: /folder", "/folder/page", True),
        ("disallow: /folder\nallow: /folder", "/folder/page", True),
        ("allow: /page\ndisallow: /*.htm", "/page.htm", False),
        ("allow: /page\ndisallow: /*.ph", "/page.php5", True),
        ("allow: /$\ndisallow: /", "/", True),
        ("allow: /$\ndisallow: /", "/page.htm", False),
        ("disallow:", "/x", True),
        ("disallow: /\nallow: /a*b$", "/aXb", True),
        ("disallow: /foo/bar?baz=http://foo.bar", "/foo/bar?baz=http://foo.bar", False),
        ("disallow: /foo/bar/ツ", "/foo/bar/%E3%83%84", False),
        ("disallow: /foo/bar/%E3%83%84", "/foo/bar/ツ", False),
        ("disallow: /foo/bar/%62%61%7A", "/foo/bar/baz", False),
        ("disallow: /a%3cd.html", "/a%3Cd.html", False),
        ("disallow: /a%2fb", "/a/b", True),  # a reserved character stays encoded
        ("disallow: /x # comment", "/x", False),
        ("disallow /x", "/x", False),
        ("dissallow: /x", "/x", False),
        ("disallow: /", "/robots.txt", True),
    ],
)  # fmt: skip
def test_which_rule_wins(rules: str, path: str, allowed: bool) -> None:
    assert parse(f"user-agent: *\n{rules}\n").allows(path) is allowed


def test_other_agents_do_not_bind_us_and_ours_wins_over_star() -> None:
    text = "User-agent: GPTBot\nUser-agent: CCBot\nDisallow: /\n\nUser-agent: *\nDisallow: /all\n"
    assert parse(text).allows("/x") and not parse(text).allows("/all/x")
    ours = parse(text + "\nUser-agent: ownlm/1.0\nDisallow: /ours\n")
    assert ours.allows("/all/x") and not ours.allows("/ours")
    assert not parse("User-agent: *\nDisallow: /\n").allows("/x", "anything")
    assert parse("User-agent: ownlmbot\nDisallow: /\n").allows("/x")  # a longer token is another agent


def test_other_lines_do_not_interfere() -> None:
    text = "\ufeffUser-agent: a\rSitemap: https://x/s.xml\r\nCrawl-delay: 3\nUser-agent: ownlm\n\n\nDisallow: /x\nCrawl-Delay: 2.5\nnonsense\n"
    robots = parse(text.encode())
    assert not robots.allows("/x") and not robots.allows("/x", "a")
    assert robots.sitemaps == ["https://x/s.xml"]
    assert robots.group().delay == 2.5 and robots.group("a").delay == 3
    assert parse("User-agent: *\nCrawl-delay: nan\nCrawl-delay: -1\nCrawl-delay: 1e9").group().delay is None


def test_preferences_by_path() -> None:
    robots = parse(
        "User-agent: *\nContent-Usage: train-ai=n\nContent-Usage: /open/ train-ai=y\nContent-Signal: ai-train=no, search=yes\n"
    )
    assert robots.preferences("/open/x") == ["train-ai=y"]
    assert robots.preferences("/x") == ["train-ai=n", "ai-train=no, search=yes"]


def test_hostile_patterns_and_files_take_linear_time() -> None:
    pattern = "/" + "*a" * 1000 + "$"
    began = time.perf_counter()
    for _ in range(20):
        assert not matches(pattern, "/" + "a" * 999 + "b" * 4000)
    parse(("user-agent: *\n" * 40_000)[: 500 * 1024])
    parse("#" * (8 << 20))
    parse("disallow: " + "%" * 400_000)
    assert time.perf_counter() - began < 10  # a hang, not a benchmark
