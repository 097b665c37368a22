"""What kept documents consist of: counts that add up over parts, for the manifest and the report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ownlm.records import Document

MOST_HOSTS = 1000  # kept apart; the rest is counted together
OTHERS = "(others)"


@dataclass(slots=True)
class Content:
    num_documents: int = 0
    num_bytes: int = 0  # of UTF-8 text
    licences: Counter[str] = field(default_factory=Counter)
    collection_documents: Counter[str] = field(default_factory=Counter)
    collection_bytes: Counter[str] = field(default_factory=Counter)
    lengths: Counter[str] = field(default_factory=Counter)  # bits of the length in characters -> documents
    languages: Counter[str] = field(default_factory=Counter)
    scores: Counter[str] = field(default_factory=Counter)  # tenth of quality_score -> documents
    hosts: Counter[str] = field(default_factory=Counter)

    def add(self, document: Document) -> None:
        meta = document.meta
        size = len(document.text.encode("utf-8", "surrogatepass"))
        collection = str(meta.get("collection", ""))
        self.num_documents += 1
        self.num_bytes += size
        self.licences[document.licence] += 1
        self.collection_documents[collection] += 1
        self.collection_bytes[collection] += size
        self.lengths[str(len(document.text).bit_length())] += 1
        language, score, url = meta.get("language"), meta.get("quality_score"), meta.get("url")
        if isinstance(language, str):
            self.languages[language] += 1
        if isinstance(score, (int, float)):
            self.scores[str(min(9, max(0, int(score * 10))))] += 1
        if isinstance(url, str) and "://" in url:
            self.hosts[url.split("/", 3)[2][:80]] += 1

    def merge(self, saved: Mapping[str, Any]) -> None:
        self.num_documents += saved["num_documents"]
        self.num_bytes += saved["num_bytes"]
        for name in _COUNTERS:
            getattr(self, name).update(saved[name])
        if len(self.hosts) > MOST_HOSTS:
            kept = Counter(
                dict(sorted(self.hosts.items(), key=lambda item: (-item[1], item[0]))[:MOST_HOSTS])
            )
            kept[OTHERS] += self.hosts.total() - kept.total()
            self.hosts = kept

    def saved(self) -> dict[str, Any]:
        counters = {name: dict(sorted(getattr(self, name).items())) for name in _COUNTERS}
        return {"num_documents": self.num_documents, "num_bytes": self.num_bytes, **counters}


_COUNTERS = (
    "licences",
    "collection_documents",
    "collection_bytes",
    "lengths",
    "languages",
    "scores",
    "hosts",
)


def of(documents: Iterable[Document]) -> Content:
    content = Content()
    for document in documents:
        content.add(document)
    return content
