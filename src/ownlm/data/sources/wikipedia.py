"""MediaWiki XML exports (Wikipedia dumps, plain or compressed): one unit per page, streamed.

Format: https://www.mediawiki.org/wiki/Help:Export. The text of the latest revision in the file is taken. Namespace 0
is articles; pages of other namespaces and redirects are Drops. Memory is one page.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

from ownlm.data.licence import UNKNOWN
from ownlm.data.limits import Unusable
from ownlm.data.rows import document_id
from ownlm.data.sources import wikitext
from ownlm.data.sources.source import Unit
from ownlm.data.sources.xml_events import Event, events, text_of
from ownlm.records import Document, Drop

LICENCE = "CC-BY-SA-4.0"  # of the text of Wikipedia since June 2023
MOST_BYTES = 4 << 20  # of the text of a page; MediaWiki itself allows 2 MiB
_FIELDS = frozenset({"title", "ns", "id", "text", "timestamp"})


def units(file: io.BufferedReader, name: str, options: Mapping[str, Any]) -> Iterator[Unit | Drop]:
    site: dict[str, str] = {}
    stream = events(file)
    number = 0
    for kind, tag, attributes in stream:
        if kind == "start" and tag == "mediawiki":
            site["language"] = text_of("lang", attributes)
        elif kind == "start" and tag in ("base", "sitename"):
            site[tag] = _text(stream, tag, 10_000)
        elif kind == "start" and tag == "page":
            number += 1
            page = _page(stream)
            yield _unit(page, site, f"{name}#page{number}", options)


def _text(stream: Iterator[Event], tag: str, most: int) -> str:
    """Everything up to the end of the element; at most `most` characters and one more."""
    pieces: list[str] = []
    size = 0
    for kind, value, _ in stream:
        if kind == "end" and value == tag:
            break
        if kind == "text" and size <= most:
            pieces.append(value)
            size += len(value)
    return "".join(pieces)[: most + 1]


def _page(stream: Iterator[Event]) -> dict[str, str]:
    """The fields of a page; id is the page's, which stands before the revision's."""
    page: dict[str, str] = {}
    for kind, tag, attributes in stream:
        if kind == "end" and tag == "page":
            return page
        if kind == "start" and tag == "redirect":
            page["redirect"] = text_of("title", attributes)
        elif kind == "start" and tag in _FIELDS:
            value = _text(stream, tag, MOST_BYTES)
            if tag != "id" or "id" not in page:
                page[tag] = value
    return page


def _unit(page: dict[str, str], site: dict[str, str], place: str, options: Mapping[str, Any]) -> Unit | Drop:
    title, text = page.pop("title", ""), page.pop("text", "")
    if page.get("ns", "0").strip() != "0":
        return Drop(place, "read", f"not an article: namespace {page['ns'].strip()[:8]}", title)
    if "redirect" in page:
        return Drop(place, "read", "redirect", f"{title} -> {page['redirect']}")
    if not text.strip():
        return Drop(place, "read", "empty", title)
    fields = {"title": title[:500], "page": page.get("id", ""), "date": page.get("timestamp", "")}
    return Unit(
        place, "wikipage", text.encode("utf-8", "surrogatepass"), options={**options, **fields, "site": site}
    )


def read_page(unit: Unit) -> Document:
    """Raises Unusable when the page is too large or nothing is left of it."""
    if len(unit.data) > MOST_BYTES:
        raise Unusable(f"too large: more than {MOST_BYTES} bytes")
    options, site = unit.options, unit.options["site"]
    body = wikitext.plain(unit.data.decode("utf-8", "surrogatepass"))
    if not body.strip():
        raise Unusable("no text in the page")
    title = options["title"]
    base = site.get("base", "").rpartition("/")[0]
    url = f"{base}/{quote(title.replace(' ', '_'))}" if base and title else ""
    meta = {"format": "markdown", "title": title, "place": unit.source, "page": options["page"]}
    meta |= {key: value for key, value in (("url", url), ("date", options["date"])) if value}
    if site.get("language"):
        meta["stated_language"] = site["language"]
    known = options["known"]
    text = f"# {title}\n\n{body}" if title else body
    source = url or unit.source
    return Document(document_id(source, text), text, source, LICENCE if known == UNKNOWN else known, meta)
