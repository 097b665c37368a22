"""Training documents that repeat an evaluation item, dropped or cut, each naming the item it hit.

The index (eval_index.py) is built once per process and set of files. A decision depends on the document alone, so any
number of workers decides alike.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import Field

from ownlm.config import Settings
from ownlm.data.eval_index import EvalIndex, Facts, Hit
from ownlm.data.eval_items import ItemFile, files, items
from ownlm.data.flow.step import Note, drop
from ownlm.data.word_folding import places
from ownlm.errors import DataError
from ownlm.records import Document, Drop

_MOST_NAMED = 5  # items that a drop or a kept document names; the others are counted


class Decontaminate(Settings):
    """Drop (or cut out of) documents what repeats an item of an evaluation set, verbatim or lightly edited."""

    against: tuple[Path, ...] = Field(min_length=1)
    """Files or folders of evaluation items: .jsonl .json .csv .tsv .txt, also .gz or .zst."""
    ngram: int = Field(13, ge=8, le=50)
    """Words in a row that count as a verbatim copy (GPT-3: 13). Case, accents and punctuation do not count."""
    min_hits: int = Field(1, ge=1)
    """Verbatim n-grams of an item that a document must hold, all places together."""
    fuzzy: bool = True
    """Also find light edits: windows of up to 2 x ngram words with a changed, added or missing word."""
    share: float = Field(0.8, gt=0.5, le=1.0)
    """Part of a window's words that must stand in the document in the same order."""
    action: Literal["drop", "cut"] = "drop"
    """Drop the document, or cut the span that was hit out of it."""

    def __call__(self, documents: Iterator[Document]) -> Iterator[Document | Drop | Note]:
        index = self._index()
        for document in documents:
            hits = index.search(document.text, self.min_hits)
            if not self.fuzzy:
                hits = [hit for hit in hits if hit.kind == "exact"]
            if not hits:
                yield document
            elif self.action == "drop":
                yield drop(document, f"contaminated: {_named(hits)}")
            else:
                yield from _cut(document, hits)

    def facts(self) -> Facts:
        """What is protected: items, words, bytes of memory, and the items too short to be found."""
        return self._index().facts

    def _index(self) -> EvalIndex:
        found, _ = files(self.against)
        stamps = tuple((file, file.path.stat().st_mtime_ns, file.path.stat().st_size) for file in found)
        return _built(stamps, self.ngram, self.share)


@functools.lru_cache(maxsize=4)
def _built(stamps: tuple[tuple[ItemFile, int, int], ...], ngram: int, share: float) -> EvalIndex:
    index = EvalIndex((item for file, _, _ in stamps for item in items(file)), ngram, share)
    if not index.facts.num_pieces:
        raise DataError(
            "No evaluation item is long enough to be found.",
            f"{index.facts.num_items} items in {len(stamps)} files",
            "give files with items of at least 8 words",
        )
    return index


def _named(hits: list[Hit]) -> str:
    """`test item 17 (exact), test item 18 (fuzzy 0.92) and 3 more`: exact ones first."""
    best = sorted(hits, key=lambda hit: (hit.kind, -hit.share, hit.start, hit.item))
    shown = list(
        dict.fromkeys(
            f"{hit.item} ({hit.kind}{'' if hit.kind == 'exact' else f' {hit.share}'})" for hit in best
        )
    )
    more = f" and {len(shown) - _MOST_NAMED} more" if len(shown) > _MOST_NAMED else ""
    return ", ".join(shown[:_MOST_NAMED]) + more


def _cut(document: Document, hits: list[Hit]) -> Iterator[Document | Drop | Note]:
    """The text without the spans that were hit; what they hit goes into meta["contaminated"]."""
    spans: list[list[int]] = []
    words = places(document.text)
    for hit in hits:
        start, end = words[hit.start][0], words[hit.end - 1][1]
        if spans and start <= spans[-1][1]:
            spans[-1][1] = max(spans[-1][1], end)
        else:
            spans.append([start, end])
    borders = [0, *(border for span in spans for border in span), len(document.text)]
    pieces = [document.text[borders[at] : borders[at + 1]] for at in range(0, len(borders), 2)]
    text = "".join(pieces)
    if not any(character.isalnum() for character in text):
        yield drop(document, f"contaminated: {_named(hits)}")
        return
    yield Note("contaminated spans cut", len(spans))
    meta = {**document.meta, "contaminated": _named(hits)}
    yield Document(document.id, text, document.source, document.licence, meta)
