"""Rows of a JSON lines file as documents: field `text`; optional source/path/url and license/licence; the rest in meta.

A bad row is one Drop with its line number; the rows around it are kept.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import IO, Any

from ownlm.data.encoding import Decoded, decode
from ownlm.data.formats import format_of
from ownlm.data.limits import Limits, Unusable
from ownlm.records import Document, Drop

SAMPLE_CHARACTERS = 300
_BOM = b"\xef\xbb\xbf"
_MOST_DEPTH = 100  # JSON nesting that survives writing the row again


def document_id(source: str, text: str) -> str:
    """Stable across runs and machines: 80 bits of BLAKE2b over source and content, length-prefixed."""
    named = source.encode("utf-8", "surrogatepass")
    digest = hashlib.blake2b(len(named).to_bytes(8, "big") + named, digest_size=10)
    digest.update(text.encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def rows(file: IO[bytes], source: str, licence: str, limits: Limits) -> Iterator[Document | Drop]:
    """Documents of an open JSON lines file. `licence` is for rows that name none."""
    for line in lines(file, source, limits):
        yield line if isinstance(line, Drop) else row(line[1], line[0], licence)


def lines(
    file: IO[bytes], source: str, limits: Limits, number: int = 0
) -> Iterator[tuple[str, bytes] | Drop]:
    """(place, line) of every line that is not blank; place is `source#12`. `number` lines lie before the first."""
    while True:
        line = file.readline(limits.line_bytes + 1)
        if not line:
            return
        number += 1
        if number == 1:
            if line.startswith((b"\xff\xfe", b"\xfe\xff")):
                raise Unusable("JSON lines must be UTF-8: this file is UTF-16")
            line = line.removeprefix(_BOM)
        if len(line) > limits.line_bytes:
            while line and not line.endswith(b"\n"):
                line = file.readline(1 << 20)
            yield Drop(f"{source}#{number}", "read", f"line too long: more than {limits.line_bytes} bytes")
        elif not line.isspace():
            yield f"{source}#{number}", line


def row(line: bytes, place: str, licence: str, text_key: str = "text") -> Document | Drop:
    """One line as a document: its text is the string under `text_key`."""
    decoded = _decoded(line)
    try:
        value = parse_json(decoded.text)
        if not isinstance(value, dict):
            raise ValueError(f"not an object: {type(value).__name__}")
    except RecursionError:
        return Drop(place, "read", "JSON nested too deep", decoded.text[:SAMPLE_CHARACTERS])
    except json.JSONDecodeError as error:
        reason = f"bad JSON: {error.msg} at column {error.colno}"
        return Drop(place, "read", reason, decoded.text[:SAMPLE_CHARACTERS])
    except ValueError as error:
        return Drop(place, "read", str(error), decoded.text[:SAMPLE_CHARACTERS])
    return fields(value, place, licence, text_key, decoded)


def _decoded(line: bytes) -> Decoded:
    """JSON is UTF-8 (RFC 8259, 8.1), whatever its strings say of charsets; only bytes that are not are guessed at."""
    try:
        return Decoded(line.decode("utf-8"), "utf-8")
    except UnicodeDecodeError:
        return decode(line)


def fields(
    value: dict[str, Any], place: str, licence: str, text_key: str, decoded: Decoded
) -> Document | Drop:
    """A parsed row as a document; `decoded` is the text it was parsed from."""
    try:
        if text_key not in value:
            raise ValueError(f"no field `{text_key}`: it has {', '.join(list(value)[:8]) or 'none'}"[:200])
        text = value.pop(text_key)
        if not isinstance(text, str):
            raise ValueError(f"`{text_key}` is not a string: {type(text).__name__}")
        if not text.strip():
            raise ValueError("empty")
        _check_depth(value)
    except RecursionError:
        return Drop(place, "read", "JSON nested too deep", decoded.text[:SAMPLE_CHARACTERS])
    except ValueError as error:
        return Drop(place, "read", str(error), decoded.text[:SAMPLE_CHARACTERS])
    return _document(value, text, place, licence, decoded.encoding, decoded.num_replaced)


def parse_json(text: str) -> Any:
    """RFC 8259 and no more: raises ValueError for NaN, infinities and duplicate keys, RecursionError for depth."""
    return _DECODER.decode(text)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"duplicate key: {next(name for name in names if names.count(name) > 1)[:80]}")
    return row


def _no_constant(name: str) -> Any:
    raise ValueError(f"not JSON: the constant {name}")


def _check_depth(row: Mapping[str, Any]) -> None:
    """Iterative, because what must not recurse is exactly what is tested."""
    level: list[Any] = [row]
    for _ in range(_MOST_DEPTH):
        level = [item for value in level for item in (value.values() if isinstance(value, dict) else value)
                 if isinstance(item, (dict, list))]  # fmt: skip
        if not level:
            return
    raise RecursionError


_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_no_constant)


def _first(row: Mapping[str, Any], *names: str) -> str:
    """The first of these fields that holds a non-empty string, without control characters, at most 500 long."""
    for name in names:
        value = row.get(name)
        if isinstance(value, str) and value.strip():
            return " ".join(value.split())[:500]
    return ""


def _document(
    row: dict[str, Any], text: str, place: str, licence: str, encoding: str, num_replaced: int
) -> Document:
    """Source: the url; else `source/path`; else the path; else the place `file.jsonl#12`."""
    path, collection = _first(row, "path"), _first(row, "source")
    source = _first(row, "url") or "/".join(part for part in (collection, path) if part)
    if not source or (collection and not path and not row.get("url") and "/" not in collection):
        source = place  # a `source` alone names a data set, not a document
    stated = _first(row, "license", "licence")
    meta = {key: value for key, value in row.items() if key not in ("license", "licence")}
    if "id" in meta:
        meta["row_id"] = meta.pop("id")
    meta["place"] = place
    named = format_of(path or source)
    meta.setdefault("format", named.kind if named and named.kind != "jsonl" else "text")
    if path and "group" not in meta:
        meta["group"] = f"{collection}/{path}"
    if encoding != "utf-8":
        meta["encoding"] = encoding
    if num_replaced:
        meta["num_replaced"] = num_replaced
    return Document(document_id(source, text), text, source, stated or licence, meta)
