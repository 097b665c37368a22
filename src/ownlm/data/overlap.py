"""Verbatim spans that a text shares with the training documents: which document, which offsets, exactly.

Every shared span of at least 32 characters is found (white space counts as one space). The documents are indexed by
every 9th of their 24-byte grams, the question by all of its own: a shared span of 24 + 9 - 1 = 32 bytes holds an
indexed gram wherever it starts. This is the guarantee of winnowing (Schleimer, Wilkerson, Aiken 2003, section 3)
with half its density, because only one side is sampled. Hits are then extended to their full length on the text
itself, so a collision of gram numbers can never be reported.

A gram with very many places is followed to the first of them only (`_most_places`); `Matches.num_capped` counts such
grams. A span is lost by this only when every indexed gram in it is that frequent, as in a line of dashes.

    FOLDER/segment-000.text.bin    normalized documents, each ended by the byte 0xFF, which UTF-8 never uses
    FOLDER/segment-000.grams.npy   sorted uint64 [n]: gram number << 32 | offset
    FOLDER/segment-000.runs.npy    int64 [R, 2]: end of a shortened run of white space, characters lost so far
    FOLDER/segment-000.documents.npy    int64 [D, 2]: offset of a document's text, byte offset of its line
    FOLDER/segment-000.documents.jsonl  one line per document: id, source, licence
    FOLDER/overlap.json            counts; written last
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ownlm.data.fingerprint import GRAM, GUARANTEE, STRIDE, Normalized, grams, normalize
from ownlm.errors import ArtifactError, UsageError
from ownlm.records import Document
from ownlm.runtime.files import open_atomic, read_json, write_json

SEGMENT_BYTES = 64 << 20  # normalized text per segment: bounds the memory of a build to about 8 times this
MOST_PLACES = 4096
CANDIDATES_PER_GRAM = (
    64  # on average over the grams of a question; frequent grams are followed less far beyond it
)
LEAST_CANDIDATES = 1 << 15
MOST_SOURCES = 8  # documents listed for one and the same span; the others are counted
_BLOCKS = (16, 32, 64, 128, 256)  # bytes compared at once while a match grows
_END = 0xFF


@dataclass(frozen=True, slots=True)
class Span:
    """Characters start..end of the text occur as characters document_start..document_end of the document."""

    start: int
    end: int
    document_id: str
    source: str
    licence: str
    document_start: int
    document_end: int
    num_places: int = 1  # how often this very span occurs in all training documents together


@dataclass(frozen=True, slots=True)
class Matches:
    spans: list[Span]  # longest first
    num_capped: int = 0  # grams of the text that occur too often to be followed everywhere


def build(documents: Iterable[Document], folder: Path | str) -> dict[str, int]:
    """Index the documents; returns the counts that overlap.json holds."""
    folder = Path(folder)
    totals = {"version": 1, "num_documents": 0, "num_segments": 0, "num_bytes": 0, "num_grams": 0,
              "gram": GRAM, "stride": STRIDE}  # fmt: skip
    for number, segment in enumerate(_segments(documents)):
        totals["num_grams"] += segment.write(folder / f"segment-{number:03d}")
        totals["num_segments"] += 1
        totals["num_documents"] += len(segment.rows)
        totals["num_bytes"] += len(segment.text)
    write_json(folder / "overlap.json", totals)
    return totals


class _Building:
    """One segment in memory."""

    def __init__(self) -> None:
        self.text = bytearray([_END])
        self.rows: list[tuple[int, int]] = []
        self.lines = bytearray()
        self._runs: list[np.ndarray] = []

    def add(self, document: Document) -> None:
        form = normalize(document.text)
        self.rows.append((len(self.text), len(self.lines)))
        if len(form.run_ends):
            self._runs.append(np.stack([form.run_ends + len(self.text), np.cumsum(form.run_extra)], axis=1))
        self.text += form.data
        self.text.append(_END)
        row = [document.id, document.source, document.licence]
        self.lines += (json.dumps(row, ensure_ascii=False) + "\n").encode("utf-8", "replace")

    def write(self, prefix: Path) -> int:
        """Returns the number of grams."""
        text = np.frombuffer(self.text, dtype=np.uint8)
        starts = np.arange(0, max(0, len(text) - GRAM + 1), STRIDE, dtype=np.int64)
        keys = np.empty(len(starts), dtype=np.uint64)
        for at in range(0, len(starts), 1 << 18):
            block = starts[at : at + (1 << 18)]
            keys[at : at + len(block)] = (grams(text, block) << np.uint64(32)) | block.astype(np.uint64)
        keys.sort()
        with open_atomic(prefix.with_name(prefix.name + ".text.bin")) as file:
            file.write(self.text)
        with open_atomic(prefix.with_name(prefix.name + ".documents.jsonl")) as file:
            file.write(self.lines)
        runs = np.concatenate(self._runs) if self._runs else np.zeros((0, 2), np.int64)
        rows = np.array(self.rows, dtype=np.int64).reshape(-1, 2)
        for name, array in (("grams", keys), ("runs", runs), ("documents", rows)):
            with open_atomic(prefix.with_name(f"{prefix.name}.{name}.npy")) as file:
                np.lib.format.write_array(file, array, allow_pickle=False)
        return len(keys)


def _segments(documents: Iterable[Document]) -> Iterator[_Building]:
    segment = _Building()
    for document in documents:
        segment.add(document)
        if len(segment.text) >= SEGMENT_BYTES:
            yield segment
            segment = _Building()
    if segment.rows:
        yield segment


@dataclass(frozen=True, slots=True)
class _Hits:
    """Matches of one segment as arrays [n], in bytes of normalized text: question start and end, place start."""

    starts: np.ndarray
    ends: np.ndarray
    places: np.ndarray


class _Segment:
    """Read side of one segment."""

    def __init__(self, prefix: Path) -> None:
        try:
            self.text = np.memmap(prefix.with_name(prefix.name + ".text.bin"), np.uint8, "r")
            self.keys = _load(prefix, "grams")
            self.runs = _load(prefix, "runs")
            self.rows = _load(prefix, "documents")
        except (OSError, ValueError, EOFError) as error:
            raise ArtifactError(
                "An overlap index is missing a part or is damaged.", f"{prefix}: {error}", "build it again"
            ) from error
        self._lines = prefix.with_name(prefix.name + ".documents.jsonl")

    def hits(self, question: np.ndarray, numbers: np.ndarray) -> tuple[_Hits, int]:
        """All maximal matches with the question (uint8 [Q], grams [Q - GRAM + 1]), and the number of capped grams."""
        shifted = numbers << np.uint64(32)
        first = np.searchsorted(self.keys, shifted, side="left")
        last = np.searchsorted(self.keys, shifted | np.uint64(0xFFFFFFFF), side="right")
        counts = last - first
        most = _most_places(counts)
        capped = int(np.count_nonzero(counts > most))
        counts = np.minimum(counts, most)
        at = np.repeat(np.arange(len(numbers)), counts)  # offset in the question of each candidate
        within = np.arange(len(at)) - np.repeat(np.cumsum(counts) - counts, counts)
        keys = self.keys[np.repeat(first, counts) + within]
        places = (keys & np.uint64(0xFFFFFFFF)).astype(np.int64)
        at, places = _first_of_diagonal(at, places)
        left = self._common(question, at - 1, places - 1, -1)
        right = self._common(question, at, places, +1)
        starts, ends, places = at - left, at + right, places - left
        whole = right >= GRAM  # false for a collision of gram numbers
        found = np.unique(np.stack([starts, ends, places])[:, whole], axis=1)
        return _Hits(found[0], found[1], found[2]), capped

    def _common(self, question: np.ndarray, at: np.ndarray, places: np.ndarray, step: int) -> np.ndarray:
        """How many bytes agree from (at, place) on, walking by `step`; int64 [n]."""
        length = np.zeros(len(at), dtype=np.int64)
        active = np.arange(len(at))
        turn = 0
        while len(active):
            block = _BLOCKS[min(turn, len(_BLOCKS) - 1)]
            turn += 1
            offsets = np.arange(block) * step
            mine = (at + step * length)[active, None] + offsets  # [a, block]
            theirs = (places + step * length)[active, None] + offsets
            inside = (mine >= 0) & (mine < len(question)) & (theirs >= 0) & (theirs < len(self.text))
            same = inside & (question[np.where(inside, mine, 0)] == self.text[np.where(inside, theirs, 0)])
            grown = np.where(same.all(axis=1), block, same.argmin(axis=1))
            length[active] += grown
            active = active[grown == block]
        return length

    def locate(self, place: int, num_bytes: int) -> tuple[str, str, str, int, int]:
        """(id, source, licence, start, end) with offsets in characters of the document's own text."""
        number = int(np.searchsorted(self.rows[:, 0], place, side="right")) - 1
        start, line = (int(value) for value in self.rows[number])
        with open(self._lines, "rb") as file:
            file.seek(line)
            name, source, licence = json.loads(file.readline())
        return name, source, licence, self._character(start, place), self._character(start, place + num_bytes)

    def _character(self, document: int, place: int) -> int:
        """Characters of the original text before this byte of the normalized one."""
        data = self.text[document:place]
        count = len(data) - int(np.count_nonzero((data & 0xC0) == 0x80))
        before = int(np.searchsorted(self.runs[:, 0], place, side="right"))
        if before and self.runs[before - 1, 0] > document:
            count += int(self.runs[before - 1, 1])
        return count


