"""From keys to pairs of documents to those that stay. Pure numpy over document numbers; knows no texts.

Legend: D documents, P pairs (two int64 arrays, left and right, left before right in rank).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

SMALL = 64  # documents that share a key are compared all with all up to this many
LEADERS = 32  # and above it every one with the first so many


class Candidates(NamedTuple):
    """left, right int64 [P] without repeats, as ranks; num_capped: groups above SMALL, compared in part only."""

    left: np.ndarray
    right: np.ndarray
    num_capped: int


def sharing(columns: Iterable[np.ndarray], rank: np.ndarray, empty: np.ndarray) -> Candidates:
    """Pairs of documents with the same key in at least one column (each [D]); those that are `empty` form none.

    Memory: 16 bytes per document and 8 per pair found; at most LEADERS pairs per document and column, so that a
    million copies of one template cost no more than linear time.
    """
    found, num_capped = np.zeros(0, dtype=np.uint64), 0
    by_rank = np.argsort(rank, kind="stable")
    real = np.flatnonzero(empty[by_rank] == 0)
    for column in columns:
        keys = column[by_rank[real]]
        order = np.argsort(keys, kind="stable")
        left, right, capped = _of_column(keys[order], real[order])
        found = np.union1d(found, (left.astype(np.uint64) << np.uint64(32)) | right.astype(np.uint64))
        num_capped += capped
    return Candidates(
        (found >> np.uint64(32)).astype(np.int64),
        (found & np.uint64(0xFFFFFFFF)).astype(np.int64),
        num_capped,
    )


def _of_column(keys: np.ndarray, order: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """`keys` sorted; `order` rises within equal keys."""
    starts = (
        np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]])) if len(keys) else np.zeros(0, int)
    )
    sizes = np.diff(np.append(starts, len(keys)))
    many = sizes > 1
    starts, sizes = starts[many], sizes[many]
    lefts, rights = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for size in np.unique(sizes).tolist():
        rows = starts[sizes == size][:, None]
        a, b = np.triu_indices(size, 1) if size <= SMALL else _led(size)
        lefts.append(order[rows + a].ravel())
        rights.append(order[rows + b].ravel())
    return np.concatenate(lefts), np.concatenate(rights), int((sizes > SMALL).sum())


def _led(size: int) -> tuple[np.ndarray, np.ndarray]:
    a, b = np.meshgrid(np.arange(LEADERS), np.arange(size), indexing="ij")
    later = a < b
    return a[later], b[later]


def greedy(left: np.ndarray, right: np.ndarray, count: int) -> np.ndarray:
    """int64 [D], all as ranks: the kept document that each one repeats, or -1. Best rank first, a document goes when
    it forms a pair with one that stays; so whoever goes is a duplicate of the one named, never of a neighbor's
    neighbor.
    """
    of = np.full(count, -1, dtype=np.int64)
    order = np.lexsort((left, right))
    for first, second in zip(left[order].tolist(), right[order].tolist(), strict=True):
        if of[first] < 0 and of[second] < 0:
            of[second] = first
    return of


def linked(left: np.ndarray, right: np.ndarray, count: int) -> np.ndarray:
    """int64 [D], as ranks: the first document of the connected group, or -1 for it. Union by lower rank."""
    parent = list(range(count))

    def root(number: int) -> int:
        while parent[number] != number:
            parent[number] = parent[parent[number]]
            number = parent[number]
        return number

    for first, second in zip(left.tolist(), right.tolist(), strict=True):
        a, b = root(first), root(second)
        if a != b:
            parent[max(a, b)] = min(a, b)
    roots = np.fromiter((root(number) for number in range(count)), dtype=np.int64, count=count)
    return np.where(roots == np.arange(count), -1, roots)


def by_document(of_rank: np.ndarray, rank: np.ndarray) -> np.ndarray:
    """From ranks back to document numbers, on both sides."""
    by_rank = np.argsort(rank, kind="stable")
    mine = of_rank[rank]
    return np.where(mine >= 0, by_rank[mine], -1) if len(mine) else mine
