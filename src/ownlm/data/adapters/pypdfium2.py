"""The text of PDF files through PDFium (pypdfium2). PDFium is native code on hostile bytes: run it where it may die."""

from __future__ import annotations

import re
from typing import Any

from ownlm.data.limits import Limits, Unusable
from ownlm.errors import MissingDependency

_HYPHEN = "\ufffe"  # PDFium's mark for a hyphen at the end of a line that it took out
_TRAILING = re.compile(r"[ \t]+$", re.MULTILINE)


def text_of(data: bytes, limits: Limits) -> tuple[str, dict[str, Any]]:
    """(text, meta): pages in order, two line ends between them. Raises Unusable for encrypted and damaged files."""
    try:
        import pypdfium2  # type: ignore[import-untyped, import-not-found, unused-ignore]
    except ImportError as error:
        raise MissingDependency(
            "Reading PDF files needs pypdfium2.", "pypdfium2", "pip install pypdfium2"
        ) from error
    try:
        document = pypdfium2.PdfDocument(data)
    except pypdfium2.PdfiumError as error:
        reason = "encrypted PDF" if "password" in str(error).lower() else "damaged PDF"
        raise Unusable(f"{reason}: {error}"[:200]) from error
    try:
        num_pages = len(document)
        if num_pages > limits.pages:
            raise Unusable(f"PDF with more than {limits.pages} pages")
        pages, failed, size = [], 0, 0
        for index in range(num_pages):
            text = _page(document, index, pypdfium2)
            failed += text is None
            size += len(text or "")
            if size > limits.file_bytes:
                raise Unusable(f"PDF with more than {limits.file_bytes} characters")
            pages.append(text or "")
        if num_pages and failed == num_pages:
            raise Unusable("damaged PDF: no page can be read")
        meta: dict[str, Any] = {"num_pages": num_pages}
        if failed:
            meta["num_failed_pages"] = failed
        title = document.get_metadata_value("Title").strip()
        if title:
            meta["title"] = title[:500]
        return "\n\n".join(page for page in pages if page) + "\n", meta
    finally:
        document.close()


def _page(document: Any, index: int, pypdfium2: Any) -> str | None:
    try:
        page = document[index]
    except pypdfium2.PdfiumError:
        return None
    try:
        text_page = page.get_textpage()
        try:
            text: str = text_page.get_text_bounded(errors="replace")
        finally:
            text_page.close()
    except pypdfium2.PdfiumError:
        return None
    finally:
        page.close()
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace(_HYPHEN, "").replace("\0", "")
    return _TRAILING.sub("", text).strip()
