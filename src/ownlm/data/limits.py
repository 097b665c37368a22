"""The stated upper bounds of reading. Whatever exceeds one becomes a Drop that names it."""

from __future__ import annotations

from dataclasses import dataclass


class Unusable(Exception):
    """A file, or the rest of one, cannot be used; the text is the reason of the Drop."""


@dataclass(frozen=True, slots=True)
class Limits:
    file_bytes: int = 64 << 20
    """Largest file read as one document, after decompression. JSON lines files are streamed instead."""
    line_bytes: int = 64 << 20
    """Longest line of a JSON lines file."""
    stream_bytes: int = 256 << 30
    """Most bytes that one compressed JSON lines file may unfold to."""
    ratio: int = 250
    """Most a compressed file may unfold, once `ratio_free_bytes` have come out (text reaches 3 to 50)."""
    ratio_free_bytes: int = 8 << 20
    depth: int = 64
    """Deepest nesting of folders that is followed."""
    archive_files: int = 10_000
    """Most files inside one office document (a zip archive)."""
    cells: int = 2_000_000
    """Most cells that are read from one spreadsheet."""
    pages: int = 20_000
    """Most pages that are read from one PDF."""
    url_bytes: int = 64 << 30
    """Most bytes taken from one URL."""
    url_seconds: float = 6 * 3600
    """Longest time that one URL may take."""
    url_idle_seconds: float = 60
    """Longest wait for a connection or for the next bytes of a URL."""
