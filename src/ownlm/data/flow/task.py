"""One task: one part of the input, or one file of the stage before, through the steps of a stage.

A pipeline is cut into stages at its corpus steps, because those need all documents before any can go on:

    stage 0   read, steps ...                     then the sketch of corpus step A
    stage 1   A.apply with A's decision, steps ... then the sketch of corpus step B
    ...

Every task of a stage is independent of the others, so any number of workers gives the same files.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import zstandard
from safetensors.numpy import load_file, save

from ownlm.data import store
from ownlm.data.flow.chain import BrokenStep, StepFailed, Transform, run
from ownlm.data.flow.content import of as content_of
from ownlm.data.flow.journal import Journal
from ownlm.data.flow.recipe import Named, Pipeline
from ownlm.data.flow.step import Arrays, CorpusStep, Note, Step
from ownlm.data.limits import Limits
from ownlm.data.sources.part import read_unit, units
from ownlm.data.sources.source import Part
from ownlm.records import Document, Drop
from ownlm.runtime.files import open_atomic, read_json, sha256_file, write_atomic, write_json

Beat = Callable[[int], None]  # called with the number of the unit that is begun; -1: none


@dataclass(frozen=True, slots=True)
class StagePlan:
    steps: tuple[Named, ...]  # from stage 1 on, the first is the corpus step whose decision is applied
    sketches: Named | None  # the corpus step that the next stage begins with


@dataclass(frozen=True, slots=True)
class Task:
    """JSON values only: a task travels to a worker as one line."""

    stage: int
    number: int
    folder: str  # of the stage
    part: Mapping[str, Any] | None = None  # stage 0
    previous: str | None = None  # later: the document file of the stage before
    num_bytes: int = 0  # of input, for progress

    @property
    def prefix(self) -> Path:
        return Path(self.folder) / f"{self.number:05d}"

    def file(self, ending: str) -> Path:
        return self.prefix.with_name(self.prefix.name + ending)

    def done(self) -> bool:
        return self.file(".json").is_file()


@dataclass(slots=True)
class GivenUp:
    """Units that a task must not try again, with the reason; and how often each has failed so far."""

    reasons: dict[int, str] = field(default_factory=dict)
    attempts: dict[int, int] = field(default_factory=dict)


class UnitFailed(Exception):
    """Unit `number` made a step raise; the text is the reason of its drop."""

    def __init__(self, number: int, reason: str) -> None:
        super().__init__(reason)
        self.number = number


def stages(pipeline: Pipeline) -> list[StagePlan]:
    cut: list[list[Named]] = [[]]
    for named in pipeline.steps:
        if named.is_corpus:
            cut.append([named])
        else:
            cut[-1].append(named)
    heads = [steps[0] for steps in cut[1:]] + [None]
    return [StagePlan(tuple(steps), head) for steps, head in zip(cut, heads, strict=True)]


def perform(task: Task, pipeline: Pipeline, given_up: Mapping[int, str], beat: Beat) -> None:
    """Make the files of a task; goes on where an earlier attempt was cut off. The last file written is NAME.json.

    Raises UnitFailed when a step raises, BrokenStep when a step breaks its contract.
    """
    plan = stages(pipeline)[task.stage]
    recipe = pipeline.recipe
    names = [named.name for named in plan.steps]
    journal = Journal(task.prefix, names, recipe.seed, recipe.keep_dropped, task.stage == 0)
    current = -1

    def begin(number: int) -> None:
        nonlocal current
        current = number
        beat(number)

    try:
        transforms = _transforms(plan, task, lambda: current)
        run(_source(task, journal, given_up, begin), transforms, journal.event)
    except StepFailed as error:
        raise UnitFailed(current, str(error)[:500]) from error
    finally:
        journal.close()
    beat(-1)
    _finish(task, plan, journal)


def _source(task: Task, journal: Journal, given_up: Mapping[int, str], begin: Beat) -> Iterator[Document]:
    """The documents of the units that are not closed yet; a unit is closed when its last document is through."""
    limits = Limits()
    part = Part(**task.part) if task.part is not None else None
    found: Iterator[Any] = (
        units(part, limits) if part is not None else store.read_documents(task.previous or "")
    )
    for number, unit in enumerate(found):
        if number < journal.num_units:
            continue
        begin(number)
        if isinstance(unit, Drop):
            journal.unread(unit)
        elif number in given_up:
            journal.unread(
                Drop(unit.source, "", given_up[number]), len(unit.text) if isinstance(unit, Document) else 0
            )
        elif isinstance(unit, Document):
            journal.read(unit)
            yield unit
        else:
            for item in _read(unit, limits):
                if isinstance(item, Drop):
                    journal.unread(item)
                else:
                    journal.read(item)
                    yield item
        journal.close_unit()


def _read(unit: Any, limits: Limits) -> Iterator[Document | Drop]:
    """What the reader raises is the fault of what it reads: the rest of the unit is quarantined."""
    items = read_unit(unit, limits)
    while True:
        try:
            item = next(items)
        except StopIteration:
            return
        except MemoryError:
            item = Drop(unit.source, "", "reader failed: out of memory")
        except Exception as error:
            item = Drop(unit.source, "", f"reader failed: {type(error).__name__}: {error}"[:500])
        yield item
        if isinstance(item, Drop) and item.reason.startswith("reader failed"):
            return


def _transforms(plan: StagePlan, task: Task, current: Callable[[], int]) -> list[tuple[str, Transform]]:
    found: list[tuple[str, Transform]] = []
    for named in plan.steps:
        if isinstance(named.step, CorpusStep):
            decision = load_file(task.file(".decision.safetensors"))
            found.append((named.name, _aligned(named, decision, task.previous or "", current)))
        else:
            assert isinstance(named.step, Step), "table.build makes steps only"
            found.append((named.name, named.step))
    return found


def _aligned(named: Named, decision: Arrays, path: str, current: Callable[[], int]) -> Transform:
    """`apply` sees every document of the file, as its decision does; what comes out is what belongs to the documents of
    this attempt, which may begin in the middle or leave some out. `current`: the number of the document at hand."""
    corpus_step = named.step
    assert isinstance(corpus_step, CorpusStep), "only corpus steps have decisions"

    def transform(documents: Iterator[Document]) -> Iterator[Document | Drop | Note]:
        taken = given = -1

        def feed() -> Iterator[Document]:
            nonlocal taken
            for document in store.read_documents(path):
                taken += 1
                yield document

        outputs = corpus_step.apply(feed(), decision)
        for _ in documents:
            notes: list[Note] = []
            for item in outputs:
                if isinstance(item, Note):
                    notes.append(item)
                    continue
                if taken != given + 1:
                    raise BrokenStep(f"step {named.name} gave back another number of documents than it took")
                given = taken
                if given == current():
                    yield from notes
                    yield item
                    break
                notes = []
            else:
                raise BrokenStep(f"step {named.name} ended before its last document")

    return transform


def _finish(task: Task, plan: StagePlan, journal: Journal) -> None:
    """Compress the documents, sketch them for the next corpus step, and say that the task is done."""
    packed = task.file(".jsonl.zst")
    with open(journal.documents_path, "rb") as file, open_atomic(packed) as out:
        compressor = zstandard.ZstdCompressor(compression_params=store.CHECKSUMMED)
        with compressor.stream_writer(out, closefd=False) as writer:
            while block := file.read(1 << 20):
                writer.write(block)
    if plan.sketches is not None:
        assert isinstance(plan.sketches.step, CorpusStep), "a stage ends at a corpus step"
        sketch = plan.sketches.step.sketch(store.read_documents(packed))
        write_arrays(task.file(".sketch.safetensors"), sketch)
    content = content_of(store.read_documents(packed)).saved() if plan.sketches is None else None
    write_json(task.file(".json"), {
        "num_documents": journal.num_documents, "num_bytes": journal.documents_path.stat().st_size,
        "sha256": sha256_file(packed), "funnel": journal.funnel.saved(), "quarantine": journal.quarantine,
        "dropped": journal.dropped, "content": content,
    })  # fmt: skip
    journal.remove()


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Safetensors has no place for zero arrays or zero-dimensional ones of other kinds: all are made contiguous."""
    plain = {name: np.ascontiguousarray(array) for name, array in sorted(arrays.items())}
    write_atomic(path, save(plain))


def result(task: Task) -> dict[str, Any]:
    found: dict[str, Any] = read_json(task.file(".json"))
    return found


def to_line(task: Task) -> str:
    return json.dumps(asdict(task), ensure_ascii=True)
