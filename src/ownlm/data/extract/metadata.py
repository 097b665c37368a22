"""What a page says about itself: title, date, author, language; each only where the page is explicit.

Sources in order: JSON-LD of an article, Open Graph and other meta elements, <title>. Nothing is guessed from the text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from ownlm.data.extract.tags import attribute, decoded

_ARTICLES = frozenset({
    "article", "newsarticle", "blogposting", "reportagenewsarticle", "techarticle", "scholarlyarticle", "webpage",
    "opinionnewsarticle", "analysisnewsarticle", "liveblogposting", "socialmediaposting", "report", "discussionforumposting",
})  # fmt: skip
_DATE = re.compile(r"(?:19|20)\d\d-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])")
_MARKUP = re.compile(r"<[^<>]*>")
_LANGUAGE = re.compile(r"[a-zA-Z]{2,3}(?:[-_][a-zA-Z0-9]{2,8})*")
_DATES = ("article:published_time", "datepublished", "date", "dc.date", "dc.date.issued", "dcterms.created", "pubdate",
          "publishdate", "sailthru.date", "parsely-pub-date")  # fmt: skip
_AUTHORS = ("author", "article:author", "dc.creator", "parsely-author", "sailthru.author")
_LONGEST = 300  # characters of a title or an author
_LONGEST_JSON = 1 << 20


def page_facts(head: list[tuple[str, str]]) -> dict[str, str]:
    """`Tree.head` -> "title", "date" (YYYY-MM-DD), "author", "declared_language" (a BCP 47 tag), as far as they are stated."""
    metas: dict[str, str] = {}
    title = language = ""
    linked: list[dict[str, Any]] = []
    for kind, value in head:
        if kind == "title" and not title:
            title = _line(value)
        elif kind == "html" and not language:
            language = attribute(value, "lang") or attribute(value, "xml:lang")
        elif kind == "meta":
            name = attribute(value, "property") or attribute(value, "name") or attribute(value, "itemprop")
            if name:
                metas.setdefault(name.lower(), _line(attribute(value, "content")))
        elif kind == "json" and len(value) <= _LONGEST_JSON:
            linked += _articles(value)
    facts = {
        "title": _first(
            *_values(linked, "headline"), metas.get("og:title"), metas.get("twitter:title"), title
        ),
        "date": _first(
            *map(_date, (*_values(linked, "datePublished"), *(metas.get(name) for name in _DATES)))
        ),
        "author": _first(*_values(linked, "author"), *(_author(metas.get(name)) for name in _AUTHORS)),
        "declared_language": language if _LANGUAGE.fullmatch(language) else "",
    }
    return {name: value for name, value in facts.items() if value}


def stated_body(head: list[tuple[str, str]]) -> str:
    """The longest articleBody of the page's JSON-LD, as text without markup; "" for none."""
    bodies = [
        body
        for kind, value in head
        if kind == "json" and '"articleBody"' in value and len(value) <= _LONGEST_JSON
        for item in _articles(value)
        if isinstance(body := item.get("articleBody"), str)
    ]
    return decoded(_MARKUP.sub(" ", max(bodies, key=len))) if bodies else ""


def _articles(source: str) -> list[dict[str, Any]]:
    """The objects of a JSON-LD script that are articles: the top level, a list, or its @graph."""
    try:
        value = json.loads(source)
    except (ValueError, RecursionError):
        return []  # a page may say anything here; its text is read all the same
    found = value if isinstance(value, list) else [value]
    graphs = [
        item["@graph"] for item in found if isinstance(item, dict) and isinstance(item.get("@graph"), list)
    ]
    return [item for item in (*found, *(node for graph in graphs for node in graph)) if _is_article(item)]


def _is_article(item: Any) -> bool:
    if not isinstance(item, dict):
        return False
    kinds = item.get("@type")
    return any(
        isinstance(kind, str) and kind.lower() in _ARTICLES
        for kind in (kinds if isinstance(kinds, list) else [kinds])
    )


def _values(items: list[dict[str, Any]], key: str) -> Iterator[str]:
    for item in items:
        value = item.get(key)
        for part in value if isinstance(value, list) else [value]:
            if isinstance(part, dict):
                part = part.get("name")
            if isinstance(part, str):
                yield _line(part)


def _line(text: str) -> str:
    return " ".join(decoded(decoded(text[: 4 * _LONGEST])).split())[:_LONGEST]


def _date(text: str | None) -> str:
    found = _DATE.match(text or "")
    return found[0] if found else ""


def _author(text: str | None) -> str:
    """A name; an address of a profile is none."""
    return "" if not text or "://" in text or text.startswith("@") else text


def _first(*values: str | None) -> str:
    return next((value for value in values if value), "")