def _load(prefix: Path, name: str) -> np.ndarray:
    path = prefix.with_name(f"{prefix.name}.{name}.npy")
    array: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
    return array


def _most_places(counts: np.ndarray) -> int:
    """How many places of one gram are followed: MOST_PLACES, halved until the candidates of all fit the budget."""
    budget = max(LEAST_CANDIDATES, CANDIDATES_PER_GRAM * len(counts))
    most = MOST_PLACES
    while most > 1 and int(np.minimum(counts, most).sum()) > budget:
        most //= 2
    return most


def _first_of_diagonal(at: np.ndarray, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Candidates without those that continue the one STRIDE before on the same diagonal: growing finds them anyway."""
    order = np.lexsort((at, places - at))
    at, places = at[order], places[order]
    diagonal = places - at
    follows = np.zeros(len(at), dtype=bool)
    follows[1:] = (diagonal[1:] == diagonal[:-1]) & (at[1:] - at[:-1] <= STRIDE)
    return at[~follows], places[~follows]


class Overlap:
    """The index in a folder that `build` made. Raises ArtifactError when it is missing, damaged or of another form."""

    def __init__(self, folder: Path | str) -> None:
        folder = Path(folder)
        self.facts = read_json(folder / "overlap.json")
        if (self.facts.get("version"), self.facts.get("gram"), self.facts.get("stride")) != (1, GRAM, STRIDE):
            raise ArtifactError(
                "An overlap index is of another version.", f"{folder}: {self.facts}", "build it again"
            )
        count = self.facts["num_segments"]
        self._segments = [_Segment(folder / f"segment-{number:03d}") for number in range(count)]

    def spans(self, text: str, min_chars: int = GUARANTEE) -> list[Span]:
        """Spans of `text` found in the documents, longest first; see `matches`."""
        return self.matches(text, min_chars).spans

    def matches(self, text: str, min_chars: int = GUARANTEE) -> Matches:
        """The maximal spans: none lies inside another. At most MOST_SOURCES documents for one span; num_places
        counts all. `min_chars` is in normalized characters, at least 32: shorter ones cannot be promised.
        """
        if min_chars < GUARANTEE:
            raise UsageError(
                "Spans that short are not indexed.", f"min_chars={min_chars}", f"ask for {GUARANTEE} or more"
            )
        form = normalize(text)
        question = np.frombuffer(form.data, dtype=np.uint8)
        if len(question) < GRAM:
            return Matches([])
        numbers = grams(question, np.arange(len(question) - GRAM + 1))
        found: list[tuple[int, int, int, int]] = []  # start, end, segment, place; bytes of normalized text
        num_capped = 0
        for number, segment in enumerate(self._segments):
            hits, capped = segment.hits(question, numbers)
            num_capped += capped
            starts, ends, places = _whole_characters(question, hits)
            found += zip(starts.tolist(), ends.tolist(), [number] * len(starts), places.tolist(), strict=True)
        # characters[i]: characters of the normalized question before byte i
        characters = np.concatenate([[0], np.cumsum((question & 0xC0) != 0x80)])
        found = [hit for hit in found if characters[hit[1]] - characters[hit[0]] >= min_chars]
        spans = [span for group in _maximal(found) for span in self._described(group, form, characters)]
        return Matches(
            sorted(spans, key=lambda span: (span.start - span.end, span.start, span.source)), num_capped
        )

    def _described(
        self, group: list[tuple[int, int, int, int]], form: Normalized, characters: np.ndarray
    ) -> Iterator[Span]:
        """The first MOST_SOURCES places of one span, one per document."""
        seen: set[str] = set()
        for start, end, number, place in group:
            name, source, licence, document_start, document_end = self._segments[number].locate(
                place, end - start
            )
            if name in seen:
                continue
            seen.add(name)
            own_start, own_end = (_original(form, characters, offset) for offset in (start, end))
            yield Span(own_start, own_end, name, source, licence, document_start, document_end, len(group))
            if len(seen) == MOST_SOURCES:
                return


def _original(form: Normalized, characters: np.ndarray, offset: int) -> int:
    """Characters of the original question before this byte of the normalized one."""
    ends, extra = form.run_ends, form.run_extra
    return int(characters[offset]) + int(extra[: np.searchsorted(ends, offset, side="right")].sum())


def _whole_characters(question: np.ndarray, hits: _Hits) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Hits cut to whole UTF-8 characters: a start moves right, an end moves left, past continuation bytes."""
    padded = np.append(question, 0)
    starts, ends, places = hits.starts.copy(), hits.ends.copy(), hits.places.copy()
    for _ in range(3):
        inside = ((padded[starts] & 0xC0) == 0x80) & (starts < ends)
        starts, places = starts + inside, places + inside
        ends = ends - (((padded[ends] & 0xC0) == 0x80) & (starts < ends))
    return starts, ends, places


def _maximal(found: list[tuple[int, int, int, int]]) -> Iterator[list[tuple[int, int, int, int]]]:
    """Groups of hits with the same start and end; hits strictly inside another one are left out."""
    found.sort(key=lambda hit: (hit[0], -hit[1], hit[2], hit[3]))
    group: list[tuple[int, int, int, int]] = []
    reached = -1
    for hit in found:
        if group and hit[:2] == group[0][:2]:
            group.append(hit)
        elif hit[1] > reached:
            if group:
                yield group
            group = [hit]
            reached = hit[1]
    if group:
        yield group
