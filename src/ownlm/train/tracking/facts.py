"""What a run is made of, for run.json: settings with their sources, commit, data versions, machine. Torch-free."""

from __future__ import annotations

import dataclasses
import math
import platform
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ownlm
from ownlm.runtime import hardware
from ownlm.train.config import TrainConfig


def of_train_config(config: TrainConfig) -> tuple[dict[str, Any], dict[str, str]]:
    """(values, sources) of a config that was made in code: a value is the default, or the caller's."""
    values, sources = {}, {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        values[field.name] = value
        made = field.default_factory() if callable(field.default_factory) else field.default
        sources[field.name] = "default" if value == made else "caller"
    return values, sources


def settings(
    values: Mapping[str, Any], sources: Mapping[str, str] | None = None
) -> dict[str, dict[str, Any]]:
    """Dotted key -> {value, source}; nested mappings are laid flat, values made JSON.

    A source counts for its key and all below it; a key without one says "unknown" rather than guess.
    """
    known = dict(sources or {})
    out: dict[str, dict[str, Any]] = {}

    def lay(inner: Mapping[str, Any], prefix: str, above: str) -> None:
        for name, value in inner.items():
            key = f"{prefix}{name}"
            source = known.get(key, above)
            if isinstance(value, Mapping) and value:
                lay(value, f"{key}.", source)
            else:
                out[key] = {"value": plain(value), "source": source}

    lay(values, "", "unknown")
    return out


def plain(value: Any) -> Any:
    """JSON values as they are, numbers that JSON lacks and every other object as their text."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, Sequence):
        return [plain(inner) for inner in value]
    if isinstance(value, set | frozenset):
        return sorted(str(inner) for inner in value)
    return str(value)


def git(folder: Path) -> dict[str, Any]:
    """{commit, branch, dirty, changed files} of the repository around `folder`; {"why": ...} when there is none."""

    def ask(*arguments: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=20, check=True
        )
        return done.stdout.rstrip("\n")

    try:
        commit = ask("rev-parse", "HEAD")
        changed = [line[3:] for line in ask("status", "--porcelain", "--no-renames").splitlines()]
        branch = ask("rev-parse", "--abbrev-ref", "HEAD")
    except FileNotFoundError:
        return {"why": "git is not installed"}
    except subprocess.CalledProcessError as error:
        return {"why": (error.stderr or "git failed").strip().splitlines()[0][:200]}
    except subprocess.TimeoutExpired:
        return {"why": "git took more than 20 s"}
    return {"commit": commit, "branch": branch, "dirty": bool(changed), "num_changed": len(changed),
            "changed": changed[:20]}  # fmt: skip


def environment() -> dict[str, Any]:
    """Versions and machine."""
    facts = hardware.facts()
    return {
        "ownlm": ownlm.__version__, "python": facts.python, "torch": facts.torch, "system": facts.system,
        "processor": facts.processor, "cores": facts.cores, "memory_bytes": facts.memory,
        "isa": list(facts.isa), "gpus": list(facts.gpus), "host": platform.node(),
    }  # fmt: skip
