"""Packed rows as WebDataset shards: plain tar files, one sample per row, the same bytes every time.

    rows-000000.tar     000000000.tokens.npy  000000000.segments.npy  000000000.json   000000001.tokens.npy ...

Read by the `webdataset` package (`WebDataset(urls).decode()`), by any tar program, and by `read_webdataset`. The JSON
names the documents of the row: id, source, licence, and where their tokens lie. Format: Aizman, Maltby, Breuel 2019,
"High Performance I/O For Large Scale Deep Learning" (arXiv:2001.01858). Pad places have segment -1.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import IO

import numpy as np

from ownlm.data.pack.rows import PackedShards
from ownlm.errors import ArtifactError, UsageError
from ownlm.runtime.files import open_atomic

_MOST_BYTES = 1 << 30  # of one member; a row is far smaller
_FIX = "write the rows again"


def write_webdataset(packed: PackedShards, folder: Path | str, rows_per_file: int = 1024) -> list[Path]:
    """All rows in order; memory is one row. Raises UsageError when the folder already holds such files."""
    folder = Path(folder)
    if rows_per_file < 1:
        raise UsageError("A file needs at least one row.", f"rows_per_file {rows_per_file}", "e.g. 1024")
    if any(folder.glob("rows-*.tar")):
        raise UsageError("The folder already holds rows.", str(folder), "give another folder, or empty it")
    paths = []
    for first in range(0, packed.num_rows, rows_per_file):
        path = folder / f"rows-{first // rows_per_file:06d}.tar"
        with (
            open_atomic(path) as file,
            tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as tar,
        ):
            for number in range(first, min(first + rows_per_file, packed.num_rows)):
                _add_row(tar, packed, number)
        paths.append(path)
    return paths


def _add_row(tar: tarfile.TarFile, packed: PackedShards, number: int) -> None:
    rows = packed.rows(np.array([number]))
    origins = [asdict(origin) for origin in packed.origins(number)]
    members = {
        "tokens.npy": _npy(rows.tokens[0]),
        "segments.npy": _npy(rows.segments[0]),
        "json": json.dumps({"row": number, "documents": origins}, ensure_ascii=False).encode("utf-8"),
    }
    for ending, data in members.items():
        entry = tarfile.TarInfo(f"{number:09d}.{ending}")  # time 0, owner 0: no trace of when and who
        entry.size, entry.mode = len(data), 0o644
        tar.addfile(entry, io.BytesIO(data))


def _npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array(file, np.ascontiguousarray(array), allow_pickle=False)
    return file.getvalue()


def read_webdataset(folder: Path | str) -> Iterator[dict[str, np.ndarray]]:
    """{"tokens": [L], "segments": [L]} of every row, in order; raises ArtifactError for damaged files."""
    for path in sorted(Path(folder).glob("rows-*.tar")):
        try:
            _check_end(path)
            with tarfile.open(path, "r:") as tar:
                row: dict[str, np.ndarray] = {}
                for entry in tar:
                    _, _, ending = entry.name.partition(".")
                    if ending.endswith(".npy"):
                        row[ending.removesuffix(".npy")] = _array(tar.extractfile(entry), entry)
                    elif ending == "json":  # the last member of a row
                        yield row
                        row = {}
        except (tarfile.TarError, OSError, ValueError, EOFError) as error:
            raise ArtifactError("A file of rows is damaged.", f"{path}: {error}", _FIX) from error


def _check_end(path: Path) -> None:
    """tarfile takes a torn file for a shorter one; a whole one ends in two blocks of zeros, at a full record."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - 2 * tarfile.BLOCKSIZE))
        if size == 0 or size % tarfile.RECORDSIZE or any(file.read()):
            raise ValueError(f"it ends in the middle, after {size} bytes")


def _array(file: IO[bytes] | None, entry: tarfile.TarInfo) -> np.ndarray:
    if file is None or entry.size > _MOST_BYTES:
        raise ValueError(f"{entry.name} is no array of a row")
    array: np.ndarray = np.lib.format.read_array(io.BytesIO(file.read()), allow_pickle=False)
    return array
