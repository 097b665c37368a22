"""Find the hash below which documents of a given total size lie, in two passes and constant memory.

First pass: sizes summed in 65,536 cells of equal hash range. Second pass: only the documents of the one cell in which
the total is reached are sorted. The result is as exact as sorting all documents.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

HASH_BITS = 63
_CELL_BITS = 16
_WIDTH = 1 << (HASH_BITS - _CELL_BITS)


class Cells:
    """Total size of the documents in every cell of hashes below 2**63."""

    def __init__(self) -> None:
        self.sizes = np.zeros(1 << _CELL_BITS, np.float64)

    @staticmethod
    def of(hashes: np.ndarray) -> np.ndarray:
        """The cell of every hash, int64."""
        return (hashes >> np.uint64(HASH_BITS - _CELL_BITS)).astype(np.int64)

    def add(self, hashes: np.ndarray, sizes: np.ndarray) -> None:
        self.sizes += np.bincount(self.of(hashes), sizes, len(self.sizes))

    @property
    def total(self) -> float:
        return float(self.sizes.sum())

    def before(self, cell: int) -> float:
        """Size of all documents in the cells below."""
        return float(self.sizes[:cell].sum())

    def boundary(self, size: float) -> int:
        """The cell in which the running total passes `size`."""
        return min(int(np.searchsorted(np.cumsum(self.sizes), size, side="right")), len(self.sizes) - 1)


def cut_at(parts: Sequence[tuple[np.ndarray, np.ndarray]], cell: int, size: float) -> int:
    """The hash h so that the documents of `cell` with hashes below h come nearest to `size`; parts are (hashes, sizes).

    Documents of equal hash stay together.
    """
    hashes = np.concatenate([part[0] for part in parts]) if parts else np.zeros(0, np.uint64)
    if not len(hashes):
        return cell * _WIDTH
    sizes = np.concatenate([part[1] for part in parts])
    distinct, place = np.unique(hashes, return_inverse=True)
    running = np.concatenate(([0.0], np.cumsum(np.bincount(place, sizes))))
    taken = int(np.argmin(np.abs(running - size)))  # the fewer of two that are equally near
    return int(distinct[taken]) if taken < len(distinct) else (cell + 1) * _WIDTH
