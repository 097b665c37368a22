"""Files that are either the old version or the new one, never a mixture; and paths that stay inside their folder.

Every durable write in ownlm goes through `open_atomic`: a temporary sibling, fsync, rename, fsync of the folder.

Fault plan (tests only): OWNLM_FAULT="ENOSPC@3" makes the third durable write of the process fail with that
errno before a byte is written; "ENOSPC@3-" every one from the third on.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from ownlm.errors import ArtifactError, MachineError

_writes = 0  # durable writes begun by this process; the fault plan counts them


def _fault(path: Path) -> None:
    """Raise the planned OSError when this is the planned write."""
    global _writes
    _writes += 1
    plan = os.environ.get("OWNLM_FAULT")
    if not plan:
        return
    name, _, at = plan.partition("@")
    first = int(at.rstrip("-"))
    if _writes == first or (at.endswith("-") and _writes > first):
        code = getattr(errno, name)
        raise OSError(code, os.strerror(code), str(path))


def machine_error(error: OSError, doing: str) -> MachineError:
    """The clear form of an operating-system error while `doing` something."""
    fixes = {
        errno.ENOSPC: "free some space on that disk and run the same command again; finished stages are kept",
        errno.EDQUOT: "your disk quota is used up: free some space and run the same command again",
        errno.EACCES: "choose a folder you may write to, or change its permissions",
        errno.EROFS: "that file system is read-only: choose another folder with --out",
    }
    fix = fixes.get(error.errno or 0, "check the path and run the same command again")
    return MachineError(f"{doing} failed: {os.strerror(error.errno or 0)}.", str(error.filename or ""), fix)


def fsync_dir(folder: Path) -> None:
    """Make the names in a folder durable (a rename is not, until its folder is synced)."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def open_atomic(path: Path | str) -> Iterator[IO[bytes]]:
    """A binary file that appears at `path` whole, or not at all.

    Raises MachineError when the disk refuses; whatever was at `path` before is untouched then.
    """
    path = Path(path)
    temporary: Path | None = None
    try:
        _fault(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
        temporary = Path(name)
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
        temporary = None
        fsync_dir(path.parent)
    except OSError as error:
        raise machine_error(error, f"writing {path}") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def write_atomic(path: Path | str, data: bytes | str) -> None:
    with open_atomic(path) as file:
        file.write(data.encode("utf-8") if isinstance(data, str) else data)


def write_json(path: Path | str, value: Any) -> None:
    write_atomic(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path | str) -> Any:
    """Raises ArtifactError when the file is missing or not JSON."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ArtifactError("A file is missing.", str(path), "run `ownlm verify` on the folder") from error
    except (ValueError, RecursionError) as error:
        raise ArtifactError("A file is not valid JSON.", f"{path}: {error}", "run `ownlm verify`") from error


def sha256_file(path: Path | str) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_json(value: Any) -> str:
    """SHA-256 of the canonical JSON of a value: equal values, equal digests."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def contained(root: Path | str, name: str) -> Path:
    """`root/name`, resolved; raises ArtifactError when it would leave `root` (.., absolute, symlink, NUL)."""
    root = Path(root).resolve()
    if "\0" in name or Path(name).is_absolute():
        raise ArtifactError("A file name points outside its folder.", repr(name), "do not use this folder")
    path = (root / name).resolve()
    if not path.is_relative_to(root):
        raise ArtifactError("A file name points outside its folder.", repr(name), "do not use this folder")
    return path
