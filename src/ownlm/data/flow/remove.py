"""Take sources out again: `ownlm data run ... --without 'https://example.org/*'` rebuilds the data without them."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator
from functools import cache

from pydantic import Field

from ownlm.config import Settings
from ownlm.data.flow.step import drop
from ownlm.records import Document, Drop


class Remove(Settings):
    """Drops the documents that match one of the patterns, compared with id, source, URL and collection."""

    sources: tuple[str, ...] = Field(min_length=1)
    """Shell patterns (* ? [abc]), compared with the whole name; a plain name is itself."""

    def __call__(self, documents: Iterator[Document]) -> Iterator[Document | Drop]:
        pattern = _compiled(self.sources)
        for document in documents:
            names = (document.id, document.source, document.meta.get("url"), document.meta.get("collection"))
            found = next((name for name in names if isinstance(name, str) and pattern.fullmatch(name)), None)
            yield document if found is None else drop(document, f"removed by the owner: {found[:200]}")


@cache
def _compiled(sources: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(f"(?:{fnmatch.translate(name)})" for name in sources))
