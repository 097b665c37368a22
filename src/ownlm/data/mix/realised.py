"""Realised shares of a mix beside the asked ones."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ownlm.data.mix.mix import BYTES_PER_TOKEN, MANY_EPOCHS, Unit, measure
from ownlm.data.shards import Shards, repeats
from ownlm.records import Document


def shares(
    documents: Iterable[Document],
    asked: Mapping[str, float] | None = None,
    *,
    key: str = "collection",
    unit: Unit = "tokens",
    bytes_per_token: Mapping[str, float] | None = None,
) -> dict[str, dict[str, Any]]:
    """Per source: documents, size in `unit` with repeats counted, realised share, asked share, epochs, and a warning.

    `epochs` is the size that is read over the size of the documents that are left; a source that lost documents to
    down-sampling shows 1.0. The documents are those that `mix` has passed on.
    """
    rates = bytes_per_token or {}

    def rows() -> Iterator[tuple[str, float, int]]:
        for document in documents:
            name = str(document.meta.get(key, ""))
            yield name, measure(document, unit, rates.get(name, BYTES_PER_TOKEN)), repeats(document)

    return _table(rows(), asked, unit)


def shard_shares(shards: Shards, asked: Mapping[str, float] | None = None) -> dict[str, dict[str, Any]]:
    """The same of token shards, by collection: real tokens in place of the estimate, BOS and EOS included."""
    names = (line[3] for line in shards.lines())
    return _table(zip(names, map(float, shards.document_lengths), map(int, shards.repeats)), asked, "tokens")


def _table(
    rows: Iterable[tuple[str, float, int]], asked: Mapping[str, float] | None, unit: Unit
) -> dict[str, dict[str, Any]]:
    """Of (source, size, how often it is read) of every document."""
    count: dict[str, int] = {}
    once: dict[str, float] = {}
    read: dict[str, float] = {}
    for name, size, times in rows:
        count[name] = count.get(name, 0) + 1
        once[name] = once.get(name, 0.0) + size
        read[name] = read.get(name, 0.0) + size * times
    whole, together = sum(read.values()) or 1.0, sum((asked or {}).values()) or 1.0
    report: dict[str, dict[str, Any]] = {}
    for name in sorted({*count, *(asked or {})}):
        epochs = read.get(name, 0.0) / once[name] if once.get(name) else 0.0
        row: dict[str, Any] = {
            "documents": count.get(name, 0), unit: read.get(name, 0.0), "share": read.get(name, 0.0) / whole,
            "epochs": epochs,
        }  # fmt: skip
        if asked is not None:
            row["asked"] = asked.get(name, 0.0) / together
        if epochs > MANY_EPOCHS:
            row["warning"] = f"read {epochs:.1f} times; beyond {MANY_EPOCHS} repeats add little"
        report[name] = row
    return report
