"""One unit to its documents: which reader parses what."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ownlm.data import rows
from ownlm.data.compressed import opened
from ownlm.data.encoding import decode
from ownlm.data.limits import Limits, Unusable
from ownlm.data.read import whole_file
from ownlm.data.rows import SAMPLE_CHARACTERS, document_id
from ownlm.data.sources import (
    opendocument,
    presentation,
    spreadsheet,
    threads,
    web_page,
    wikipedia,
    wordprocessing,
)
from ownlm.data.sources.kinds import Kind, text_format
from ownlm.data.sources.source import Unit
from ownlm.data.walk import open_regular
from ownlm.records import Document, Drop

_OFFICE = {
    "docx": wordprocessing.read, "pptx": presentation.read, "xlsx": spreadsheet.read, "odf": opendocument.read,
}  # fmt: skip


def items(unit: Unit, limits: Limits) -> Iterator[Document | Drop]:
    """Raises Unusable and OSError for a unit that cannot be read."""
    options = unit.options
    if unit.kind == "row":
        yield rows.row(unit.data, unit.source, options["known"], options.get("text_key", "text"))
    elif unit.kind == "record":
        verify = options.get("verify_digests", True)
        yield web_page.read_record(
            options["headers"], unit.data, options["place"], options["known"], verify, limits
        )
    elif unit.kind == "wikipage":
        yield wikipedia.read_page(unit)
    elif unit.kind == "thread":
        yield threads.read_thread(unit)
    elif unit.kind == "parquet":
        from ownlm.data.adapters import pyarrow

        yield from pyarrow.row_group(unit, limits)
    elif unit.kind == "json":
        yield from _json(unit, _data(unit, limits), limits)
    elif unit.kind == "pdf" or unit.kind in _OFFICE:
        yield _document(unit, _data(unit, limits), limits)
    else:
        form = text_format(Kind(unit.kind, "", options.get("language", "")))
        licence = options.get("licence") or None
        raw_html = bool(options.get("raw_html"))
        yield whole_file(
            _data(unit, limits), unit.source, form, licence, options["known"], limits, raw_html=raw_html
        )


def _data(unit: Unit, limits: Limits) -> bytes:
    """The bytes of a file unit, unfolded; at most one more than file_bytes. Raises Unusable."""
    compression = unit.options.get("compression", "")
    if not unit.path:
        file: Any = io.BytesIO(unit.data)
    else:
        file = open_regular(Path(unit.path))
    with file:
        data: bytes = opened(file, compression, limits, limits.file_bytes).read(limits.file_bytes + 1)
    if len(data) > limits.file_bytes:
        raise Unusable(f"too large: more than {limits.file_bytes} bytes")
    return data


def _document(unit: Unit, data: bytes, limits: Limits) -> Document:
    """An office file or PDF. Its reader gives the text and what it knows beside it (title, number of pages)."""
    if not data.strip():
        raise Unusable("empty")
    if unit.kind == "pdf":
        from ownlm.data.adapters import pypdfium2

        text, known = pypdfium2.text_of(data, limits)
    else:
        text, known = _OFFICE[unit.kind](data, limits)
    if not text.strip():
        raise Unusable("no text in the document")
    meta = {"format": "markdown", "file_format": unit.kind, **known}
    return Document(document_id(unit.source, text), text, unit.source, unit.options["known"], meta)


def _json(unit: Unit, data: bytes, limits: Limits) -> Iterator[Document | Drop]:
    """A JSON file: one row (an object) or a list of rows."""
    if not data.strip():
        raise Unusable("empty")
    decoded = decode(data)
    try:
        value = rows.parse_json(decoded.text)
    except RecursionError:
        raise Unusable("JSON nested too deep") from None
    except ValueError as error:
        raise Unusable(f"bad JSON: {error}"[:200]) from error
    text_key = unit.options.get("text_key", "text")
    listed = value if isinstance(value, list) else [value]
    if not listed:
        raise Unusable("empty")
    for number, row in enumerate(listed, 1):
        place = f"{unit.source}#{number}" if isinstance(value, list) else unit.source
        if isinstance(row, dict):
            yield rows.fields(row, place, unit.options["known"], text_key, decoded)
        else:
            yield Drop(place, "read", f"not an object: {type(row).__name__}", str(row)[:SAMPLE_CHARACTERS])
