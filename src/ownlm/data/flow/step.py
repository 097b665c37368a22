"""What a step of a pipeline is. Two shapes, both over iterators of documents:

    Step        __call__(documents) -> documents and drops      one document at a time, knows no other document
    CorpusStep  sketch -> decide -> apply                       needs the whole corpus (deduplication, mixing)

A step is a `Settings`: its fields are the options of the YAML file, validated and explained there. It yields, for every
document it takes, exactly one Document (changed or not) or one Drop, before it takes the next one; Notes in between
count what was changed. The runner counts in = out + dropped, fills in the step's name, and stops the run when a step
breaks this. A step must be a pure function of its options and the documents: no clock, no random numbers without a
seed of its options, no order of a set. Then the output is the same for any number of workers.

Options of type Path are files that the step reads: the runner puts their SHA-256 into the manifest.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from ownlm.records import Document, Drop

Arrays = Mapping[str, np.ndarray]  # one numpy array per name; stored as safetensors, so no object dtypes
SAMPLE_CHARACTERS = 300


@dataclass(frozen=True, slots=True)
class Note:
    """`count` places were changed without dropping a document, e.g. Note("e-mail addresses replaced", 3)."""

    change: str
    count: int = 1


@runtime_checkable
class Step(Protocol):
    """One document in, one Document or Drop out; nothing is remembered from one document to the next."""

    def __call__(self, documents: Iterator[Document]) -> Iterator[Document | Drop | Note]: ...


@runtime_checkable
class CorpusStep(Protocol):
    """A step that needs the whole corpus, in three passes of which only the second runs in one process.

    sketch: what must be known of one part of the corpus, small (say how many bytes per document in the docstring).
    decide: from the sketches of all parts, in corpus order, one decision per part. Sketches are loaded when indexed
            and not kept: iterate, do not hold them, unless the docstring states the memory.
    apply:  one part again, with its decision; yields as a Step does, documents in the same order as in sketch.
    """

    def sketch(self, documents: Iterator[Document]) -> Arrays: ...

    def decide(self, sketches: Sequence[Arrays]) -> Sequence[Arrays]: ...

    def apply(self, documents: Iterator[Document], decision: Arrays) -> Iterator[Document | Drop | Note]: ...


def drop(document: Document, reason: str) -> Drop:
    """`reason` is "category" or "category: detail"; categories are few, since they are what the funnel counts."""
    return Drop(document.source, "", reason, document.text[:SAMPLE_CHARACTERS])


def run_alone(step: Step | CorpusStep, documents: Iterable[Document]) -> list[Document | Drop | Note]:
    """All output of one step over documents in memory, as one part: for tests and for a look."""
    if isinstance(step, CorpusStep):
        kept = list(documents)
        (decision,) = step.decide([step.sketch(iter(kept))])
        return list(step.apply(iter(kept), decision))
    return list(step(iter(documents)))
