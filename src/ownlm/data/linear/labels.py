"""Labelled texts for the linear scorer: rows with a label or a score, or a good and a bad corpus."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from ownlm.errors import DataError
from ownlm.records import Document

GOOD = frozenset({"1", "true", "yes", "good", "keep", "pos", "positive", "high"})
BAD = frozenset({"0", "false", "no", "bad", "drop", "neg", "negative", "low"})


def from_rows(
    documents: Iterable[Document], key: str = "label", positive: str = "good", threshold: float | None = None
) -> Iterator[tuple[str, bool]]:
    """(text, is positive) of documents with meta[key]: a number against `threshold`, or a name.

    A name is positive when it is `positive` or one of the usual words for yes. Raises DataError for anything else:
    a label that is guessed at would train the opposite of what was meant.
    """
    for document in documents:
        yield (
            document.text,
            _label(document.meta.get(key), positive.lower(), threshold, f"{document.source}: {key}"),
        )


def _label(value: Any, positive: str, threshold: float | None, place: str) -> bool:
    if threshold is not None and isinstance(value, int | float) and not isinstance(value, bool):
        return value >= threshold
    name = str(value).strip().lower().removesuffix(".0")
    if threshold is None and (name == positive or name in GOOD):
        return True
    if threshold is None and (
        name in BAD or name in (f"not {positive}", f"non-{positive}", f"not_{positive}")
    ):
        return False
    fix = "give --threshold for scores; label rows good/bad, 1/0, true/false, or with the name of --positive"
    raise DataError("A row's label cannot be understood.", f"{place} = {value!r}", fix)


def from_pair(good: Iterable[str], bad: Iterable[str]) -> Iterator[tuple[str, bool]]:
    for text in good:
        yield text, True
    for text in bad:
        yield text, False
