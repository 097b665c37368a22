"""Best-fit decreasing bin packing in O(n) bit-set steps: which row each piece goes to."""

from __future__ import annotations

import numpy as np


def best_fit(sizes: np.ndarray, capacity: int) -> np.ndarray:
    """Row number of every piece, int64, counted from 0 as rows are opened.

    Longest first (equal lengths in the order given), each into the row whose free room is the smallest that is enough,
    and among such rows into the one that got that room last. Every size is 1 .. capacity. The rooms that some row has
    are the bits of one integer, so that the smallest fitting room is found without a search.
    """
    row = np.empty(len(sizes), np.int64)
    with_room: list[list[int]] = [[] for _ in range(capacity + 1)]
    rooms, num_rows = 0, 0
    for piece in np.argsort(-sizes, kind="stable").tolist():
        size = int(sizes[piece])
        fitting = rooms >> size
        if fitting:
            room = size + (fitting & -fitting).bit_length() - 1
            chosen = with_room[room].pop()
            if not with_room[room]:
                rooms &= ~(1 << room)
        else:
            room, chosen = capacity, num_rows
            num_rows += 1
        row[piece] = chosen
        if room > size:
            with_room[room - size].append(chosen)
            rooms |= 1 << (room - size)
    return row
