"""Who is in the corpus, which of equal documents stays, and how the decision reaches the documents again.

Every deduplication of documents has the same frame: its sketch holds a roster of the part beside its own arrays, its
`decide` names for every document the one it repeats, and `apply` drops it with the id of that one. Legend: D documents
of the corpus, numbered in its order over all parts.

Arrays of a roster: ids uint8 (UTF-8 of the ids, one after the other), id_ends int64, and preference float64 unless the
first document stays. Arrays of a decision: dropped uint8 [documents of the part], ids and id_ends of the documents
kept instead, one per dropped, and notes int64 where a step has something to count.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

import numpy as np

from ownlm.data.flow.step import Arrays, Note, drop
from ownlm.errors import DataError
from ownlm.records import Document, Drop

Keep = Literal["first", "longest", "best"]


class Roster:
    """Collects ids and what decides who stays. Raises DataError where `best` finds no quality_score."""

    def __init__(self, keep: Keep) -> None:
        self._keep = keep
        self._names = bytearray()
        self._ends: list[int] = []
        self._preference: list[float] = []

    def add(self, document: Document) -> None:
        self._names += document.id.encode("utf-8", "replace")
        self._ends.append(len(self._names))
        if self._keep == "longest":
            self._preference.append(len(document.text))
        elif self._keep == "best":
            self._preference.append(_quality(document))

    def arrays(self) -> dict[str, np.ndarray]:
        return {
            "ids": np.frombuffer(bytes(self._names), np.uint8),
            "id_ends": np.array(self._ends, dtype=np.int64),
            "preference": np.array(self._preference, dtype=np.float64),
        }


def _quality(document: Document) -> float:
    score = document.meta.get("quality_score")
    if isinstance(score, bool) or not isinstance(score, (int, float)):
        raise DataError(
            "A document has no quality score to be kept by.",
            f"{document.source}: quality_score={score!r}",
            "put a step that scores before this one, or use keep: first",
        )
    return float(score)


class Rolls(NamedTuple):
    """values [D, ...]: one array of all sketches; rank int64 [D]: 0 is the document that stays before all others;
    empty uint8 [D]: 1 for a document with nothing to compare (all 0 where the sketch does not say).
    """

    values: np.ndarray
    rank: np.ndarray
    empty: np.ndarray


def gather(sketches: Sequence[Arrays], name: str) -> Rolls:
    """One array of all parts in corpus order, which stays in memory, and the ranks."""
    values, preference, empty = [], [], [np.zeros(0, np.uint8)]
    for part in sketches:
        values.append(np.array(part[name]))
        preference.append(np.array(part["preference"]))
        empty.append(np.array(part["empty"]) if "empty" in part else np.zeros(len(part["id_ends"]), np.uint8))
    nothing = np.concatenate(empty)
    return Rolls(_concatenated(values), ranks(_concatenated(preference), len(nothing)), nothing)


def _concatenated(parts: Sequence[np.ndarray]) -> np.ndarray:
    return np.concatenate(parts) if parts else np.zeros(0, np.uint64)


def ranks(preference: np.ndarray, count: int) -> np.ndarray:
    """int64 [D]: higher preference first, ties in corpus order; without preferences the corpus order."""
    if not len(preference):
        return np.arange(count, dtype=np.int64)
    rank = np.empty(count, dtype=np.int64)
    rank[np.argsort(-preference, kind="stable")] = np.arange(count)
    return rank


def decisions(sketches: Sequence[Arrays], of: np.ndarray, note: int = 0) -> list[dict[str, np.ndarray]]:
    """`of` int64 [D]: the document that each one repeats, -1 for none. Reads the parts once more, for the ids.

    `note` is a count for the first part's decision; see `apply`.
    """
    sizes: list[int] = []
    wanted, names = np.unique(of[of >= 0]), {}
    for part in sketches:
        ends, first = part["id_ends"], sum(sizes)
        letters = np.asarray(part["ids"]).tobytes()
        low, high = np.searchsorted(wanted, (first, first + len(ends)))
        for number in wanted[low:high].tolist():
            at = number - first
            names[number] = letters[int(ends[at - 1]) if at else 0 : int(ends[at])]
        sizes.append(len(ends))
    found: list[dict[str, np.ndarray]] = []
    first = 0
    for index, size in enumerate(sizes):
        mine = of[first : first + size]
        kept = [names[number] for number in mine[mine >= 0].tolist()]
        found.append(
            {
                "dropped": (mine >= 0).astype(np.uint8),
                "ids": np.frombuffer(b"".join(kept), np.uint8),
                "id_ends": np.cumsum([len(name) for name in kept], dtype=np.int64),
                "notes": np.array([note] if note and index == 0 else [], dtype=np.int64),
            }
        )
        first += size
    return found


def apply(
    documents: Iterator[Document], decision: Arrays, reason: str, note: str = ""
) -> Iterator[Document | Drop | Note]:
    """Drops "reason: of <id>". Raises DataError when the documents are not those that were sketched."""
    for count in decision["notes"].tolist():
        yield Note(note, count)
    dropped, ends = decision["dropped"], decision["id_ends"]
    letters = np.asarray(decision["ids"]).tobytes()
    number = repeats = 0
    for document in documents:
        if number == len(dropped):
            raise changed(document.source, len(dropped))
        if dropped[number]:
            first = int(ends[repeats - 1]) if repeats else 0
            name = letters[first : int(ends[repeats])].decode("utf-8")
            repeats += 1
            yield drop(document, f"{reason}: of {name}")
        else:
            yield document
        number += 1
    if number != len(dropped):
        raise changed("the end of the part", len(dropped))


def changed(where: str, expected: int) -> DataError:
    return DataError(
        "The documents are not those that were looked at before.",
        f"{expected} were expected, noticed at {where}",
        "run the pipeline again from the start; its input changed meanwhile",
    )
