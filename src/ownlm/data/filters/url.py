"""Documents kept or dropped by their URL: block and allow lists of domains, URL patterns, words in the URL.

The word rules follow RefinedWeb (Penedo et al. 2023, appendix G.1): a strict word drops, of the soft words
`soft_limit` different ones are needed, a part counts anywhere. Lists are the user's; none is built in.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal
from urllib.parse import unquote

from pydantic import Field

from ownlm.config import Settings
from ownlm.data.crawl.robots import matches
from ownlm.data.crawl.urls import Url, canonical
from ownlm.data.filters.domains import DomainList, of_files
from ownlm.data.flow.step import drop
from ownlm.records import Document, Drop

_WORD = re.compile(r"[^\W_]+")


class UrlFilter(Settings):
    """Drop documents by their URL: blocked domains, patterns, words; allow lists go before."""

    block: tuple[Path, ...] = ()
    """Files of blocked domains: hosts files, one domain per line, or Adblock rules (||domain^). Subdomains count."""
    block_domains: tuple[str, ...] = ()
    """Blocked domains, written here."""
    patterns: tuple[str, ...] = ()
    """Blocked URL patterns: `*` is anything, `$` the end; `/tag/` or `*/wp-login*` is sought in the path and query,
    a pattern that begins with http in the whole URL."""
    words: tuple[str, ...] = ()
    """Words of the URL that drop a document (whole words, any case)."""
    soft_words: tuple[str, ...] = ()
    """Words of which `soft_limit` different ones drop a document."""
    soft_limit: int = Field(2, ge=1)
    """How many different soft words drop a document."""
    parts: tuple[str, ...] = ()
    """Letters that drop a document anywhere in the URL, also inside words."""
    allow: tuple[Path, ...] = ()
    """Files of domains that are kept whatever the block rules say."""
    allow_domains: tuple[str, ...] = ()
    """Such domains, written here."""
    only_allowed: bool = False
    """Drop everything that is not on the allow lists."""
    without_url: Literal["keep", "drop"] = "keep"
    """What happens to documents that have no URL."""
    unreadable: Literal["error", "ignore"] = "error"
    """What to do about lines of the list files that are no rule."""

    def __call__(self, documents: Iterator[Document]) -> Iterator[Document | Drop]:
        blocked = of_files(self.block, self.block_domains, self.unreadable)
        allowed = of_files(self.allow, self.allow_domains, self.unreadable)
        for document in documents:
            reason = self._reason(document, blocked, allowed)
            yield drop(document, reason) if reason else document

    def _reason(self, document: Document, blocked: DomainList, allowed: DomainList) -> str:
        text = url_of(document)
        if not text:
            return "no URL" if self.without_url == "drop" else ""
        try:
            url = canonical(text)
        except ValueError as error:
            return f"unreadable URL: {error}"
        if allowed.match(url):
            return ""
        if self.only_allowed:
            return f"domain not allowed: {url.host}"
        if listed := blocked.match(url):
            return f"blocked domain: {listed}"
        for pattern in self.patterns:
            if matches(_anywhere(pattern), str(url) if pattern.startswith("http") else url.target):
                return f"blocked URL pattern: {pattern}"
        return self._worded(url)

    def _worded(self, url: Url) -> str:
        if not (self.words or self.soft_words or self.parts):
            return ""
        text = f"{_readable(url.host)}{unquote(url.target)}".lower()
        words = set(_WORD.findall(text))
        for word in self.words:
            if word.lower() in words:
                return f"blocked word in the URL: {word}"
        soft = sorted({word.lower() for word in self.soft_words} & words)
        if self.soft_words and len(soft) >= self.soft_limit:
            return f"soft words in the URL: {', '.join(soft[:5])}"
        for part in self.parts:
            if part.lower() in text:
                return f"blocked part of the URL: {part}"
        return ""


def url_of(document: Document) -> str:
    """meta["url"], or the source when it is an http(s) URL, or ""."""
    stated = document.meta.get("url")
    if isinstance(stated, str) and stated.strip():
        return stated
    return document.source if re.match(r"\s*https?:", document.source, re.I) else ""


def _anywhere(pattern: str) -> str:
    return pattern if pattern.startswith(("*", "http")) else "*" + pattern


def _readable(host: str) -> str:
    """Punycode labels as letters, so that a word rule sees them."""
    labels = []
    for label in host.split("."):
        try:
            labels.append(label[4:].encode().decode("punycode") if label.startswith("xn--") else label)
        except (UnicodeError, ValueError):
            labels.append(label)
    return ".".join(labels)
