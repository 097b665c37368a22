"""Any mix of folders and files to documents. What is not used comes out as a Drop with step "read" and a reason.

Order and ids depend on names and content alone. Bytes become text here (encoding.py); the text is repaired later
(clean.py). Nothing is followed, executed or fetched.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from ownlm.data import html
from ownlm.data.compressed import opened
from ownlm.data.encoding import decode, is_binary
from ownlm.data.formats import Format, format_of, split_suffix
from ownlm.data.licence import FolderLicences, header_licence, is_licence_file
from ownlm.data.limits import Limits, Unusable
from ownlm.data.rows import SAMPLE_CHARACTERS, document_id, rows
from ownlm.data.walk import Found, open_regular, walk
from ownlm.errors import DataError
from ownlm.records import Document, Drop


def read(
    paths: Sequence[Path], licence: str | None = None, limits: Limits | None = None
) -> Iterator[Document | Drop]:
    """Documents and drops of the given paths, in order, one at a time.

    licence: the SPDX id to record for everything, instead of what is found (licence.py).
    Raises DataError when a path does not exist (before anything is read), and at the end when not one document
    came out, with the counts per reason.
    """
    if not paths:
        raise DataError("No data path was given.", "", "name a folder or a file with --data")
    limits = limits or Limits()
    licences = FolderLicences()
    count = 0
    reasons: Counter[str] = Counter()
    for found in walk([Path(path) for path in paths], limits):
        items = iter([found]) if isinstance(found, Drop) else _file(found, licence, licences, limits)
        for item in items:
            if isinstance(item, Document):
                count += 1
            else:
                reasons[item.reason] += 1
            yield item
    if not count:
        shown = (
            ", ".join(f"{number} x {reason}" for reason, number in reasons.most_common(8)) or "empty folder"
        )
        raise DataError(
            "There is no readable text in the data.",
            f"{', '.join(str(path) for path in paths)}: {shown}",
            "give text: .txt .md .rst .html, source code, or .jsonl(.gz/.zst) with a `text` field",
        )


def _file(
    found: Found, licence: str | None, licences: FolderLicences, limits: Limits
) -> Iterator[Document | Drop]:
    name = found.path.name
    if is_licence_file(name):
        yield Drop(found.source, "read", "licence file: recorded as the licence, not as text")
        return
    form = format_of(name)
    if form is None:
        suffix = split_suffix(name)[1]
        yield Drop(
            found.source, "read", f"unknown suffix {suffix[:20]}" if suffix else "unknown name without suffix"
        )
        return
    known = licence or licences.of(found.path.parent, found.root)
    try:
        with open_regular(found.path) as file:
            if form.kind == "jsonl":
                with opened(file, form.compression, limits, limits.stream_bytes) as plain:
                    for item in rows(plain, found.source, known, limits):
                        yield (
                            item if licence is None or isinstance(item, Drop) else _relicensed(item, licence)
                        )
            else:
                with opened(file, form.compression, limits, limits.file_bytes) as plain:
                    data = plain.read(limits.file_bytes + 1)
                    yield whole_file(data, found.source, form, licence, known, limits)
    except Unusable as error:
        yield Drop(found.source, "read", str(error))
    except OSError as error:
        yield Drop(found.source, "read", f"unreadable: {error.strerror or error}")


def _relicensed(document: Document, licence: str) -> Document:
    return Document(document.id, document.text, document.source, licence, document.meta)


def whole_file(
    data: bytes,
    source: str,
    form: Format,
    licence: str | None,
    known: str,
    limits: Limits,
    *,
    raw_html: bool = False,
) -> Document | Drop:
    """One file as one document. licence: what the user states; known: what its folder says.

    raw_html: an HTML page keeps its tags, for the step `extract` to find the main text.
    """
    if len(data) > limits.file_bytes:
        return Drop(source, "read", f"too large: more than {limits.file_bytes} bytes")
    if not data.strip():
        return Drop(source, "read", "empty")
    if is_binary(data):
        return Drop(source, "read", "binary", repr(data[:60]))
    decoded = decode(data)
    text = decoded.text
    meta: dict[str, object] = {"format": form.kind}
    if form.language:
        meta["programming_language"] = form.language
    if decoded.encoding != "utf-8":
        meta["encoding"] = decoded.encoding
    if decoded.num_replaced:
        meta["num_replaced"] = decoded.num_replaced
    if form.kind == "html" and not raw_html:
        try:
            page = html.main_text(text)
        except Unusable as error:
            return Drop(source, "read", str(error))
        text = page.text
        if page.title:
            meta["title"] = page.title
        if not text.strip():
            return Drop(source, "read", "no text in the page", decoded.text[:SAMPLE_CHARACTERS])
    if licence is None:
        known = header_licence(decoded.text) or known
    return Document(document_id(source, text), text, source, known, meta)
