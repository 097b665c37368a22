"""Sources to parts, in a fixed order: small files together, large row files at newlines, archives at records.

Where a file is cut depends on its bytes and on `part_bytes` alone. One forward pass over what is cut (a compressed
web archive is unfolded for it, a file of rows has its newlines counted); parts come out as they are found.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ownlm.data.formats import stem_of
from ownlm.data.licence import is_licence_file
from ownlm.data.limits import Limits, Unusable
from ownlm.data.sources import parquet_footer, warc_file
from ownlm.data.sources.kinds import Kind, kind_of
from ownlm.data.sources.source import Part, Source
from ownlm.data.walk import Found, open_regular, shown, walk
from ownlm.errors import DataError
from ownlm.records import Drop

MOST_FILES = 1000  # files, and drops, in one part
UNFOLDS = 4  # times that compressed text unfolds, roughly: so that parts are equal work
_BLOCK = 1 << 20


@dataclass
class _Group:
    """Small files that will be one part."""

    root: str = ""
    paths: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    drops: list[list[Any]] = field(default_factory=list)  # [position among the paths, source, reason]
    num_bytes: int = 0
    weight: int = 0  # bytes, compressed ones counted as what they unfold to

    def part(self, options: dict[str, Any]) -> Part:
        own = {"root": self.root, "names": self.names, "drops": self.drops}
        return Part("files", tuple(self.paths), 0, -1, self.num_bytes, {**options, **own})


def is_url(path: str) -> bool:
    return path.startswith(("http://", "https://"))


def split(source: Source, part_bytes: int = 16 << 20) -> Iterator[Part]:
    """Raises DataError when a path does not exist, and at the end when nothing at all was there."""
    total = 0
    for part in _all_parts(source, part_bytes):
        yield part
        total += max(1, part.num_bytes)
        if source.limit_bytes and total >= source.limit_bytes:
            return
    if not total:
        where = ", ".join(source.paths)
        raise DataError("There is nothing to read.", where, "name a folder with files, a file or a URL")


def _all_parts(source: Source, part_bytes: int) -> Iterator[Part]:
    options = _options(source)
    urls = [path for path in source.paths if is_url(path)]
    paths = [path for given in source.paths if not is_url(given) for path in _expanded(given)]
    if paths:
        yield from _path_parts(paths, source, options, part_bytes)
    for url in urls:
        if kind_of(urlsplit(url).path.rpartition("/")[2], source.format) is None:
            raise DataError("The format of a URL cannot be told from its name.", url, "state `format:`")
        yield Part("url", (url,), options=options)


def _options(source: Source) -> dict[str, Any]:
    """What the readers need to know of the source. Only what differs from the default is written down."""
    kept = source.model_dump(mode="json", exclude_defaults=True, exclude={"path", "limit_bytes"})
    named = source.collection or _collection(source.paths[0] if source.paths else "")
    return {**kept, "stated_collection": bool(source.collection), "collection": named}


def _collection(path: str) -> str:
    if is_url(path):
        return urlsplit(path).hostname or "url"
    fixed = Path(path)
    while glob.has_magic(str(fixed)) and not fixed.exists():
        fixed = fixed.parent
    fixed = fixed.resolve()
    return shown(fixed.name) if fixed.is_dir() else stem_of(shown(fixed.name)) or shown(fixed.name)


def _expanded(path: str) -> list[Path]:
    """The files of a glob pattern, sorted by bytes; the path itself when it exists or is no pattern."""
    if os.path.lexists(path) or not glob.has_magic(path):
        return [Path(path)]
    found = sorted(glob.glob(path, recursive=True), key=os.fsencode)
    if not found:
        raise DataError("No file matches.", path, "check the pattern; ** matches folders")
    return [Path(name) for name in found]


def _path_parts(
    paths: list[Path], source: Source, options: dict[str, Any], part_bytes: int
) -> Iterator[Part]:
    group = _Group()
    for found in walk(paths, Limits()):
        if isinstance(found, Drop):
            group.drops.append([len(group.paths), found.source, found.reason])
            if len(group.drops) >= MOST_FILES:
                yield group.part(options)
                group = _Group(group.root)
            continue
        size = _size(found.path)
        kind = kind_of(found.path.name, source.format)
        weight = size * UNFOLDS if kind and kind.compression else size
        full = group.weight + weight > part_bytes or len(group.paths) >= MOST_FILES
        if group.paths and (full or group.root != str(found.root)):
            yield group.part(options)
            group = _Group()
        group.root = str(found.root)
        if weight > part_bytes and kind and not is_licence_file(found.path.name):
            pieces = _pieces(found, kind, size, options, part_bytes)
            if pieces is not None:
                if group.drops:
                    yield group.part(options)
                group = _Group()
                yield from pieces
                continue
        group.paths.append(str(found.path))
        group.names.append(found.source)
        group.num_bytes += size
        group.weight += weight
    if group.paths or group.drops:
        yield group.part(options)


def _size(path: Path) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0  # gone since; reading it gives the Drop


def _pieces(
    found: Found, kind: Kind, size: int, options: dict[str, Any], part_bytes: int
) -> Iterator[Part] | None:
    """The parts of one large file, or None when a file of that kind is read whole."""
    if kind.name == "jsonl" and not kind.compression:
        return _row_parts(found, size, options, part_bytes)
    if kind.name == "warc" and kind.compression in ("", "gz"):
        least = max(1, part_bytes // UNFOLDS) if kind.compression else part_bytes
        return _cut_parts(found, "warc", warc_file.starts(found.path, kind.compression), size, options, least)
    if kind.name == "parquet":
        return _parquet_parts(found, size, options, part_bytes)
    return None


def _part(found: Found, kind: str, start: int, end: int, num_bytes: int, options: dict[str, Any]) -> Part:
    own = {"root": str(found.root), "names": [found.source]}
    return Part(kind, (str(found.path),), start, end, num_bytes, {**options, **own})


def _row_parts(found: Found, size: int, options: dict[str, Any], part_bytes: int) -> Iterator[Part]:
    """Byte ranges that begin after a newline; option `line` is how many lines lie before the range."""
    start = position = line = before = 0
    with open_regular(found.path) as file:
        while block := file.read(_BLOCK):
            counted = 0
            while (newline := block.find(b"\n", max(0, start + part_bytes - position - 1))) >= 0:
                line += block.count(b"\n", counted, newline + 1)
                counted = newline + 1
                end = position + counted
                yield _part(found, "rows", start, end, end - start, {**options, "line": before})
                start, before = end, line
            line += block.count(b"\n", counted)
            position += len(block)
    if position > start or not position:
        yield _part(found, "rows", start, -1, position - start, {**options, "line": before})


def _cut_parts(
    found: Found, kind: str, starts: Iterator[int], size: int, options: dict[str, Any], part_bytes: int
) -> Iterator[Part]:
    start = 0
    for offset in starts:
        if offset - start >= part_bytes:
            yield _part(found, kind, start, offset, offset - start, options)
            start = offset
    yield _part(found, kind, start, -1, size - start, options)


def _parquet_parts(found: Found, size: int, options: dict[str, Any], part_bytes: int) -> Iterator[Part]:
    """Row groups together up to part_bytes; a file whose footer cannot be read is one part, dropped when read."""
    try:
        groups = parquet_footer.row_group_bytes(found.path)
    except (Unusable, OSError):
        groups = []
    start = held = 0
    for index, num_bytes in enumerate(groups):
        held += num_bytes
        if held >= part_bytes and index + 1 < len(groups):
            yield _part(found, "parquet", start, index + 1, held, options)
            start, held = index + 1, 0
    yield _part(found, "parquet", start, -1, held or size, options)
