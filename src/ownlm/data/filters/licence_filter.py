"""Documents kept or dropped by their licence; the licence that a page states for itself is recorded first.

A licence is an SPDX expression: of `A OR B` one must be allowed, of `A AND B` both; `WITH` exceptions are left out of
the comparison. Patterns may hold `*` (`CC-BY-*`, `*-NC-*`); case does not count.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Literal

from ownlm.config import Settings
from ownlm.data.crawl.markup import tags
from ownlm.data.filters.spdx import holds
from ownlm.data.flow.step import Note, drop
from ownlm.data.licence import UNKNOWN
from ownlm.records import Document, Drop

_CREATIVE = re.compile(
    r"^(?:https?:)?//(?:www\.)?creativecommons\.org/(?:licenses/([a-z]{2,3}(?:-[a-z]{2,3}){0,2})/(\d\.\d)|"
    r"publicdomain/(zero|mark)/(\d\.\d))(?:/|$|[?#])", re.I,
)  # fmt: skip
_KNOWN = (
    ("gnu.org/licenses/fdl", "GFDL-1.3"), ("gnu.org/copyleft/fdl", "GFDL-1.3"), ("gnu.org/licenses/agpl", "AGPL-3.0"),
    ("gnu.org/licenses/lgpl", "LGPL-3.0"), ("gnu.org/licenses/gpl", "GPL-3.0"), ("opensource.org/licenses/mit", "MIT"),
    ("opensource.org/license/mit", "MIT"), ("apache.org/licenses/license-2.0", "Apache-2.0"),
    ("opensource.org/licenses/apache-2.0", "Apache-2.0"), ("opensource.org/licenses/bsd-3-clause", "BSD-3-Clause"),
)  # fmt: skip


class Licences(Settings):
    """Keep documents by licence (SPDX ids and patterns); record the licence that a page links with rel=license."""

    allow: tuple[str, ...] = ()
    """Allowed SPDX ids or patterns; empty allows everything that is not denied."""
    deny: tuple[str, ...] = ()
    """Denied SPDX ids or patterns, e.g. `CC-*-NC-*`, `CC-BY-NC-*`; goes before `allow`."""
    unknown: Literal["keep", "drop"] = "keep"
    """What happens to documents whose licence is not known."""
    detect: bool = True
    """Read licence links of texts that are still HTML; several different ones must all be allowed."""

    def __call__(self, documents: Iterator[Document]) -> Iterator[Document | Drop | Note]:
        for document in documents:
            if self.detect and document.licence in ("", UNKNOWN) and document.meta.get("format") == "html":
                stated = of_html(document.text)
                if stated:
                    document = Document(document.id, document.text, document.source, stated, document.meta)
                    yield Note("licence recorded from the page")
            reason = self._reason(document.licence)
            yield drop(document, reason) if reason else document

    def _reason(self, licence: str) -> str:
        if licence.strip() in ("", UNKNOWN):
            return "licence unknown" if self.unknown == "drop" else ""
        return "" if holds(licence, self._allowed) else f"licence not allowed: {licence[:100]}"

    def _allowed(self, spdx: str) -> bool:
        if spdx.lower() == UNKNOWN:
            return self.unknown == "keep"
        name = spdx.lower()
        if any(fnmatchcase(name, pattern.lower()) for pattern in self.deny):
            return False
        return not self.allow or any(fnmatchcase(name, pattern.lower()) for pattern in self.allow)


def of_html(source: str) -> str:
    """The SPDX expression of the licence links (rel=license) of a page, joined with AND, or ""."""
    found: dict[str, None] = {}
    for _, attributes in tags(source, ("a", "link")):
        if "license" in attributes.get("rel", "").lower().split():
            spdx = of_url(attributes.get("href", ""))
            if spdx:
                found[spdx] = None
    return " AND ".join(found)


def of_url(url: str) -> str:
    """The SPDX id of a licence's address, or "". National versions count as the general one of their number."""
    creative = _CREATIVE.match(url.strip())
    if creative:
        kind, version, public, public_version = creative.groups()
        if public:
            return f"{'CC0' if public.lower() == 'zero' else 'CC-PDM'}-{public_version}"
        return f"CC-{kind.upper()}-{version}"
    address = re.sub(r"^(?:https?:)?//(?:www\.)?", "", url.strip().lower())
    return next((spdx for start, spdx in _KNOWN if address.startswith(start)), "")
