"""A pipeline file: what to read, the steps in order, the limits. Checked whole before anything runs.

name: docs
read:
  - path: crawl/*.warc.gz
    collection: web
steps:
  - extract
  - language: {languages: [en], min_prob: 0.65}
  - my_filter.py:Short: {least: 3}
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field, ValidationError, field_validator

from ownlm.config import Settings
from ownlm.data.flow import table
from ownlm.data.flow.step import CorpusStep, Step
from ownlm.data.sources.source import Source
from ownlm.errors import UsageError
from ownlm.runtime.files import sha256_file


class Recipe(Settings):
    name: str = Field("corpus", min_length=1, max_length=80)
    """What the pipeline is called in reports."""
    about: str = ""
    """One paragraph for readers of the report: where the parameters come from."""
    seed: int = Field(0, ge=0)
    """Every random choice derives from it."""
    read: tuple[Source, ...] = ()
    """What to read; each entry is a path (file, folder, pattern or URL) with its options."""
    steps: tuple[Any, ...] = ()
    """Names of steps, or {name: {option: value}}, in order (`ownlm data steps`)."""
    part_megabytes: float = Field(4.0, gt=0, le=4096)
    """Input that one task reads, compressed input counted fourfold. Another value cuts the output into other files, never into other documents."""
    seconds_per_document: float = Field(10.0, gt=0)
    """Processor time after which a document is given up and quarantined."""
    megabytes_per_worker: int = Field(512, ge=64)
    """Memory that a worker may take above what it starts with; the document that needs more is quarantined."""
    keep_dropped: bool = False
    """Write every dropped document to dropped.jsonl.zst, not only a sample per step and reason."""

    @field_validator("read", mode="before")
    @classmethod
    def _paths(cls, value: Any) -> Any:
        """A bare path, or a list with bare paths, is short for {path: ...}."""
        entries = value if isinstance(value, (list, tuple)) else [value]
        return [{"path": entry} if isinstance(entry, (str, Path)) else entry for entry in entries]


@dataclass(frozen=True, slots=True)
class Named:
    """A step under the name that it has in the funnel: its own, with a number when it occurs twice."""

    name: str
    key: str  # as in the pipeline file
    options: Mapping[str, Any]  # all of them, defaults included
    step: Step | CorpusStep

    @property
    def is_corpus(self) -> bool:
        return isinstance(self.step, CorpusStep)


@dataclass(frozen=True, slots=True)
class Pipeline:
    recipe: Recipe
    folder: Path  # where relative names in the file start
    steps: tuple[Named, ...]

    def as_dict(self) -> dict[str, Any]:
        """JSON from which `from_dict` makes the same pipeline: all options resolved."""
        recipe = self.recipe.model_dump(mode="json")
        recipe["steps"] = [{named.key: named.options} for named in self.steps]
        return {"recipe": recipe, "folder": str(self.folder)}

    def digests(self) -> dict[str, str]:
        """SHA-256 of every file that a step reads, and of the user's own step files."""
        found = {}
        for named in self.steps:
            assert isinstance(named.step, Settings), "table.build makes Settings only"
            for path in table.paths_of(named.step):
                if path.is_file():
                    found[f"{named.name}: {path.name}"] = sha256_file(path)
                elif not path.exists():
                    raise UsageError(
                        "A file that a step reads does not exist.", f"{named.name}: {path}", "check the path"
                    )
                else:
                    for member in sorted(item for item in path.rglob("*") if item.is_file()):
                        found[f"{named.name}: {path.name}/{member.relative_to(path)}"] = sha256_file(member)
            place, colon, _ = named.key.rpartition(":")
            if colon and place.endswith(".py"):
                found[f"{named.name}: {place}"] = sha256_file(self.folder / place)
        return found


def load(path: Path | str, overrides: Mapping[str, Any] | None = None) -> Pipeline:
    """A pipeline file, or the name of a recipe that comes with ownlm. `overrides` replaces top-level keys."""
    name = str(path)
    file = Path(path)
    if not file.is_file() and name in shipped():
        text, folder = shipped()[name].read_text(encoding="utf-8"), Path.cwd()
    else:
        try:
            text, folder = file.read_text(encoding="utf-8"), file.resolve().parent
        except (OSError, UnicodeDecodeError) as error:
            fix = f"give a YAML file, or one of the recipes: {', '.join(shipped())}"
            raise UsageError("The pipeline file cannot be read.", f"{path}: {error}", fix) from error
    try:
        raw = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UsageError(
            "The pipeline file is not YAML.", f"{path}: {error}", "`ownlm data recipe fineweb` shows one"
        ) from error
    if not isinstance(raw, dict):
        raise UsageError(
            "The pipeline file is not a mapping.", str(path), "`ownlm data recipe fineweb` shows one"
        )
    return from_dict({"recipe": {**raw, **(overrides or {})}, "folder": str(folder)})


def from_dict(facts: Mapping[str, Any]) -> Pipeline:
    folder = Path(facts["folder"])
    try:
        recipe = Recipe.model_validate(facts["recipe"])
    except ValidationError as error:
        lines = [
            f"{'.'.join(map(str, problem['loc']))} = {problem['input']!r}: {problem['msg']}"
            for problem in error.errors()
        ]
        fix = f"keys: {', '.join(Recipe.model_fields)}"
        raise UsageError("The pipeline file is not valid.", "\n".join(lines)[:2000], fix) from error
    return Pipeline(recipe, folder, tuple(_steps(recipe.steps, folder)))


def _steps(entries: Sequence[Any], folder: Path) -> list[Named]:
    found: list[Named] = []
    for entry in entries:
        key, options = _entry(entry)
        step = table.build(key, options, folder)
        assert isinstance(step, Settings), "table.build makes Settings only"
        plain = key.rpartition(":")[2] if ".py:" in key else key
        count = sum(named.name == plain or named.name.startswith(plain + "-") for named in found)
        name = f"{plain}-{count + 1}" if count else plain
        found.append(Named(name, key, step.model_dump(mode="json"), step))
    return found


def _entry(entry: Any) -> tuple[str, Mapping[str, Any]]:
    if isinstance(entry, str):
        return entry, {}
    if isinstance(entry, dict) and len(entry) == 1:
        ((key, options),) = entry.items()
        if isinstance(key, str) and (options is None or isinstance(options, dict)):
            return key, options or {}
    raise UsageError(
        "A step is not written as one.", repr(entry)[:200], "write `- name` or `- name: {option: value}`"
    )


def shipped() -> dict[str, Any]:
    """The recipes that come with ownlm: name -> file."""
    folder = resources.files("ownlm.data.flow") / "recipes"
    return {item.name.removesuffix(".yaml"): item for item in sorted(folder.iterdir(), key=lambda item: item.name)
            if item.name.endswith(".yaml")}  # fmt: skip
