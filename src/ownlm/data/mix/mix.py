"""Mix sources by weight: which documents stay, and how often each is read per epoch.

A source is one value of `meta[key]`, "collection" unless said otherwise. With weight w of a total T a source is read
w T / available times: below 1 some of its documents are dropped, above 1 documents are repeated. A repeated document
stays one document; `meta["repeat"]` says how often it is read, the shards keep that number, and the orders of
`data.mix.order` give the document that many places, far from each other.

Which documents go, or are read once more than the others, is decided by a hash of seed and document id: the same
choice for any number of workers and any order of the parts, and a larger total keeps what a smaller one kept.

Repeating up to about 4 times is nearly worth new text, beyond it the worth decays: Muennighoff et al. 2023, "Scaling
Data-Constrained Language Models" (arXiv:2305.16264), section 5. `mix` counts the documents that are read more often.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from ownlm.config import Settings
from ownlm.data.flow.step import Arrays, Note, drop
from ownlm.data.mix.cells import Cells, cut_at
from ownlm.errors import DataError, UsageError
from ownlm.records import Document, Drop

MANY_EPOCHS = 4
BYTES_PER_TOKEN = 4.0
_EXAMPLE = 'write e.g. {"weights": {"web": 0.8, "code": 0.2}}'
Unit = Literal["bytes", "words", "documents", "tokens"]


class Mix(Settings):
    """Weights by source. Sketch: 18 bytes per document and the names of the sources. `decide` reads the sketches twice
    and holds 1 MiB per source, whatever the number of documents."""

    weights: dict[str, float] = {}
    """Share of every source, e.g. {web: 0.8, code: 0.1, books: 0.05, science: 0.05}; divided by their sum. Documents of
    a source that is not named, or has weight 0, are dropped."""
    weights_file: Path | None = None
    """The weights as JSON in place of `weights`: {"web": 0.8, ...}, or an object with them under "weights", which is
    what DoReMi writes."""
    key: str = "collection"
    """The meta key that names a document's source."""
    unit: Unit = "tokens"
    """What the shares are shares of. Tokens are estimated: UTF-8 bytes over bytes_per_token."""
    bytes_per_token: dict[str, float] = {}
    """UTF-8 bytes per token of a source, where it is not 4.0: code and other languages have fewer."""
    total: float | None = Field(default=None, gt=0)
    """Size of the result in `unit`, repeats counted; none: as much as the sources give within max_epochs."""
    max_epochs: float = Field(default=1.0, gt=0)
    """No source is read more often than this; a total that would need more is an error that names the source."""
    seed: int = 0
    """Chooses which documents go."""

    def sketch(self, documents: Iterator[Document]) -> Arrays:
        names: dict[str, int] = {}
        wanted = self._normalised()
        rows = [
            (names.setdefault(name, len(names)), self._size(document), self._hash(document))
            for document in documents
            if (name := self._name(document)) in wanted
        ]
        return {
            "source": np.array([row[0] for row in rows], np.uint16),
            "size": np.array([row[1] for row in rows], np.float64),
            "hash": np.array([row[2] for row in rows], np.uint64),
            "names": np.frombuffer("\0".join(names).encode(), np.uint8),
        }

    def decide(self, sketches: Sequence[Arrays]) -> Sequence[Arrays]:
        """One threshold per source: hashes below it are read once more than the others. The same for every part."""
        wanted = self._normalised()
        sources = {name: Cells() for name in wanted}
        for sketch in sketches:
            for name, mine in _by_source(sketch):
                sources[name].add(sketch["hash"][mine], sketch["size"][mine])
        epochs = self._epochs(
            wanted, {name: cells.total / self._rate(name) for name, cells in sources.items()}
        )
        names = sorted(wanted)
        extra = {name: (epochs[name] % 1.0) * sources[name].total for name in names}
        cell = {name: sources[name].boundary(extra[name]) for name in names}
        inside: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {name: [] for name in names}
        for sketch in sketches:
            for name, mine in _by_source(sketch):
                hashes, sizes = sketch["hash"][mine], sketch["size"][mine]
                here = Cells.of(hashes) == cell[name]
                inside[name].append((hashes[here], sizes[here]))
        thresholds = [
            cut_at(inside[name], cell[name], extra[name] - sources[name].before(cell[name])) for name in names
        ]
        decision: dict[str, np.ndarray] = {
            "base": np.array([int(epochs[name]) for name in names], np.int64),
            "below": np.array(thresholds, np.uint64),
            "epochs": np.array([epochs[name] for name in names], np.float64),
        }
        return [decision for _ in range(len(sketches))]

    def apply(self, documents: Iterator[Document], decision: Arrays) -> Iterator[Document | Drop | Note]:
        place = {name: number for number, name in enumerate(sorted(self._normalised()))}
        for document in documents:
            name = self._name(document)
            number = place.get(name)
            if number is None:
                yield drop(document, f"mix: source without a weight: {name or 'none'}")
                continue
            once_more = self._hash(document) < int(decision["below"][number])
            times = int(decision["base"][number]) + once_more
            if times == 0:
                yield drop(document, "mix: down-sampled")
            elif times == 1:
                yield document
            else:
                yield Note("documents repeated")
                if float(decision["epochs"][number]) > MANY_EPOCHS:
                    yield Note(
                        f"warning: source {name} is read more than {MANY_EPOCHS} times, which adds little"
                    )
                yield _repeated(document, times)

    def _name(self, document: Document) -> str:
        return str(document.meta.get(self.key, ""))

    def _hash(self, document: Document) -> int:
        """63 bits of (seed, id): below 2**63, so that a threshold above every hash exists."""
        data = f"{self.seed}\0{document.id}".encode("utf-8", "surrogatepass")
        return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little") >> 1

    def _size(self, document: Document) -> float:
        """A whole number, so that sums do not depend on how the corpus is cut; tokens are counted in bytes first."""
        return measure(document, "bytes" if self.unit == "tokens" else self.unit)

    def _rate(self, name: str) -> float:
        return self.bytes_per_token.get(name, BYTES_PER_TOKEN) if self.unit == "tokens" else 1.0

    def _normalised(self) -> dict[str, float]:
        """Shares that sum to 1. Raises UsageError for a negative or unusable weight."""
        weights = self._given()
        wrong = {n: w for n, w in weights.items() if not 0 <= w < float("inf") or "\0" in n}
        wrong |= {n: b for n, b in self.bytes_per_token.items() if not 0 < b < float("inf")}
        together = sum(weights.values())
        if wrong or not together > 0:
            raise UsageError(
                "Weights of a mix must be 0 or more, one of them more, and bytes per token positive.",
                str(wrong or weights),
                "e.g. weights: {web: 0.8, code: 0.2}",
            )
        return {name: weight / together for name, weight in weights.items() if weight > 0}

    def _given(self) -> Mapping[str, float]:
        if (self.weights_file is None) == (not self.weights):
            raise UsageError(
                "A mix needs its weights, from one place.",
                f"weights: {self.weights}, weights_file: {self.weights_file}",
                "set one of the two, e.g. weights: {web: 0.8, code: 0.2}",
            )
        if self.weights_file is None:
            return self.weights
        path = self.weights_file.resolve()
        if not path.is_file():
            raise UsageError("The file of weights does not exist.", str(path), "check weights_file")
        return read_weights(path, path.stat().st_mtime_ns)

    def _epochs(self, wanted: Mapping[str, float], available: Mapping[str, float]) -> dict[str, float]:
        """How often every source is read. Raises DataError for an empty source, UsageError for too large a total."""
        empty = sorted(name for name in wanted if available[name] <= 0)
        if empty:
            raise DataError(
                "A source of the mix has no documents.",
                f'{", ".join(empty)}; found by meta["{self.key}"]',
                f"check {self.key} of the readers, or take the source out of weights",
            )
        largest = min(self.max_epochs * available[name] / share for name, share in wanted.items())
        total = largest if self.total is None else self.total
        epochs = {name: share * total / available[name] for name, share in wanted.items()}
        scarce = {
            name: round(times, 3) for name, times in epochs.items() if times > self.max_epochs * (1 + 1e-9)
        }
        if scarce:
            raise UsageError(
                f"The mix would repeat a source more than max_epochs = {self.max_epochs:g} times.",
                f"{scarce} times for a total of {total:,.0f} {self.unit}; {largest:,.0f} is possible",
                "set a smaller total or a larger max_epochs, or leave total out",
            )
        # a source that is read exactly n times must not come out as n - 1e-16: that would split it at a hash
        return {name: float(round(t)) if abs(t - round(t)) < 1e-9 else t for name, t in epochs.items()}


