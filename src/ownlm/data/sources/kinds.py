"""Which reader a file name asks for: the containers and office formats beside the text formats of formats.py."""

from __future__ import annotations

from dataclasses import dataclass

from ownlm.data.formats import COMPRESSIONS, Format, format_of, split_suffix

CONTAINERS: dict[str, str] = {
    ".warc": "warc", ".wet": "warc", ".wat": "warc", ".parquet": "parquet", ".pq": "parquet", ".csv": "csv",
    ".tsv": "csv", ".json": "json", ".pdf": "pdf", ".docx": "docx", ".pptx": "pptx", ".xlsx": "xlsx", ".odt": "odf",
    ".odp": "odf", ".ods": "odf", ".xml": "xml",
}  # fmt: skip
_COMPRESSIONS = {**COMPRESSIONS, ".bz2": "bz2"}


@dataclass(frozen=True, slots=True)
class Kind:
    name: str  # the reader
    compression: str = ""  # "gz", "zst", "bz2" or ""
    language: str = ""  # of program code


def kind_of(name: str, stated: str = "auto") -> Kind | None:
    """The reader for a file of that name (or the stated one); None when the name is not on the lists."""
    stem, suffix = split_suffix(name)
    compression = _COMPRESSIONS.get(suffix, "")
    if compression:
        suffix = split_suffix(stem)[1]
    form = format_of(name.removesuffix(".bz2") if compression == "bz2" else name)
    if stated != "auto":
        reader = "xml" if stated in ("wikipedia", "qa") else stated
        return Kind(reader, compression, form.language if form and stated == "code" else "")
    if suffix in CONTAINERS:
        return Kind(CONTAINERS[suffix], compression)
    return Kind(form.kind, compression, form.language) if form else None


def text_format(kind: Kind) -> Format:
    """For the readers of plain text."""
    return Format(kind.name, kind.language, kind.compression)  # type: ignore[arg-type]
