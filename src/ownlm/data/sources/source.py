"""The nouns of reading: a Source is what the user names, a Part what one task reads, a Unit what is parsed at once.

    Source  --split-->  Part  --units-->  Unit | Drop  --read_unit-->  Document | Drop

`units` only enumerates (names, lines, raw records) and is safe on hostile input; `read_unit` runs the parsers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ownlm.config import Settings

Form = Literal[
    "auto", "text", "markdown", "rst", "html", "code", "jsonl", "json", "csv", "warc", "parquet", "pdf", "docx",
    "pptx", "xlsx", "odf", "wikipedia", "qa",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of the input that one task reads; JSON values only, so that it can be written down and sent."""

    kind: str  # "files", "rows", "warc", "parquet" or "url"
    paths: tuple[str, ...]  # one path or URL; for "files" several files below one root, in order
    start: int = 0  # first byte, or first row group
    end: int = -1  # the byte or row group after the last one; -1: to the end
    num_bytes: int = 0  # input bytes, for progress
    options: Mapping[str, Any] = field(
        default_factory=dict
    )  # of the Source, and names and drops of the files


@dataclass(frozen=True, slots=True)
class Unit:
    """What one call of a parser reads. `source` names it in a Drop when the parser dies on it."""

    source: str
    kind: str
    data: bytes = b""  # the raw bytes, or nothing when `path` is to be read
    path: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)  # JSON values only


class Source(Settings):
    """One entry under `read:` of a pipeline."""

    path: str | tuple[str, ...]
    """File, folder, glob pattern or http(s) URL, or a list of these."""
    format: Form = "auto"
    """How to read it; auto decides by the name of each file (docs list the names)."""
    collection: str = ""
    """Name of this set of documents, for mixing and reports; default: the name of the folder or file."""
    licence: str = ""
    """SPDX id recorded for every document; default: what files and rows state, else the folder's licence file."""
    text_key: str = "text"
    """Field or column that holds the text, in JSON, CSV and Parquet rows."""
    raw_html: bool = False
    """Keep the tags of .html files, for the step extract. Pages of web archives always keep theirs."""
    verify_digests: bool = True
    """Drop a web archive's record whose payload differs from the SHA-1 it states."""
    allow_private: bool = False
    """Fetch URLs from private, loopback and link-local addresses too."""
    limit_bytes: int = 0
    """Stop cutting after this many input bytes (whole parts); 0: no limit."""

    @property
    def paths(self) -> tuple[str, ...]:
        return (self.path,) if isinstance(self.path, str) else self.path
