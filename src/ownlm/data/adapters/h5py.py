"""Packed rows as one HDF5 file, through h5py: for tools that read nothing else.

    tokens     [N,L] as in the shard      segments  [N,L] int32, -1: padding      documents  [N,L] int64, -1: padding
    document_id, document_source, document_licence  [number of documents] UTF-8, by document number

Written without time stamps: the same rows give the same bytes with the same version of the HDF5 library.
"""

from __future__ import annotations

import importlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np

from ownlm.data.pack.rows import PackedShards
from ownlm.errors import ArtifactError, MissingDependency
from ownlm.runtime.files import open_atomic

_BATCH = 256


def _library() -> ModuleType:
    try:
        return importlib.import_module("h5py")
    except ImportError as error:
        raise MissingDependency("HDF5 files need h5py.", str(error), "pip install h5py") from error


def write_hdf5(packed: PackedShards, path: Path | str) -> Path:
    """All rows in order; memory is 256 rows."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
        whole = (
            Path(folder) / "rows.h5"
        )  # HDF5 goes back and forth in its file, so it is copied when it is whole
        _write(_library(), packed, whole)
        with open_atomic(path) as target, whole.open("rb") as source:
            shutil.copyfileobj(source, target, 1 << 20)
    return path


def _write(h5py: ModuleType, packed: PackedShards, path: Path) -> None:
    shape = (packed.num_rows, packed.length)
    kinds = {"tokens": packed.shards.tokens.dtype, "segments": np.int32, "documents": np.int64}
    with h5py.File(path, "w", track_order=False) as store:
        sets = {
            name: store.create_dataset(name, shape, kind, track_times=False) for name, kind in kinds.items()
        }
        for first in range(0, packed.num_rows, _BATCH):
            rows = packed.rows(np.arange(first, min(first + _BATCH, packed.num_rows)))
            for name, target in sets.items():
                target[first : first + len(rows.tokens)] = getattr(rows, name)
        text = h5py.string_dtype("utf-8")
        for place, name in enumerate(("document_id", "document_source", "document_licence")):
            names = store.create_dataset(name, (packed.shards.num_documents,), text, track_times=False)
            for number, line in enumerate(packed.shards.lines()):
                names[number] = line[place]


def read_hdf5(path: Path | str, batch: int = _BATCH) -> Iterator[dict[str, np.ndarray]]:
    """{"tokens", "segments", "documents"}: [batch,L] of the rows in order; the last batch may be smaller.

    Raises ArtifactError when the file is not one of ours.
    """
    h5py = _library()
    try:
        with h5py.File(path, "r") as store:
            sets = {name: store[name] for name in ("tokens", "segments", "documents")}
            for first in range(0, len(sets["tokens"]), batch):
                yield {name: one[first : first + batch] for name, one in sets.items()}
    except (OSError, KeyError) as error:
        raise ArtifactError(
            "This is not an HDF5 file of rows.", f"{path}: {error}", "write it again"
        ) from error
