"""A few documents through every step, before and after, to look at before a long run.

Corpus steps decide on the previewed documents alone, so what they show is how they work, not what they will drop.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import islice

from ownlm.data.flow import chain
from ownlm.data.flow.chain import BrokenStep, Dropped, Noted, Passed, StepFailed
from ownlm.data.flow.execute import placed
from ownlm.data.flow.recipe import Named, Pipeline
from ownlm.data.flow.step import CorpusStep
from ownlm.data.limits import Limits
from ownlm.data.sources.part import read_unit, split, units
from ownlm.errors import DataError
from ownlm.records import Document, Drop


@dataclass(slots=True)
class Change:
    """What one step did to one document."""

    step: str
    before: str
    after: str | None  # None: dropped
    reason: str = ""
    notes: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Row:
    """One document on its way."""

    source: str
    text: str  # as it was read
    changes: list[Change] = field(default_factory=list)
    kept: Document | None = None


def first_documents(pipeline: Pipeline, count: int) -> Iterator[Document | Drop]:
    """Of every source the first documents, `count` in all, one source after the other in turns of a few."""
    limits = Limits()
    share = max(1, count // max(1, len(pipeline.recipe.read)))
    for source in pipeline.recipe.read:
        items = (item for part in split(placed(source, pipeline.folder), 1 << 20) for unit in units(part, limits)
                 for item in ([unit] if isinstance(unit, Drop) else read_unit(unit, limits)))  # fmt: skip
        yield from islice(items, share)


def preview(pipeline: Pipeline, count: int = 20) -> list[Row | Drop]:
    """Raises DataError when a step fails or breaks its contract, naming the document."""
    rows: list[Row | Drop] = []
    for item in first_documents(pipeline, count):
        rows.append(item if isinstance(item, Drop) else Row(item.source, item.text, [], item))
    for named in pipeline.steps:
        alive = [row for row in rows if isinstance(row, Row) and row.kept is not None]
        for row, change, document in _apply(named, alive):
            row.changes.append(change)
            row.kept = document
    return rows


def _apply(named: Named, rows: list[Row]) -> Iterator[tuple[Row, Change, Document | None]]:
    documents = [row.kept for row in rows if row.kept is not None]
    step = named.step
    if isinstance(step, CorpusStep):
        (decision,) = step.decide([step.sketch(iter(documents))])
        transform: chain.Transform = partial(step.apply, decision=decision)
    else:
        transform = step
    events: list[Passed | Dropped | Noted] = []
    try:
        chain.run(iter(documents), [(named.name, transform)], events.append)
    except (StepFailed, BrokenStep) as error:
        at = sum(not isinstance(event, Noted) for event in events)
        raise DataError(
            "A step failed in the preview.", f"{rows[at].source if at < len(rows) else ''}: {error}", ""
        ) from error
    notes: list[str] = []
    done = iter(rows)
    for event in events:
        if isinstance(event, Noted):
            notes.append(f"{event.note.change}: {event.note.count}")
            continue
        row = next(done)
        before = row.kept.text if row.kept is not None else ""
        if isinstance(event, Dropped):
            yield row, Change(named.name, before, None, event.drop.reason, notes), None
        else:
            yield row, Change(named.name, before, event.document.text, "", notes), event.document
        notes = []


def as_json(rows: list[Row | Drop]) -> list[dict[str, object]]:
    return [asdict(row) for row in rows]
