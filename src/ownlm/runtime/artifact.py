"""Everything durable is an artifact: a folder of files in a standard format plus one manifest, `ownlm.json`.

    DIR/<name>.partial/    while a stage works (a rerun with the same key goes on in it)
    DIR/<name>/            finished: every file hashed, the manifest written last, the folder renamed into place

A stage's *key* is the digest of its kind, its config and the digests of its inputs; a finished artifact whose key
is unchanged is not made again. Its *digest* also covers its files. Lineage, cards and audits only read manifests.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

import ownlm
from ownlm.errors import ArtifactError, MachineError
from ownlm.runtime import files, hardware

NAME = "ownlm.json"
_KEY = ".key"


class Manifest(BaseModel):
    """What a folder is, what it was made from and what it cost."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: int = 1
    kind: str
    name: str
    key: str
    digest: str
    files: dict[str, str]  # path relative to the folder -> SHA-256
    rendered: dict[str, str] = Field(default_factory=dict)  # reports added later; hashed, outside the digest
    inputs: dict[str, str]  # artifact name -> its digest
    config: dict[str, Any]
    licences: dict[str, int] = Field(default_factory=dict)  # SPDX id -> number of documents
    metrics: dict[str, Any] = Field(default_factory=dict)
    cost: dict[str, Any] = Field(default_factory=dict)  # {"predicted": ..., "measured": ...}
    environment: dict[str, Any] = Field(default_factory=dict)
    created: str = ""


@dataclass(slots=True)
class Stage:
    """What a stage's work sees: the folder to fill, and what it reports besides its files."""

    folder: Path
    resumed: bool  # the folder holds an interrupted run of the very same stage
    metrics: dict[str, Any] = field(default_factory=dict)
    licences: dict[str, int] = field(default_factory=dict)
    cost: dict[str, Any] = field(default_factory=dict)


def read(folder: Path | str) -> Manifest:
    """Raises ArtifactError when the folder is not an artifact or its manifest is damaged."""
    path = Path(folder) / NAME
    if not path.is_file():
        raise ArtifactError(
            "This folder is not an ownlm artifact.",
            f"{folder} has no {NAME}",
            "give the folder that `ownlm build --out DIR` made",
        )
    try:
        manifest = Manifest.model_validate(files.read_json(path))
    except ValidationError as error:
        first = error.errors()[0]
        raise ArtifactError(
            "The manifest is damaged.",
            f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}",
            "make the folder again with `ownlm build`",
        ) from error
    if manifest.digest != digest_of(manifest):
        raise ArtifactError(
            "The manifest does not match its own digest.",
            str(path),
            "make the folder again with `ownlm build`",
        )
    return manifest


def digest_of(manifest: Manifest) -> str:
    """SHA-256 over kind, files, inputs and config: what the artifact *is*, not when or how fast it was made."""
    return files.sha256_json(
        {"kind": manifest.kind, "files": manifest.files, "inputs": manifest.inputs, "config": manifest.config}
    )


def stage_key(
    kind: str, inputs: Mapping[str, Manifest], config: Mapping[str, Any], watch: object = None
) -> str:
    digests = {name: manifest.digest for name, manifest in inputs.items()}
    return files.sha256_json(
        {"kind": kind, "inputs": digests, "config": config, "watch": watch, "version": ownlm.__version__}
    )


def verify(folder: Path | str) -> list[str]:
    """Every hash of one artifact; returns one sentence per problem, empty when all is well."""
    folder = Path(folder)
    manifest = read(folder)
    problems = []
    expected = {**manifest.files, **manifest.rendered}
    for name, digest in sorted(expected.items()):
        path = files.contained(folder, name)
        if not path.is_file():
            problems.append(f"{path}: missing")
        elif (found := files.sha256_file(path)) != digest:
            problems.append(f"{path}: SHA-256 is {found[:16]}..., the manifest says {digest[:16]}...")
    for name in sorted(_listing(folder) - set(expected)):
        problems.append(f"{folder / name}: not listed in the manifest")
    return problems


def run(
    root: Path,
    name: str,
    kind: str,
    inputs: Mapping[str, Manifest],
    config: Mapping[str, Any],
    work: Callable[[Stage], None],
    notice: Callable[[str], None] = lambda text: None,
    watch: object = None,
) -> tuple[Manifest, bool]:
    """Make the artifact root/name unless it is there already. Returns its manifest and whether work was done.

    `watch` (JSON) joins the key but not the digest: facts that tell "changed" without being content, like mtimes.
    """
    key = stage_key(kind, inputs, config, watch)
    final, partial = root / name, root / f"{name}.partial"
    _settle(root, name)
    if (final / NAME).is_file() and read(final).key == key:
        problems = verify(final)
        if not problems:
            return read(final), False
        notice(f"{name} is damaged and will be made again: {problems[0]}")
    try:
        resumed = _open_partial(partial, key, notice)
        stage = Stage(partial, resumed)
        started = datetime.now(UTC)
        work(stage)
        seconds = (datetime.now(UTC) - started).total_seconds()
        manifest = _seal(stage, name, kind, key, inputs, config, seconds)
        _settle(root, name)
    except OSError as error:
        raise files.machine_error(error, f"stage {name}") from error
    return manifest, True


