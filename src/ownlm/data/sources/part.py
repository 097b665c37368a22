"""Reading, as the executor sees it: split a Source into Parts, list a Part's Units, read one Unit.

    for part in split(source):                  # in the planning process
        for unit in units(part, limits):        # names, lines, raw records: safe on hostile input
            ... read_unit(unit, limits)         # parsers: run it where it may die

Every Unit gives at least one Document or Drop; a Document carries meta "collection".
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, cast

from ownlm.data import rows
from ownlm.data.compressed import opened
from ownlm.data.formats import split_suffix
from ownlm.data.licence import UNKNOWN, FolderLicences, is_licence_file
from ownlm.data.limits import Limits, Unusable
from ownlm.data.sources import dump, parquet_footer, parsed, tables, url, warc_file
from ownlm.data.sources.cut import split
from ownlm.data.sources.kinds import Kind, kind_of
from ownlm.data.sources.source import Part, Source, Unit
from ownlm.data.walk import open_regular
from ownlm.records import Document, Drop

__all__ = ["Part", "Source", "Unit", "read_unit", "split", "units"]


def units(part: Part, limits: Limits) -> Iterator[Unit | Drop]:
    """What a part holds, in order. Drops are what cannot even be listed: links, FIFOs, the rest of a damaged file."""
    if part.kind == "url":
        yield from _guarded(part.paths[0], _url_units(part, limits))
        return
    drops = list(part.options.get("drops", ()))
    licences = FolderLicences()
    for index, (path, name) in enumerate(zip(part.paths, part.options["names"], strict=True)):
        while drops and drops[0][0] <= index:
            yield Drop(drops[0][1], "read", drops.pop(0)[2])
        options = _for_file(part, path, licences)
        yield from _guarded(name, _file_units(part, path, name, options, limits))
    for _, name, reason in drops:
        yield Drop(name, "read", reason)


def read_unit(unit: Unit, limits: Limits) -> Iterator[Document | Drop]:
    """Documents and drops of one unit. Raises only what is a fault of ours or of the machine."""
    collection = unit.options.get("collection", "")
    try:
        for item in parsed.items(unit, limits):
            yield _collected(item, collection, unit) if isinstance(item, Document) else item
    except Unusable as error:
        yield Drop(unit.source, "read", str(error))
    except RecursionError:
        yield Drop(unit.source, "read", "nested too deep")
    except OSError as error:
        yield Drop(unit.source, "read", f"unreadable: {error.strerror or error}")


def _collected(document: Document, collection: str, unit: Unit) -> Document:
    stated = unit.options.get("stated_collection", False)
    meta = dict(document.meta)
    if stated or not isinstance(meta.get("collection"), str):
        meta["collection"] = collection
    licence = unit.options.get("licence") or document.licence
    return Document(document.id, document.text, document.source, licence, meta)


def _guarded(name: str, listed: Iterator[Unit | Drop]) -> Iterator[Unit | Drop]:
    """The units up to where the file cannot be used any more, then a Drop for the rest."""
    try:
        yield from listed
    except Unusable as error:
        yield Drop(name, "read", str(error))
    except OSError as error:
        yield Drop(name, "read", f"unreadable: {error.strerror or error}")


def _for_file(part: Part, path: str, licences: FolderLicences) -> dict[str, Any]:
    """The options of the source, without the lists of files, and with the licence of the file's folder."""
    options = {
        key: value for key, value in part.options.items() if key not in ("names", "drops", "root", "line")
    }
    folder, root = Path(path).parent, Path(part.options["root"])
    options["known"] = options.get("licence") or licences.of(folder, root)
    return options


def _file_units(
    part: Part, path: str, name: str, options: dict[str, Any], limits: Limits
) -> Iterator[Unit | Drop]:
    base = Path(path).name
    if is_licence_file(base):
        yield Drop(name, "read", "licence file: recorded as the licence, not as text")
        return
    kind = kind_of(base, options.get("format", "auto"))
    if kind is None:
        yield Drop(name, "read", _unknown(base))
    elif kind.name == "parquet" and not kind.compression:
        yield from _row_groups(part, path, name, options)
    elif kind.name in ("jsonl", "csv", "warc", "xml"):
        with open_regular(Path(path)) as file:
            yield from _stream_units(part, file, kind, name, options, limits)
    else:
        yield Unit(
            name,
            kind.name,
            path=path,
            options={**options, "compression": kind.compression, "language": kind.language},
        )


def _row_groups(part: Part, path: str, name: str, options: dict[str, Any]) -> Iterator[Unit | Drop]:
    groups = len(parquet_footer.row_group_bytes(Path(path)))
    end = groups if part.end < 0 else min(groups, part.end)
    if not groups:
        yield Drop(name, "read", "empty")
    for index in range(part.start, end):
        yield Unit(
            f"{name}#group{index}", "parquet", path=path, options={**options, "group": index, "name": name}
        )


def _stream_units(
    part: Part, file: IO[bytes], kind: Kind, name: str, options: dict[str, Any], limits: Limits
) -> Iterator[Unit | Drop]:
    """Units of a file that is read as a stream, from the part's first byte to its last."""
    if part.start:
        file.seek(part.start)
    if kind.name == "warc":
        gz = kind.compression == "gz"
        plain = file if gz else opened(file, kind.compression, limits, limits.stream_bytes)
        found = warc_file.records(plain, "gz" if gz else "", name, limits, part.start, part.end)
        for record in found:
            yield _record_unit(record, name, options) if isinstance(record, warc_file.Record) else record
        return
    plain = cast(io.BufferedReader, opened(file, kind.compression, limits, limits.stream_bytes))
    if kind.name == "csv":
        yield from tables.csv_units(plain, name, options, limits)
    elif kind.name == "xml":
        yield from dump.units(plain, name, options, limits)
    else:
        if part.end >= 0:
            plain = tables.first_bytes(plain, part.end - part.start)
        for line in rows.lines(plain, name, limits, int(part.options.get("line", 0))):
            yield line if isinstance(line, Drop) else Unit(line[0], "row", line[1], options=options)


def _record_unit(record: warc_file.Record, name: str, options: dict[str, Any]) -> Unit:
    place = f"{name}@{record.offset}"
    return Unit(
        record.headers.get("warc-target-uri", "").strip("<>") or place,
        "record",
        record.block,
        options={**options, "headers": record.headers, "place": place},
    )


def _url_units(part: Part, limits: Limits) -> Iterator[Unit | Drop]:
    """A URL is one part: streamed when its format can be, else fetched whole."""
    address = part.paths[0]
    options = {**part.options, "known": part.options.get("licence") or UNKNOWN}
    name = address.partition("?")[0].rpartition("/")[2]
    kind = kind_of(name, options.get("format", "auto"))
    if kind is None:
        raise Unusable("the format cannot be told from the name of the URL")
    with url.opened(address, limits, allow_private=bool(options.get("allow_private"))) as file:
        if kind.name in ("jsonl", "csv", "warc", "xml"):
            yield from _stream_units(part, file, kind, address, options, limits)
            return
        data = file.read(limits.file_bytes + 1)
    if kind.name == "parquet":
        raise Unusable("Parquet from a URL is not read: download the file")
    if not data:
        raise Unusable("empty")
    yield Unit(
        address,
        kind.name,
        data,
        options={**options, "compression": kind.compression, "language": kind.language},
    )


def _unknown(name: str) -> str:
    suffix = split_suffix(name)[1]
    return f"unknown suffix {suffix[:20]}" if suffix else "unknown name without suffix"
