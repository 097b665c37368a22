"""A finished pipeline as an artifact: a folder whose digest names this version of the data.

The manifest holds the resolved pipeline, the digests of every file that a step reads, the counts and the licences;
what is made from the folder (shards, a model) names its digest as an input.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import yaml

from ownlm.data.flow import execute, report
from ownlm.data.flow.recipe import Pipeline
from ownlm.data.flow.workers import Workers
from ownlm.errors import UsageError
from ownlm.runtime import artifact
from ownlm.runtime.artifact import Manifest, Stage
from ownlm.runtime.files import write_atomic

KIND = "documents"
REPORT = "report.html"


def make(
    pipeline: Pipeline, out: Path, workers: Workers, notice: Callable[[str], None] = lambda text: None
) -> tuple[Manifest, bool]:
    """Run the pipeline into `out` unless it is there already; returns the manifest and whether work was done.

    A run that was killed goes on in `out.partial`. Raises what `execute` raises; MachineError when another process is
    at work on the same folder.
    """
    out = out.resolve()
    if out.exists() and not (out / artifact.NAME).is_file():
        raise UsageError(
            "The output folder exists and is not a data snapshot.", str(out), "give another --out"
        )
    recipe = pipeline.as_dict()["recipe"]

    def work(stage: Stage) -> None:
        facts = execute.execute(pipeline, stage.folder, workers)
        write_atomic(
            stage.folder / "pipeline.yaml", yaml.safe_dump(recipe, sort_keys=False, allow_unicode=True)
        )
        stage.metrics.update(facts)
        stage.licences.update(facts["licences"])

    config = {**recipe, "files": pipeline.digests()}
    with artifact.exclusive(out.parent, f".{out.name}.lock"):
        manifest, ran = artifact.run(out.parent, out.name, KIND, {}, config, work, notice, _watch(pipeline))
        if ran:
            artifact.attach(out, REPORT, report.render(out))
            manifest = artifact.read(out)
    return manifest, ran


def _watch(pipeline: Pipeline) -> list[list[Any]]:
    """Name, size and mtime of every input file: tells a changed input without reading it."""
    found: list[list[Any]] = []
    for source in pipeline.recipe.read:
        for name in source.paths:
            if "://" in name:
                found.append([name])
                continue
            for path in sorted(glob.glob(str(pipeline.folder / name), recursive=True)):
                found += _files(Path(path))
    return found


def _files(path: Path) -> Sequence[list[Any]]:
    found = []
    if not path.is_dir():
        status = os.lstat(path)
        return [[str(path), status.st_size, status.st_mtime_ns]]
    for folder, names, members in os.walk(path):
        names.sort()
        for name in sorted(members):
            status = os.lstat(os.path.join(folder, name))
            found.append([os.path.join(folder, name), status.st_size, status.st_mtime_ns])
    return found