def attach(folder: Path, name: str, text: str) -> None:
    """Add a report (a model card) to a finished artifact: hashed in the manifest, outside its digest."""
    files.write_atomic(folder / name, text)
    manifest = read(folder)
    rendered = {**manifest.rendered, name: files.sha256_file(folder / name)}
    _write_manifest(folder, manifest.model_copy(update={"rendered": rendered}))


def write_root(root: Path, kind: str, parts: Mapping[str, Manifest], config: Mapping[str, Any],
               metrics: Mapping[str, Any], cost: Mapping[str, Any]) -> Manifest:  # fmt: skip
    """The manifest of the whole build: no files of its own, every stage an input."""
    manifest = Manifest(
        kind=kind, name=root.name, key=stage_key(kind, parts, config), digest="", files={},
        inputs={name: part.digest for name, part in parts.items()}, config=dict(config),
        licences=parts["corpus"].licences if "corpus" in parts else {}, metrics=dict(metrics), cost=dict(cost),
        environment=environment(), created=_now(),
    )  # fmt: skip
    manifest = manifest.model_copy(update={"digest": digest_of(manifest)})
    _write_manifest(root, manifest)
    return manifest


def environment() -> dict[str, Any]:
    machine = hardware.facts().as_dict()
    return {"ownlm": ownlm.__version__, **machine, "packages": {
        name: hardware.version_of(name) for name in ("numpy", "safetensors", "tokenizers", "pydantic")
    }}  # fmt: skip


@contextmanager
def exclusive(root: Path, name: str = ".lock") -> Iterator[None]:
    """Only one build at a time in a folder; the lock goes with the process, also when it is killed. With a `name`, only
    one build of that name."""
    try:
        root.mkdir(parents=True, exist_ok=True)
        file = open(root / name, "w")  # noqa: SIM115 - held below
    except OSError as error:
        raise files.machine_error(error, f"opening {root}") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise MachineError(
                "Another ownlm process is building in this folder.",
                str(root),
                "wait for it, or use another --out",
            ) from error
        yield


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _listing(folder: Path) -> set[str]:
    found = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir())
    return {name for name in found if name not in (NAME, _KEY)}


def _open_partial(partial: Path, key: str, notice: Callable[[str], None]) -> bool:
    """True when an interrupted run with this key is there to go on with; anything else is cleared away."""
    if (partial / _KEY).is_file() and (partial / _KEY).read_text(encoding="ascii") == key:
        (partial / NAME).unlink(missing_ok=True)
        return True
    if partial.exists():
        notice(f"{partial.name} was begun with other inputs or settings and is started afresh")
        shutil.rmtree(partial)
    partial.mkdir(parents=True)
    files.write_atomic(partial / _KEY, key)
    return False


def _seal(stage: Stage, name: str, kind: str, key: str, inputs: Mapping[str, Manifest],
          config: Mapping[str, Any], seconds: float) -> Manifest:  # fmt: skip
    """Hash and sync every file, then write the manifest: from here on the artifact is whole."""
    digests = {}
    for relative in sorted(_listing(stage.folder)):
        path = stage.folder / relative
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)
        digests[relative] = files.sha256_file(path)
    measured = {"seconds": round(seconds, 3), **stage.cost.pop("measured", {})}
    manifest = Manifest(
        kind=kind, name=name, key=key, digest="", files=digests,
        inputs={label: part.digest for label, part in inputs.items()}, config=dict(config),
        licences=stage.licences, metrics=stage.metrics, cost={**stage.cost, "measured": measured},
        environment=environment(), created=_now(),
    )  # fmt: skip
    manifest = manifest.model_copy(update={"digest": digest_of(manifest)})
    _write_manifest(stage.folder, manifest)
    return manifest


def _settle(root: Path, name: str) -> None:
    """Move a sealed partial folder into place; also finishes what a crash interrupted here."""
    final, partial, old = root / name, root / f"{name}.partial", root / f"{name}.old"
    if (partial / NAME).is_file():
        if final.exists():
            shutil.rmtree(old, ignore_errors=True)
            os.rename(final, old)
        (partial / _KEY).unlink(missing_ok=True)
        os.rename(partial, final)
        files.fsync_dir(root)
    shutil.rmtree(old, ignore_errors=True)


def _write_manifest(folder: Path, manifest: Manifest) -> None:
    files.write_json(folder / NAME, manifest.model_dump())
