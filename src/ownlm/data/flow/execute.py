"""A pipeline from its input to a folder of documents: stages of tasks, resumable at any moment.

WORK/plan.json                     the tasks of stage 0
WORK/stage-0/00012.json            written last: task 12 is done, with its counts
WORK/stage-0/00012.jsonl.zst       its documents
WORK/stage-1/00012.decision...     what a corpus step decided for them
WORK/assembled                     everything is in its place; WORK can go

OUT/documents/00000.jsonl.zst ...  the documents, in the order of the input
OUT/funnel.json                    counts per step and reason
OUT/dropped.jsonl.zst              a sample of what was dropped (all of it with keep_dropped)
OUT/quarantine.jsonl.zst           everything that could not be read, or that killed a worker
OUT/parts.json                     which input each document file was made from
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import Any, overload

import numpy as np
from safetensors.numpy import load_file

from ownlm.data import store
from ownlm.data.flow.content import Content
from ownlm.data.flow.journal import READ
from ownlm.data.flow.recipe import Pipeline
from ownlm.data.flow.step import Arrays, CorpusStep
from ownlm.data.flow.task import StagePlan, Task, result, stages, write_arrays
from ownlm.data.flow.workers import Workers
from ownlm.data.funnel import Funnel, unbalanced
from ownlm.data.sources.part import split
from ownlm.data.sources.source import Source
from ownlm.errors import DataError
from ownlm.records import Document
from ownlm.runtime.files import fsync_dir, read_json, write_atomic, write_json
from ownlm.runtime.progress import Progress

WORK = "work"
GIVEN = "given"  # kind of a part that holds documents of this run's caller


def execute(
    pipeline: Pipeline, out: Path, workers: Workers, given: Iterable[Document] | None = None
) -> dict[str, Any]:
    """Fill `out`, from what the pipeline reads or from `given` documents; returns what funnel.json holds (content.py, funnel.py).

    The same pipeline over the same input gives the same bytes for any workers; a killed run goes on.
    Raises DataError when nothing is there to read, nothing is left at the end, or a step is broken.
    """
    work = out / WORK
    if not (work / "assembled").is_file() and not (out / "funnel.json").is_file():
        tasks = _first_tasks(pipeline, work, given)
        plans = stages(pipeline)
        for number, plan in enumerate(plans):
            if number:
                tasks = _next_tasks(tasks, plans[number - 1], work / f"stage-{number}")
            _run(pipeline, tasks, workers, _label(number, plan, len(plans)))
        _assemble(pipeline, tasks, len(plans), out)
        write_atomic(work / "assembled", "")
    shutil.rmtree(work, ignore_errors=True)
    facts: dict[str, Any] = read_json(out / "funnel.json")
    return facts


def _label(number: int, plan: StagePlan, count: int) -> str:
    first = "read" if number == 0 else plan.steps[0].name
    return f"{first} ({number + 1}/{count})" if count > 1 else "pipeline"


def _first_tasks(pipeline: Pipeline, work: Path, given: Iterable[Document] | None) -> list[Task]:
    """The parts of the input, cut once and then kept, since cutting may need a scan."""
    listing, folder = work / "plan.json", str(work / "stage-0")
    size = int(pipeline.recipe.part_megabytes * (1 << 20))
    if not listing.is_file():
        parts: list[dict[str, Any]] = []
        if given is not None:
            parts = _spooled(given, work / "given", size)
        for source in pipeline.recipe.read if given is None else ():
            parts += [asdict(part) for part in split(placed(source, pipeline.folder), size)]
        if not parts:
            raise DataError(
                "There is nothing to read.", "`read` is empty", "name files with `read:` or --data"
            )
        write_json(listing, parts)
    tasks = []
    for number, part in enumerate(read_json(listing)):
        if part["kind"] == GIVEN:
            tasks.append(Task(0, number, folder, None, part["paths"][0], part["num_bytes"]))
        else:
            tasks.append(Task(0, number, folder, part, None, part["num_bytes"]))
    return tasks


def _spooled(documents: Iterable[Document], folder: Path, part_bytes: int) -> list[dict[str, Any]]:
    """Documents that a program made, as files that workers can read."""
    parts: list[dict[str, Any]] = []
    stream = iter(documents)
    for first in stream:
        size = 0

        def part(first: Document = first) -> Iterator[Document]:
            nonlocal size
            for document in chain([first], stream):
                size += len(document.text.encode("utf-8", "surrogatepass"))
                yield document
                if size >= part_bytes:
                    return

        path = folder / f"{len(parts):05d}.jsonl.zst"
        store.write_documents(path, part())
        parts.append({"kind": GIVEN, "paths": [str(path)], "start": 0, "end": -1, "num_bytes": size})
    return parts


def placed(source: Source, folder: Path) -> Source:
    """The source with relative paths starting where the pipeline file lies."""
    paths = tuple(path if "://" in path else str(folder / path) for path in source.paths)
    return source.model_copy(update={"path": paths})


def _run(pipeline: Pipeline, tasks: Sequence[Task], workers: Workers, label: str) -> None:
    missing = [task for task in tasks if not task.done()]
    total = sum(task.num_bytes for task in tasks)
    done = total - sum(task.num_bytes for task in missing)
    if not missing:
        return
    Path(missing[0].folder).mkdir(parents=True, exist_ok=True)
    with Progress(label, total=total, unit="bytes", start=done) as progress:
        for count, task in enumerate(workers.run(pipeline, missing), 1):
            progress.update(task.num_bytes, tasks=f"{len(tasks) - len(missing) + count}/{len(tasks)}")


class _Sketches(Sequence[Arrays]):
    """Loaded when indexed, not kept."""

    def __init__(self, tasks: Sequence[Task]) -> None:
        self._tasks = tasks

    def __len__(self) -> int:
        return len(self._tasks)

    @overload
    def __getitem__(self, index: int) -> Arrays: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Arrays]: ...
    def __getitem__(self, index: int | slice) -> Arrays | Sequence[Arrays]:
        if isinstance(index, slice):
            return _Sketches(self._tasks[index])
        arrays: dict[str, np.ndarray] = load_file(self._tasks[index].file(".sketch.safetensors"))
        return arrays


def _next_tasks(before: Sequence[Task], plan: StagePlan, folder: Path) -> list[Task]:
    """Decide (once), then one task per file of the stage before."""
    tasks = [Task(task.stage + 1, task.number, str(folder), None, str(task.file(".jsonl.zst")),
                  result(task)["num_bytes"]) for task in before]  # fmt: skip
    marker = folder / "decided"
    if not marker.is_file():
        assert plan.sketches is not None and isinstance(plan.sketches.step, CorpusStep), (
            "stages are cut at corpus steps"
        )
        folder.mkdir(parents=True, exist_ok=True)
        decisions = plan.sketches.step.decide(_Sketches(before))
        if len(decisions) != len(tasks):
            raise DataError(
                "A corpus step decided for another number of parts.",
                f"{plan.sketches.name}: {len(decisions)} for {len(tasks)}",
                "this is a bug of the step",
            )
        for task, decision in zip(tasks, decisions, strict=True):
            write_arrays(task.file(".decision.safetensors"), decision)
        write_atomic(marker, "")
    return tasks


def _assemble(pipeline: Pipeline, tasks: Sequence[Task], num_stages: int, out: Path) -> None:
    """The files of the last stage under their final names, and the counts of all stages in one funnel."""
    funnel, content = Funnel(pipeline.recipe.seed), Content()
    done = [
        Task(stage, task.number, str(out / WORK / f"stage-{stage}"))
        for stage in range(num_stages)
        for task in tasks
    ]
    for task in done:
        facts = result(task)
        funnel.merge(facts["funnel"])
        if facts["content"] is not None:
            content.merge(facts["content"])
    problems = unbalanced(funnel.as_dict()["steps"])
    if problems:
        raise DataError(
            "The counts of the pipeline do not add up.",
            "\n".join(problems),
            "this is a bug: please report it",
        )
    parts = _place(tasks, read_json(out / WORK / "plan.json"), out)
    if not parts:
        raise _nothing_left(funnel)
    num_quarantined = store.write_rows(out / "quarantine.jsonl.zst", _rows(done, "quarantine"))
    if pipeline.recipe.keep_dropped:
        store.write_rows(out / "dropped.jsonl.zst", _rows(done, "dropped"))
    else:
        store.write_rows(out / "dropped.jsonl.zst", (asdict(drop) for drop in funnel.samples()))
    write_json(out / "parts.json", parts)
    write_json(
        out / "funnel.json",
        {**content.saved(), "num_quarantined": num_quarantined, "funnel": funnel.as_dict()},
    )


def _rows(tasks: Iterable[Task], kind: str) -> Iterator[dict[str, Any]]:
    """The rows of all tasks, one task in memory at a time."""
    for task in tasks:
        for step, source, reason, sample in result(task)[kind]:
            yield {"step": step, "source": source, "reason": reason, "sample": sample}


def _place(tasks: Sequence[Task], inputs: Sequence[Mapping[str, Any]], out: Path) -> list[dict[str, Any]]:
    """Link (not copy) the non-empty files; a file that is there already was linked before a kill."""
    folder = out / "documents"
    folder.mkdir(exist_ok=True)
    parts: list[dict[str, Any]] = []
    for task, part in zip(tasks, inputs, strict=True):
        facts = result(task)
        if not facts["num_documents"]:
            continue
        name = f"{len(parts):05d}.jsonl.zst"
        (folder / name).unlink(missing_ok=True)
        os.link(task.file(".jsonl.zst"), folder / name)
        parts.append({"file": name, "num_documents": facts["num_documents"], "num_bytes": facts["num_bytes"],
                      "sha256": facts["sha256"], "paths": part["paths"], "start": part["start"], "end": part["end"]})  # fmt: skip
    fsync_dir(folder)
    return parts


def _nothing_left(funnel: Funnel) -> DataError:
    rows = [f"{dropped} x {reason} ({step})" for step, reason, _, _, dropped in funnel.table() if reason]
    why = "\n".join(rows) or "the data is empty"
    if not funnel.step(READ).num_out:
        fix = "give text: .txt .md .rst .html .pdf .docx, source code, .jsonl(.gz/.zst) with a `text` field, .warc.gz, .parquet"
        return DataError("There is no readable text in the data.", why, fix)
    return DataError("No document is left.", why, "relax or remove the step that drops the most")


def read_output(out: Path) -> Iterator[Document]:
    """The documents of a finished folder, in order."""
    for path in sorted((out / "documents").glob("*.jsonl.zst")):
        yield from store.read_documents(path)
