"""The compiled twins of `merge_all` (char_bpe.py) and `best_cut` (viterbi.py), for long pieces.

Short pieces come from caches and cost nothing; a piece of a million characters is where the readable versions are
too slow. None where the kernels are not built: the callers then go on in Python, with the same result.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ownlm.runtime import native

LONG = 64  # characters, from which a kernel is worth its call


class Merger:
    """merge_all for one table of pairs."""

    def __init__(self, kernel: Any) -> None:
        self._kernel = kernel

    def merge(self, ids: Sequence[int]) -> list[int]:
        """ids: none negative. Returns what is left when no pair merges."""
        merged: list[int] = self._kernel.merge(np.array(ids, dtype=np.uint32)).tolist()
        return merged


def merger(pairs: Mapping[tuple[int, int], tuple[float, int]]) -> Merger | None:
    """pairs: (left, right) -> (rank or any key, lowest first; id of the joined token)."""
    kernels = native.kernels()
    if kernels is None or not hasattr(kernels, "PieceMerger"):
        return None
    ends = np.array(list(pairs), dtype=np.uint32).reshape(-1, 2)
    keys = np.array([key for key, _ in pairs.values()], dtype=np.float64)
    ranks = np.unique(keys, return_inverse=True)[1].reshape(-1)  # equal keys get equal ranks
    results = np.array([id for _, id in pairs.values()], dtype=np.uint32)
    rows = np.column_stack([ends, ranks.astype(np.uint32), results])
    return Merger(kernels.PieceMerger(np.ascontiguousarray(rows, dtype=np.uint32)))


class Cutter:
    """best_cut for one vocabulary."""

    def __init__(self, kernel: Any) -> None:
        self._kernel = kernel

    def cut(
        self, text: str, unknown_score: float, unknown_id: int, single: bool = False
    ) -> list[tuple[int, int, int]]:
        """[(start, end, id)] in order; `single` as in best_cut."""
        codes = np.frombuffer(text.encode("utf-32-le"), dtype=np.uint32)
        ends, ids = self._kernel.cut(codes, unknown_score, unknown_id, single)
        stops = ends.tolist()
        return list(zip([0, *stops[:-1]], stops, ids.tolist(), strict=True)) if stops else []


def cutter(pieces: Iterable[tuple[str, float, int]]) -> Cutter | None:
    """pieces: (piece, score, id), none empty; of a piece given twice the later counts."""
    kernels = native.kernels()
    if kernels is None or not hasattr(kernels, "PieceCutter"):
        return None
    rows = list(pieces)
    joined = "".join(piece for piece, _, _ in rows)
    codes = np.frombuffer(joined.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    ends = np.cumsum([len(piece) for piece, _, _ in rows], dtype=np.uint64)
    scores = np.array([score for _, score, _ in rows], dtype=np.float64)
    return Cutter(kernels.PieceCutter(codes, ends, scores, np.array([id for *_, id in rows], dtype=np.int64)))
