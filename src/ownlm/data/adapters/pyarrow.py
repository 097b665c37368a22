"""Rows of one Parquet row group through pyarrow. Only the columns of plain values are read; extensions are refused."""

from __future__ import annotations

import datetime
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ownlm.data import rows
from ownlm.data.encoding import Decoded
from ownlm.data.limits import Limits, Unusable
from ownlm.data.sources.source import Unit
from ownlm.data.walk import open_regular
from ownlm.errors import MissingDependency
from ownlm.records import Document, Drop

_BATCH_ROWS = 256


def row_group(unit: Unit, limits: Limits) -> Iterator[Document | Drop]:
    """Raises Unusable for a damaged file, a missing text column, and types that hold no JSON values."""
    try:
        import pyarrow  # type: ignore[import-untyped, import-not-found, unused-ignore]
        import pyarrow.parquet  # type: ignore[import-untyped, import-not-found, unused-ignore]
    except ImportError as error:
        raise MissingDependency(
            "Reading Parquet files needs pyarrow.", "pyarrow", "pip install pyarrow"
        ) from error

    name, group = unit.options["name"], unit.options["group"]
    text_key = unit.options.get("text_key", "text")
    number = 0
    try:
        with open_regular(Path(unit.path)) as raw:
            file = pyarrow.parquet.ParquetFile(
                raw, memory_map=False, pre_buffer=False, arrow_extensions_enabled=False
            )
            columns = _columns(file.schema_arrow, text_key, pyarrow.types)
            first = sum(file.metadata.row_group(index).num_rows for index in range(group))
            _check_size(file.metadata.row_group(group), limits)
            for batch in file.iter_batches(
                _BATCH_ROWS, row_groups=[group], columns=columns, use_threads=False
            ):
                for row in batch.to_pylist():
                    number += 1
                    yield _row(row, f"{name}#{first + number}", unit.options["known"], text_key)
    except (pyarrow.ArrowException, OSError, IndexError, ValueError, OverflowError, MemoryError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # of the machine; pyarrow's own have no number
        raise Unusable(f"damaged Parquet file: {' '.join(str(error).split())}"[:200]) from error
    if not number:
        raise Unusable("empty")


def _columns(schema: Any, text_key: str, types: Any) -> list[str]:
    """Names of the columns to read: the text, and those of plain values. The text must be a string."""
    if text_key not in schema.names:
        raise Unusable(f"no column `{text_key}`: it has {', '.join(schema.names)[:150] or 'none'}")
    for field in schema:
        if getattr(field.type, "extension_name", None) is not None:
            raise Unusable(f"extension type in column {field.name[:60]}")
    kind = schema.field(text_key).type
    if types.is_dictionary(kind):
        kind = kind.value_type
    if not (types.is_string(kind) or types.is_large_string(kind)):
        raise Unusable(f"column `{text_key}` is not a string: {kind}"[:200])
    return list(schema.names)


def _check_size(group: Any, limits: Limits) -> None:
    """A group that claims to unfold to more than four times file_bytes is refused before it is read."""
    size = sum(group.column(index).total_uncompressed_size for index in range(group.num_columns))
    if size > 4 * limits.file_bytes:
        raise Unusable(f"too large: a row group of more than {4 * limits.file_bytes} bytes")


def _row(row: dict[str, Any], place: str, licence: str, text_key: str) -> Document | Drop:
    value = {key: _json_value(item) for key, item in row.items() if item is not None}
    return rows.fields(value, place, licence, text_key, Decoded(str(value.get(text_key, "")), "utf-8"))


def _json_value(value: Any) -> Any:
    if isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, datetime.datetime | datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, dict):
        return {str(key): _json_value(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_json_value(item) for item in value]
    return str(value)
