"""Every document is accounted for at every step, and a step that breaks the contract is named."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from ownlm.data.flow.chain import BrokenStep, Dropped, Noted, Passed, StepFailed, run
from ownlm.data.flow.step import Note, drop
from ownlm.records import Document, Drop


def documents(count: int) -> list[Document]:
    return [Document(f"id{n}", "x" * n, f"file{n}") for n in range(count)]


def upper(stream: Iterator[Document]) -> Iterator[Document | Drop | Note]:
    for document in stream:
        yield Note("seen")
        yield Document(document.id, document.text + "!", document.source)


def even(stream: Iterator[Document]) -> Iterator[Document | Drop | Note]:
    for document in stream:
        yield document if int(document.id[2:]) % 2 == 0 else drop(document, "odd: yes")


def events_of(steps: list[tuple[str, Any]], count: int = 4) -> list[Passed | Dropped | Noted]:
    events: list[Passed | Dropped | Noted] = []
    run(iter(documents(count)), steps, events.append)
    return events


def test_events_come_in_order_with_the_length_at_every_boundary():
    events = events_of([("upper", upper), ("even", even)])
    assert [type(event).__name__ for event in events] == ["Noted", "Passed", "Noted", "Dropped"] * 2
    passed = [event for event in events if isinstance(event, Passed)]
    assert [event.trace for event in passed] == [(0, 1, 1), (2, 3, 3)]
    dropped = [event for event in events if isinstance(event, Dropped)]
    assert [(event.drop.step, event.drop.reason, event.trace) for event in dropped] == [
        ("even", "odd: yes", (1, 2)), ("even", "odd: yes", (3, 4)),
    ]  # fmt: skip


def test_a_document_is_through_before_the_next_is_drawn():
    seen: list[str] = []

    def source() -> Iterator[Document]:
        for document in documents(3):
            seen.append(f"draw {document.id}")
            yield document

    run(source(), [("upper", upper), ("even", even)], lambda event: seen.append(type(event).__name__))
    assert seen == [
        "draw id0",
        "Noted",
        "Passed",
        "draw id1",
        "Noted",
        "Dropped",
        "draw id2",
        "Noted",
        "Passed",
    ]


def loses(stream: Iterator[Document]) -> Iterator[Document]:
    for document in stream:
        if document.id != "id1":
            yield document


def doubles(stream: Iterator[Document]) -> Iterator[Document]:
    for document in stream:
        yield document
        yield document


def reads_ahead(stream: Iterator[Document]) -> Iterator[Document]:
    yield from list(stream)


def ends_early(stream: Iterator[Document]) -> Iterator[Document]:
    next(stream)
    return
    yield


@pytest.mark.parametrize("step", [loses, doubles, reads_ahead, ends_early])
def test_a_step_that_breaks_the_contract_is_named(step):
    with pytest.raises(BrokenStep, match="step wrong"):
        events_of([("upper", upper), ("wrong", step), ("even", even)])


def fails(stream: Iterator[Document]) -> Iterator[Document]:
    for document in stream:
        if document.id == "id2":
            raise ValueError("cannot")
        yield document


def test_a_step_that_raises_is_named_and_the_ones_after_it_are_not_blamed():
    events: list[Any] = []
    with pytest.raises(StepFailed, match="step wrong failed: ValueError: cannot") as caught:
        run(
            iter(documents(4)),
            [("upper", upper), ("wrong", fails), ("even", even), ("more", upper)],
            events.append,
        )
    assert caught.value.step == "wrong" and len([e for e in events if not isinstance(e, Noted)]) == 2


def test_what_the_source_raises_passes_through():
    def source() -> Iterator[Document]:
        yield documents(1)[0]
        raise OSError("disk")

    with pytest.raises(OSError, match="disk"):
        run(source(), [("upper", upper), ("even", even)], lambda event: None)
