"""From the licences of the sources to one statement. Counts and names what is there; decides nothing in law.

A licence that is not known stays "unknown" and is said first, because it is the one to look at.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

UNKNOWN = "unknown"

# SPDX id -> the id that the Hugging Face hub uses for it, where that differs from the lower-case SPDX id
_HUB = {
    "Unlicense": "unlicense", "GPL-2.0-only": "gpl-2.0", "GPL-3.0-only": "gpl-3.0", "GPL-3.0-or-later": "gpl-3.0",
    "GPL-2.0-or-later": "gpl-2.0", "LGPL-2.1-only": "lgpl-2.1", "LGPL-3.0-only": "lgpl-3.0", "AGPL-3.0-only": "agpl-3.0",
    "BSL-1.0": "bsl-1.0",
}  # fmt: skip
_ON_HUB = {
    "apache-2.0", "mit", "cc0-1.0", "cc-by-2.0", "cc-by-3.0", "cc-by-4.0", "cc-by-sa-3.0", "cc-by-sa-4.0", "cc-by-nc-4.0",
    "cc-by-nc-nd-4.0", "cc-by-nc-sa-4.0", "cc-by-nd-4.0", "isc", "zlib", "mpl-2.0", "epl-2.0", "gpl-2.0", "gpl-3.0",
    "lgpl-2.1", "lgpl-3.0", "agpl-3.0", "gfdl", "bsd-2-clause", "bsd-3-clause", "unlicense", "bsl-1.0",
}  # fmt: skip
_SHARE_ALIKE = ("GPL", "LGPL", "AGPL", "CC-BY-SA", "GFDL", "MPL", "EPL")
_NON_COMMERCIAL = "-NC"
_NO_DERIVATIVES = "-ND"


@dataclass(frozen=True, slots=True)
class Share:
    """One licence and the documents under it; `share` is of all documents, 0..1."""

    licence: str
    documents: int
    share: float


@dataclass(frozen=True, slots=True)
class Statement:
    """The licences of the sources together. `expression` is an SPDX expression, or "unknown" when one is missing."""

    shares: tuple[Share, ...]  # most documents first
    expression: str
    remarks: tuple[str, ...]

    @property
    def hub_id(self) -> str:
        """`license` of a Hugging Face model card: the one licence when the hub knows it, else "unknown"/"other"."""
        known = [share.licence for share in self.shares if share.licence != UNKNOWN]
        if len(known) != len(self.shares) or not known:
            return "unknown"
        if len(known) == 1:
            hub = _HUB.get(known[0], known[0].lower())
            return hub if hub in _ON_HUB else "other"
        return "other"


def combine(licences: Mapping[str, int]) -> Statement:
    """From {SPDX id: number of documents}. Every licence stays; an empty id counts as unknown."""
    counts: dict[str, int] = {}
    for licence, documents in licences.items():
        counts[licence.strip() or UNKNOWN] = counts.get(licence.strip() or UNKNOWN, 0) + documents
    total = sum(counts.values())
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    shares = tuple(Share(name, documents, documents / total if total else 0.0) for name, documents in ranked)
    known = sorted(name for name in counts if name != UNKNOWN)
    if not counts or UNKNOWN in counts:
        expression = UNKNOWN if not known else f"unknown (known part: {_expression(known)})"
    else:
        expression = _expression(known)
    return Statement(shares, expression, tuple(_remarks(counts, total)))


def _expression(names: list[str]) -> str:
    """All licences hold at once, so they are joined with AND; a compound one keeps its parentheses."""
    if len(names) == 1:
        return names[0]
    return " AND ".join(f"({name})" if " " in name else name for name in names)


def _remarks(counts: Mapping[str, int], total: int) -> list[str]:
    remarks = []
    if not counts:
        return ["The manifests record no licence."]
    if UNKNOWN in counts:
        share = counts[UNKNOWN] / total if total else 1.0
        remarks.append(
            f"{counts[UNKNOWN]} of {total} documents ({share:.1%}) have no known licence: find out before you pass the model on."
        )
    for mark, says in (
        (_SHARE_ALIKE, "ask that what is derived from them is shared under the same terms"),
        (_NON_COMMERCIAL, "do not allow commercial use"),
        (_NO_DERIVATIVES, "do not allow derived works"),
    ):
        named = [name for name in sorted(counts) if _carries(name, mark)]
        if named:
            remarks.append(f"{', '.join(named)}: {says}.")
    return remarks


def _carries(name: str, mark: str | tuple[str, ...]) -> bool:
    return name.startswith(mark) if isinstance(mark, tuple) else f"{mark}-" in f"{name}-"
