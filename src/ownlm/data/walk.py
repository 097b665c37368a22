"""The files under the given paths in a fixed order, opened safely; everything else becomes a Drop.

Order: names sorted by their bytes, folders entered in place. Symlinks inside a folder are never followed (a file
they point at inside is read under its own name); a path that the user names may itself be a symlink.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from ownlm.data.formats import SKIPPED_FOLDERS
from ownlm.data.limits import Limits, Unusable
from ownlm.errors import DataError
from ownlm.records import Drop


@dataclass(frozen=True, slots=True)
class Found:
    """A regular file (so far): where it is, and the name it goes by in sources."""

    path: Path
    source: str
    root: Path  # the folder that licences are looked for up to


def shown(path: Path | str) -> str:
    """A name that can be written as UTF-8, also when the file system's is not UTF-8."""
    return os.fsencode(path).decode("utf-8", "replace")


def walk(paths: Sequence[Path], limits: Limits) -> Iterator[Found | Drop]:
    """Raises DataError when a path does not exist. One folder alone gives sources relative to it."""
    for path in paths:
        if not os.path.lexists(path):
            raise DataError("A data path does not exist.", shown(path), "check --data; nothing was read")
    seen: set[tuple[int, int]] = set()
    for path in paths:
        path = Path(path)
        if path.is_dir():
            prefix = shown(path.resolve().name) + "/" if len(paths) > 1 else ""
            yield from _folder(path, path, prefix, limits, seen)
        else:
            yield from _file(path, path.parent, shown(path.name), seen)


def _folder(
    folder: Path, root: Path, prefix: str, limits: Limits, seen: set[tuple[int, int]], depth: int = 0
) -> Iterator[Found | Drop]:
    if depth > limits.depth:
        yield Drop(prefix, "read", f"folders nested too deep: more than {limits.depth}")
        return
    try:
        with os.scandir(folder) as listing:
            entries = sorted(listing, key=lambda entry: os.fsencode(entry.name))
    except OSError as error:
        yield Drop(prefix or shown(folder), "read", f"folder cannot be read: {error.strerror}")
        return
    for entry in entries:
        source = prefix + shown(entry.name)
        if entry.is_symlink():
            yield Drop(source, "read", _symlink_reason(Path(entry.path), root))
        elif entry.is_dir(follow_symlinks=False):
            if entry.name.startswith(".") or entry.name in SKIPPED_FOLDERS or _is_environment(entry.path):
                yield Drop(source + "/", "read", "hidden or generated folder")
            else:
                yield from _folder(Path(entry.path), root, source + "/", limits, seen, depth + 1)
        else:
            yield from _file(Path(entry.path), root, source, seen)


def _is_environment(folder: str) -> bool:
    """A Python virtual environment, whatever it is called."""
    return os.path.exists(os.path.join(folder, "pyvenv.cfg"))


def _symlink_reason(path: Path, root: Path) -> str:
    try:
        target = path.resolve(strict=True)
    except FileNotFoundError:
        return "symlink: broken"
    except (OSError, RuntimeError):
        return "symlink: loop"
    inside = target.is_relative_to(root.resolve())
    if inside and target.is_dir() and path.parent.resolve().is_relative_to(target):
        return "symlink: loop"
    return "symlink: its target inside the folder is read itself" if inside else "symlink: leaves the folder"


def _file(path: Path, root: Path, source: str, seen: set[tuple[int, int]]) -> Iterator[Found | Drop]:
    """Files reached twice, by overlapping paths or hard links, are read once."""
    try:
        status = os.stat(path)
    except OSError as error:
        yield Drop(source, "read", f"unreadable: {error.strerror}")
        return
    if not stat.S_ISREG(status.st_mode):
        yield Drop(source, "read", _special(status.st_mode))
    elif (status.st_dev, status.st_ino) in seen:
        yield Drop(source, "read", "same file again")
    else:
        seen.add((status.st_dev, status.st_ino))
        yield Found(path, source, root)


def _special(mode: int) -> str:
    kinds = (
        (stat.S_ISFIFO, "FIFO"),
        (stat.S_ISSOCK, "socket"),
        (stat.S_ISCHR, "device"),
        (stat.S_ISBLK, "device"),
    )
    return "not a file: " + next((name for test, name in kinds if test(mode)), "unknown kind")


def open_regular(path: Path) -> IO[bytes]:
    """Open without waiting on a FIFO that took the file's place; raises Unusable or OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        raise Unusable(_special(mode))
    return os.fdopen(descriptor, "rb", buffering=1 << 20)
