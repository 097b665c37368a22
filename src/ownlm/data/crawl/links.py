"""Where a page leads: links of HTML (a, area), and the locations of a sitemap."""

from __future__ import annotations

import html
import re
import zlib

from ownlm.data.crawl.markup import tags
from ownlm.data.crawl.signals import robots_tag
from ownlm.data.crawl.urls import Url, canonical

MOST_LINKS = 10_000  # of one page; the rest is counted
MOST_SITEMAP_BYTES = 50 << 20  # sitemaps.org: the most a sitemap may have
_LOCATION = re.compile(r"<(?:\w{1,20}:)?loc>([^<]{1,4000})<")
_CDATA = re.compile(r"<!\[CDATA\[([^<\]]{1,4000})\]\]>")


def links(source: str, page: Url) -> tuple[list[Url], int]:
    """The canonical http(s) links of a page, each once, in order; and how many more than MOST_LINKS there were.

    rel=nofollow and a meta robots of nofollow are obeyed; the first base element counts.
    """
    parent = page
    found: dict[Url, None] = {}
    left = 0
    based = False
    for name, attributes in tags(source, ("a", "area", "base", "meta")):
        if name == "meta":
            if attributes.get("name", "").lower() in ("robots", "ownlm") and "nofollow" in robots_tag(
                attributes.get("content", "")
            ):
                return [], 0
            continue
        if "href" not in attributes or "nofollow" in attributes.get("rel", "").lower().split():
            continue
        try:
            target = canonical(attributes["href"], parent)
        except ValueError:  # mailto:, javascript:, a host that cannot exist
            continue
        if name == "base":
            parent, based = (parent if based else target), True
        elif len(found) < MOST_LINKS:
            found.setdefault(target)
        else:
            left += target not in found
    return list(found), left


def locations(data: bytes) -> tuple[list[str], bool]:
    """The locations of a sitemap (plain or gzip, XML or one per line), and whether they are sitemaps themselves.

    Read by pattern, not by an XML parser: nothing is expanded or fetched. Damaged or too large gives what came before.
    """
    if data.startswith(b"\x1f\x8b"):
        try:
            data = zlib.decompressobj(31).decompress(data, MOST_SITEMAP_BYTES)
        except zlib.error:
            return [], False
    text = data[:MOST_SITEMAP_BYTES].decode("utf-8", "replace")
    if "<" not in text[:1000]:
        return [line.strip() for line in text.splitlines() if line.strip()], False
    text = _CDATA.sub(r"\1", text)
    return [html.unescape(place.strip()) for place in _LOCATION.findall(text)], "<sitemapindex" in text[
        :10_000
    ]