@cache
def read_weights(path: Path, modified: int) -> Mapping[str, float]:
    """Weights of a JSON file, once per process and state of the file. Raises UsageError when they are none."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError("The file of weights is not JSON.", f"{path}: {error}", _EXAMPLE) from error
    weights = found.get("weights", found) if isinstance(found, dict) else None
    if not isinstance(weights, dict) or not all(type(w) in (int, float) for w in weights.values()):
        raise UsageError("The file holds no weights.", f"{path}: {str(found)[:200]}", _EXAMPLE)
    return {name: float(weight) for name, weight in weights.items()}


def measure(document: Document, unit: Unit, bytes_per_token: float = BYTES_PER_TOKEN) -> float:
    """Size of a text: UTF-8 bytes, words between white space, 1, or tokens estimated from the bytes."""
    if unit == "documents":
        return 1.0
    if unit == "words":
        return float(len(document.text.split()))
    size = float(len(document.text.encode("utf-8", "surrogatepass")))
    return size / bytes_per_token if unit == "tokens" else size


def _repeated(document: Document, times: int) -> Document:
    meta: dict[str, Any] = {**document.meta, "repeat": times}
    return Document(document.id, document.text, document.source, document.licence, meta)


def _by_source(sketch: Arrays) -> Iterator[tuple[str, np.ndarray]]:
    """(name, which rows of the sketch) of every source in it."""
    joined = bytes(sketch["names"]).decode()
    if len(sketch["source"]):
        for number, name in enumerate(joined.split("\0")):
            yield name, sketch["source"] == number
