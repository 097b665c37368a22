"""What an origin asks of crawlers: robots.txt, ai.txt and tdmrep.json, fetched once and kept for a day."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ownlm.data.crawl import robots, signals
from ownlm.data.crawl.fetch import Bounds, FetchError, Reply
from ownlm.data.crawl.urls import Url, canonical

VALID_SECONDS = 24 * 3600.0  # RFC 9309, section 2.4
_MOST_REDIRECTS = 5  # RFC 9309, section 2.3.1.2
_MOST_BYTES = 2 << 20
Get = Callable[[Url, Bounds], Reply]  # waits for the host's turn, then fetches any type; raises FetchError


class Rules:
    """The rules of one origin, from the JSON that the frontier keeps."""

    def __init__(self, stored: dict[str, Any]) -> None:
        self.unreachable: str = stored["unreachable"]
        self.robots = robots.parse(stored["robots"])
        self._ai = robots.parse(stored["ai"])
        self._tdmrep: str = stored["tdmrep"]

    def refusal(self, url: Url) -> str:
        """Why a page may not be fetched for training, or ""."""
        rule = self.robots.rule(url.target)
        if not rule.allow:
            return f"robots.txt: Disallow {rule.pattern}"
        path = url.target
        against = (
            signals.of_robots(self.robots, path)
            or signals.of_ai_txt(self._ai, path)
            or signals.of_tdmrep(self._tdmrep, path)
        )
        return f"opted out: {against}" if against else ""

    def delay(self, least: float) -> float:
        """Seconds between two requests."""
        return max(least, self.robots.group().delay or 0.0)


def read(origin: str, bounds: Bounds, get: Get) -> dict[str, Any]:
    """The rules of an origin as JSON. After RFC 9309, 2.3.1: a robots.txt that is not there (4xx) allows everything,
    one that cannot be reached (5xx, 429, no answer, larger than 2 MiB) forbids everything.
    """
    stored = {"robots": "", "ai": "", "tdmrep": "", "unreachable": ""}
    small = Bounds(bounds.seconds, _MOST_BYTES, bounds.types, bounds.allow_private)
    try:
        reply = _follow(canonical(f"{origin}/robots.txt"), small, get)
    except FetchError as error:
        return {**stored, "unreachable": str(error)}
    if reply is not None and (reply.status >= 500 or reply.status == 429):
        return {**stored, "unreachable": f"HTTP {reply.status}"}
    stored["robots"] = _text(reply)
    for name, path in (("ai", "/ai.txt"), ("tdmrep", "/.well-known/tdmrep.json")):
        try:
            reply = _follow(canonical(origin + path), small, get)
        except FetchError:
            continue  # these files are optional; robots.txt was reachable
        if reply is not None and reply.media_type != "text/html":  # a page for "not found" is no ai.txt
            stored[name] = _text(reply)
    return stored


def _text(reply: Reply | None) -> str:
    whole = reply is not None and reply.status == 200
    return reply.body[: robots.MOST_BYTES].decode("utf-8", "replace") if reply is not None and whole else ""


def _follow(url: Url, bounds: Bounds, get: Get) -> Reply | None:
    """The answer after at most five redirects; None when there are more or one leads nowhere."""
    for _ in range(_MOST_REDIRECTS + 1):
        reply = get(url, bounds)
        if reply.status not in (301, 302, 303, 307, 308):
            return reply
        try:
            url = canonical(reply.names.get("location", ""), url)
        except ValueError:
            return None
    return None
