"""Documents through the steps of a stage, with every document accounted for at every step.

Each step pulls from the one before it, so one document at a time is on its way. `trace` is that document's length in
characters at each boundary: before step 0, before step 1, ... and, when it came through, after the last.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from ownlm.data.flow.step import Note
from ownlm.errors import OwnlmError
from ownlm.records import Document, Drop

Transform = Callable[[Iterator[Document]], Iterator[Document | Drop | Note]]


@dataclass(frozen=True, slots=True)
class Passed:
    document: Document
    trace: tuple[int, ...]  # characters at each boundary


@dataclass(frozen=True, slots=True)
class Dropped:
    drop: Drop  # with the name of the step that dropped it
    trace: tuple[int, ...]  # up to that step


@dataclass(frozen=True, slots=True)
class Noted:
    step: str
    note: Note


class BrokenStep(Exception):
    """A step lost a document, gave back two, or read ahead; the text says which step and what."""


class StepFailed(Exception):
    """A step raised; `step` is its name, the cause is chained."""

    def __init__(self, step: str, error: Exception) -> None:
        super().__init__(f"step {step} failed: {type(error).__name__}: {error}")
        self.step = step


def run(
    source: Iterator[Document], steps: Sequence[tuple[str, Transform]], emit: Callable[[Passed | Dropped | Noted], None]
) -> None:  # fmt: skip
    """Pull every document of the source through the steps; `emit` gets each event before the next document is drawn."""
    trace: list[int] = []

    def entering(documents: Iterator[Document]) -> Iterator[Document]:
        for document in documents:
            trace[:] = [len(document.text)]
            yield document

    documents = entering(source)
    for name, step in steps:
        documents = _through(name, step, documents, trace, emit)
    for document in documents:
        emit(Passed(document, tuple(trace)))


def _through(
    name: str, step: Transform, documents: Iterator[Document], trace: list[int],
    emit: Callable[[Passed | Dropped | Noted], None],
) -> Iterator[Document]:  # fmt: skip
    waiting = 0  # documents taken and not given back: 0 or 1

    def feed() -> Iterator[Document]:
        nonlocal waiting
        for document in documents:
            if waiting:
                raise BrokenStep(
                    f"step {name} took a document before giving back, or dropping, the one before it"
                )
            waiting = 1
            yield document

    for item in _named(name, step, feed()):
        if isinstance(item, Note):
            emit(Noted(name, item))
            continue
        if not waiting:
            raise BrokenStep(f"step {name} gave back more documents than it took")
        waiting = 0
        if isinstance(item, Drop):
            emit(Dropped(Drop(item.source, name, item.reason, item.sample), tuple(trace)))
        else:
            trace.append(len(item.text))
            yield item
    if waiting:
        raise BrokenStep(f"step {name} ended without giving back, or dropping, its last document")


def _named(name: str, step: Transform, fed: Iterator[Document]) -> Iterator[Document | Drop | Note]:
    """The step's output; what it raises itself is told apart from what the steps before it raise."""
    upstream: list[BaseException] = []

    def guarded() -> Iterator[Document]:
        try:
            yield from fed
        except Exception as error:
            upstream.append(error)
            raise

    try:
        yield from step(guarded())
    except (BrokenStep, OwnlmError):  # a wrong option or a full disk is no fault of the document
        raise
    except Exception as error:
        if upstream and (
            error is upstream[0] or error.__context__ is upstream[0] or error.__cause__ is upstream[0]
        ):
            raise upstream[0] from None
        raise StepFailed(name, error) from error
