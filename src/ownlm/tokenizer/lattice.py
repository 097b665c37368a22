"""All cuts of many short strings into pieces at once, in NumPy: expected counts (EM) and the best cut without the piece.

A string of n characters has n + 1 nodes; a piece that occurs in it is an edge from start to end. Edges are handled in the
order of how far their end (backwards: their start) is from the string's border, all strings together, so that one step of
the recursions is one vector operation.   Letters: E edges, N nodes, S strings, P pieces.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]


class Lattice:
    def __init__(
        self, strings: Sequence[str], pieces: Mapping[str, int], longest: int, without_self: bool = False
    ) -> None:
        """pieces: piece -> number. longest: characters of the longest piece. without_self: a string is no piece of itself."""
        lengths = np.array([len(string) for string in strings], dtype=np.int64)  # [S]
        self.first = np.concatenate([[0], np.cumsum(lengths + 1)])[:-1]  # [S] first node of each string
        self.last = self.first + lengths  # [S]
        self.num_nodes = int((lengths + 1).sum())
        rows: list[int] = []
        for number, string in enumerate(strings):
            size = len(string)
            for start in range(size):
                for end in range(start + 1, min(size, start + longest) + 1):
                    piece = pieces.get(string[start:end])
                    if piece is not None and not (without_self and end - start == size):
                        rows += (number, start, end, piece)
        table = np.array(rows, dtype=np.int64).reshape(-1, 4)  # [E, 4]
        self._set(table)

    def _set(self, table: Array) -> None:
        """Sort the edges for the two directions."""
        table = table[
            np.lexsort((table[:, 0], table[:, 2]))
        ]  # by end, then string: same end node side by side
        self.table = table
        self.string, self.piece = table[:, 0], table[:, 3]  # [E]
        self.start = self.first[self.string] + table[:, 1]
        self.end = self.first[self.string] + table[:, 2]
        self.forward_levels = _levels(table[:, 2], self.end)
        from_end = self.last[self.string] - self.start
        self.backward_order = np.lexsort((self.start, from_end))
        self.backward_levels = _levels(from_end[self.backward_order], self.start[self.backward_order])

    def keep(self, alive: Array) -> None:
        """Drop the edges of pieces that are no longer alive, bool [P]."""
        self._set(self.table[alive[self.table[:, 3]]])

    def expected(self, log_probability: Array, weights: Array) -> tuple[Array, Array]:
        """(expected count of each piece [P], log likelihood of each string [S]); weights [S]: how often a string occurs.

        Forward-backward over the segmentations (Kudo 2018, section 3.2).
        """
        cost = log_probability[self.piece]  # [E]
        alpha = np.full(self.num_nodes, -np.inf)
        beta = np.full(self.num_nodes, -np.inf)
        alpha[self.first], beta[self.last] = 0.0, 0.0
        for low, high, starts, nodes in self.forward_levels:
            alpha[nodes] = _log_sum(alpha[self.start[low:high]] + cost[low:high], starts)
        order = self.backward_order
        for low, high, starts, nodes in self.backward_levels:
            edges = order[low:high]
            beta[nodes] = _log_sum(beta[self.end[edges]] + cost[edges], starts)
        total = alpha[self.last]  # [S]
        with np.errstate(invalid="ignore"):
            posterior = np.exp(alpha[self.start] + cost + beta[self.end] - total[self.string])
        posterior = (
            np.nan_to_num(posterior) * weights[self.string]
        )  # a string that cannot be cut counts nothing
        return np.bincount(self.piece, weights=posterior, minlength=len(log_probability)), total

    def best_edges(self, log_probability: Array) -> Array:
        """int64 [N]: the last edge of the best way to each node, -1 where there is none."""
        cost = log_probability[self.piece]
        alpha = np.full(self.num_nodes, -np.inf)
        alpha[self.first] = 0.0
        best = np.full(self.num_nodes, -1, dtype=np.int64)
        for low, high, starts, nodes in self.forward_levels:
            value = alpha[self.start[low:high]] + cost[low:high]
            highest = np.maximum.reduceat(value, starts)
            alpha[nodes] = highest
            counts = np.diff(np.append(starts, high - low))
            hits = np.flatnonzero((value == np.repeat(highest, counts)) & np.isfinite(value))
            best[self.end[low + hits[::-1]]] = low + hits[::-1]
        return best


def _levels(level: Array, node: Array) -> list[tuple[int, int, Array, Array]]:
    """(low, high, starts, nodes) per level of sorted edges: starts are where a new node begins within low..high."""
    if not len(level):
        return []
    bounds = [0, *(np.flatnonzero(np.diff(level)) + 1).tolist(), len(level)]
    out = []
    for low, high in itertools.pairwise(bounds):
        inside = node[low:high]
        starts = np.concatenate([[0], np.flatnonzero(np.diff(inside)) + 1])
        out.append((low, high, starts, inside[starts]))
    return out


def _log_sum(value: Array, starts: Array) -> Array:
    """Logarithm of the sum of exponentials of each segment."""
    highest = np.maximum.reduceat(value, starts)
    safe = np.where(np.isfinite(highest), highest, 0.0)
    counts = np.diff(np.append(starts, len(value)))
    total = np.add.reduceat(np.exp(value - np.repeat(safe, counts)), starts)
    with np.errstate(divide="ignore"):
        return np.log(total) + safe
