"""Do-not-train signals of a page, read the strict way: one voice against is enough.

    X-Robots-Tag header, <meta name="robots">      noai, noimageai, noindex, none (= noindex)
    tdm-reservation header, meta, tdmrep.json      1 (TDM Reservation Protocol, W3C community report)
    Content-Usage (IETF AIPREF), Content-Signal    train-ai=n, train-genai=n, ai-train=no, bots=n without train-ai=y
    ai.txt                                         Disallow rules, in the syntax of robots.txt

A directive addressed to another agent (`X-Robots-Tag: otherbot: noindex`) does not bind us. Deviation from TDMRep:
there the most specific place wins; here a reservation in any place holds.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator

from ownlm.data.crawl import robots
from ownlm.data.crawl.markup import tags
from ownlm.data.crawl.robots import TOKEN

DIRECTIVES = ("noai", "noimageai", "noindex")
_VALUED = frozenset({"max-snippet", "max-image-preview", "max-video-preview", "unavailable_after"})
_TRAIN = frozenset({"train-ai", "ai-train", "train-genai", "genai", "ai"})
_ALL = frozenset({"bots", "tdm", "all"})
_NO = frozenset({"n", "no", "0", "false", "?0"})
_DEEPEST = 10_000  # rules of a tdmrep.json that are looked at


def metas(source: str) -> Iterator[tuple[str, str]]:
    """(name or http-equiv in lower case, content) of every meta element of an HTML text."""
    for _, found in tags(source, ("meta",)):
        name = found.get("name") or found.get("http-equiv") or found.get("property") or ""
        if name and "content" in found:
            yield name.lower(), found["content"]


def robots_tag(value: str, token: str = TOKEN) -> set[str]:
    """The directives of one X-Robots-Tag or meta robots value that bind us; `none` is noindex and nofollow."""
    found: set[str] = set()
    ours = True
    for part in value.lower().split(","):
        name, colon, rest = (piece.strip() for piece in part.partition(":"))
        if colon and name not in _VALUED:
            ours = name in (token, "*", "robots")
            name = rest
        if ours and name:
            found |= {"noindex", "nofollow"} if name == "none" else {name}
    return found


def usage_denies(value: str) -> bool:
    """Whether a Content-Usage or Content-Signal statement says no to training."""
    said: dict[str, bool] = {}
    for part in re.split(r"[,;\s]+", value.lower()):
        key, equals, answer = part.partition("=")
        if equals:
            said[key] = said.get(key, False) or answer in _NO
    if any(said.get(key) for key in _TRAIN):
        return True
    return any(said.get(key) for key in _ALL) and not any(key in said for key in _TRAIN)


def of_headers(headers: Iterable[tuple[str, str]], directives: Iterable[str] = DIRECTIVES) -> str:
    """Why HTTP headers (name, value) forbid training, or "". Names may be written with - or _."""
    for name, value in headers:
        key = name.lower().replace("_", "-")
        if key == "x-robots-tag":
            against = robots_tag(value) & set(directives)
            if against:
                return f"{min(against)} in X-Robots-Tag"
        elif key == "tdm-reservation" and value.strip() == "1":
            return "tdm-reservation in a header"
        elif key in ("content-usage", "content-signal") and usage_denies(value):
            return f"{key} in a header"
    return ""


def of_html(source: str, directives: Iterable[str] = DIRECTIVES) -> str:
    """Why the meta elements of an HTML text forbid training, or ""."""
    for name, content in metas(source):
        if name in ("robots", TOKEN, "x-robots-tag"):
            against = robots_tag(content) & set(directives)
            if against:
                return f"{min(against)} in meta {name}"
        elif name in ("tdm-reservation", "tdm:reservation") and content.strip() == "1":
            return "tdm-reservation in meta"
        elif name in ("content-usage", "content-signal") and usage_denies(content):
            return f"{name} in meta"
    return ""


def of_tdmrep(text: str, target: str) -> str:
    """Why /.well-known/tdmrep.json reserves a path, or "". The first location that matches decides (its section 6.1).

    A file that is no JSON list of objects says nothing.
    """
    try:
        rules = json.loads(text)
    except (ValueError, RecursionError):
        return ""
    for rule in rules[:_DEEPEST] if isinstance(rules, list) else ():
        location = rule.get("location") if isinstance(rule, dict) else None
        if isinstance(location, str) and robots.matches(location, target):
            return "tdm-reservation in tdmrep.json" if str(rule.get("tdm-reservation")) == "1" else ""
    return ""


def of_robots(rules: robots.Robots, target: str) -> str:
    """Why the preference lines of a robots.txt forbid training on a path, or ""."""
    if any(usage_denies(statement) for statement in rules.preferences(target)):
        return "content usage in robots.txt"
    return ""


def of_ai_txt(rules: robots.Robots, target: str) -> str:
    return "" if rules.allows(target) else f"ai.txt: Disallow {rules.rule(target).pattern}"[:200]
