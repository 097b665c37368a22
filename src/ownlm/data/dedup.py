"""Exact duplicates: the same text apart from white space. The first one read stays.

Near-duplicates are another step. Memory: 16 bytes of digest (about 100 in Python's set) per document.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import xxhash

from ownlm.data.funnel import Funnel, drop_of
from ownlm.records import Document


def fingerprint(text: str) -> bytes:
    """128 bits over the words of the text; equal for texts that differ in white space only."""
    return xxhash.xxh3_128_digest(" ".join(text.split()).encode("utf-8"))


def exact(documents: Iterable[Document], funnel: Funnel) -> Iterator[Document]:
    seen: set[bytes] = set()
    for document in documents:
        key = fingerprint(document.text)
        if key in seen:
            funnel.dropped(drop_of(document, "dedup", "exact duplicate"), len(document.text))
            continue
        seen.add(key)
        funnel.passed("dedup", document)
        yield document
