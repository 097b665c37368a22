"""Documents whose publisher said "not for training", dropped. Runs before the text is extracted from the HTML.

Looked at: what the reader kept of the HTTP headers in meta (x_robots_tag, tdm_reservation, content_usage,
content_signal; a string or a list of strings, written with _ or -), the meta elements of raw HTML text, and
robots.txt files that are given. Which signals count and how: crawl/signals.py.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path

from ownlm.config import Settings
from ownlm.data.crawl import robots, signals
from ownlm.data.crawl.urls import ascii_host, canonical
from ownlm.data.filters.url import url_of
from ownlm.data.flow.step import drop
from ownlm.errors import DataError
from ownlm.records import Document, Drop

_HEADERS = frozenset({"x-robots-tag", "tdm-reservation", "content-usage", "content-signal"})


class OptOut(Settings):
    """Drop documents that say do-not-train in their headers, their HTML or a robots.txt."""

    directives: tuple[str, ...] = signals.DIRECTIVES
    """Directives of X-Robots-Tag and meta robots that drop a document."""
    html: bool = True
    """Look at the meta elements of texts that are still HTML (meta format "html")."""
    robots: tuple[Path, ...] = ()
    """robots.txt files: HOST.txt or HOST/robots.txt holds for that host, any other name for every document with a URL."""

    def __call__(self, documents: Iterator[Document]) -> Iterator[Document | Drop]:
        rules = _robots(tuple((path, _stamp(path)) for path in self.robots))
        directives = tuple(name.lower() for name in self.directives)
        for document in documents:
            reason = self._reason(document, directives) or _forbidden(document, rules)
            yield drop(document, f"opted out: {reason}") if reason else document

    def _reason(self, document: Document, directives: tuple[str, ...]) -> str:
        against = signals.of_headers(_headers(document), directives)
        if not against and self.html and document.meta.get("format") == "html":
            against = signals.of_html(document.text, directives)
        return against


def _headers(document: Document) -> Iterator[tuple[str, str]]:
    for name, value in document.meta.items():
        if name.lower().replace("_", "-") in _HEADERS:
            for one in value if isinstance(value, (list, tuple)) else (value,):
                yield name, str(int(one)) if isinstance(one, (bool, float)) else str(one)


def _stamp(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError as error:
        raise DataError("A robots.txt file cannot be read.", str(error), "check the path") from error


@functools.lru_cache(maxsize=8)
def _robots(stamps: tuple[tuple[Path, int], ...]) -> dict[str, robots.Robots]:
    """Rules by host; "" holds for every host."""
    found: dict[str, robots.Robots] = {}
    for path, _ in stamps:
        name = path.parent.name if path.name == "robots.txt" else path.stem
        try:
            host = ascii_host(name) if "." in name else ""
        except ValueError:
            host = ""
        found[host] = robots.parse(path.read_bytes())
    return found


def _forbidden(document: Document, rules: dict[str, robots.Robots]) -> str:
    text = url_of(document) if rules else ""
    if not text:
        return ""
    try:
        url = canonical(text)
    except ValueError:
        return ""  # no path to hold against the rules; the URL filter names it
    known = rules.get(url.host) or rules.get("")
    if known is None:
        return ""
    rule = known.rule(url.target)
    return signals.of_robots(known, url.target) if rule.allow else f"robots.txt Disallow {rule.pattern}"
