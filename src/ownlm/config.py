"""Settings: load, override, validate, explain. The only place that parses them.

Sources, later ones win: the field's default, a YAML/JSON file, the environment (OWNLM_PRETRAIN__STEPS=200),
`key=value` overrides on the command line. Every value knows where it came from. Unknown keys are errors with the
nearest known name.
"""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from ownlm.errors import UsageError

PREFIX = "OWNLM_"


class Settings(BaseModel):
    """Base of a room's settings: frozen, unknown keys refused, the string under a field is its explanation."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


Model = TypeVar("Model", bound=Settings)


@dataclass(frozen=True, slots=True)
class Resolved(Generic[Model]):
    """Validated settings and, per dotted key, where the value came from."""

    value: Model
    origins: Mapping[str, str]


def keys(model: type[Settings], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Every dotted key of a settings model with its explanation."""
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, Settings):
            yield from keys(kind, f"{prefix}{name}.")
        else:
            yield prefix + name, field.description or ""


def load(
    model: type[Model],
    file: Path | None = None,
    overrides: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
) -> Resolved[Model]:
    """Raises UsageError naming every bad key or value at once."""
    known = dict(keys(model))
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for key, value, origin in _sources(
        file, overrides, os.environ if environment is None else environment, known
    ):
        if key not in known:
            raise _unknown(key, origin, known)
        values[key], origins[key] = value, origin
    try:
        checked = model.model_validate(_nested(values))
    except ValidationError as error:
        raise _invalid(error, origins) from error
    return Resolved(checked, {key: origins.get(key, "default") for key in known})


def flat(settings: Settings) -> dict[str, Any]:
    """Dotted key -> JSON value."""

    def walk(value: Any, prefix: str) -> Iterator[tuple[str, Any]]:
        for name, inner in value.items():
            if isinstance(inner, dict):
                yield from walk(inner, f"{prefix}{name}.")
            else:
                yield prefix + name, inner

    return dict(walk(settings.model_dump(mode="json"), ""))


def nearest(key: str, known: Sequence[str]) -> str:
    matches = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    return matches[0] if matches else ""


def _sources(
    file: Path | None, overrides: Sequence[str], environment: Mapping[str, str], known: Mapping[str, str]
) -> Iterator[tuple[str, Any, str]]:
    if file is not None:
        for key, value in _from_file(file, known):
            yield key, value, f"file {file}"
    for name in sorted(environment):
        # single-word OWNLM_ variables (OWNLM_QUIET, OWNLM_NATIVE) are switches of the runtime, not settings
        if name.startswith(PREFIX) and (key := name[len(PREFIX) :].lower().replace("__", ".")) in known:
            yield key, yaml.safe_load(environment[name]), f"environment {name}"
        elif name.startswith(PREFIX) and "__" in name:
            raise _unknown(name[len(PREFIX) :].lower().replace("__", "."), f"environment {name}", known)
    for text in overrides:
        key, equals, value = text.partition("=")
        if not equals:
            raise UsageError(
                "An override has no value.", repr(text), "write it as key=value, e.g. pretrain.steps=200"
            )
        yield key.strip(), yaml.safe_load(value), f"command line {text}"


def _from_file(path: Path, known: Mapping[str, str]) -> Iterator[tuple[str, Any]]:
    try:
        text = path.read_text(encoding="utf-8")
        loaded = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise UsageError(
            "The configuration file cannot be read.", f"{path}: {error}", "see `ownlm config show`"
        ) from error
    if not isinstance(loaded, dict):
        raise UsageError("The configuration file is not a mapping.", str(path), "see `ownlm config show`")

    def walk(value: dict[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
        for name, inner in value.items():
            if (
                isinstance(inner, dict) and f"{prefix}{name}" not in known
            ):  # a setting may itself be a mapping
                yield from walk(inner, f"{prefix}{name}.")
            else:
                yield f"{prefix}{name}", inner

    yield from walk(loaded, "")


def _nested(values: Mapping[str, Any]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for key, value in values.items():
        *path, last = key.split(".")
        level = tree
        for part in path:
            level = level.setdefault(part, {})
        level[last] = value
    return tree


def _unknown(key: str, origin: str, known: Mapping[str, str]) -> UsageError:
    close = nearest(key, list(known))
    fix = f"did you mean {close}?" if close else "`ownlm config show` lists every key"
    return UsageError("There is no such setting.", f"{key} (from {origin})", fix)


def _invalid(error: ValidationError, origins: Mapping[str, str]) -> UsageError:
    lines = []
    for problem in error.errors():
        key = ".".join(map(str, problem["loc"])) or "settings"
        lines.append(f"{key} = {problem['input']!r}: {problem['msg']} (from {origins.get(key, 'default')})")
    return UsageError(
        "Some settings are not valid.", "\n".join(lines), "`ownlm config explain KEY` says what a key takes"
    )
