"""The most likely cut of a text into scored pieces: one forward pass over a trie, one walk back.

best[e] = max over pieces (s, e) of best[s] + score; among equal sums the longest last piece wins, as in SentencePiece
(Kudo 2018, arXiv:1804.10959, eq. 4; Kudo and Richardson 2018, arXiv:1808.06226). Time: length x longest piece.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from typing import Any

Trie = dict[str, Any]
"""character -> Trie of what follows; the key "" holds (score, id) of the piece that ends here."""


def trie(pieces: Iterable[tuple[str, float, int]]) -> Trie:
    """(piece, score, id) -> trie; of a piece given twice the later counts."""
    root: Trie = {}
    for piece, score, id in pieces:
        node = root
        for character in piece:
            node = node.setdefault(character, {})
        node[""] = (score, id)
    return root


def best_cut(
    text: str, root: Trie, unknown_score: float, unknown_id: int, single: bool = False
) -> list[tuple[int, int, int]]:
    """[(start, end, id)] in order, joined they are the text.

    A character that is no piece by itself may stand alone as `unknown_id` for `unknown_score`. single: keep the sums in
    float32, as the sentencepiece package does, so that near-ties fall the same way.
    """
    size = len(text)
    best = array("f" if single else "d", bytes((4 if single else 8) * (size + 1)))
    rounded = array(best.typecode, [0.0])  # a sum in the precision of `best`
    came = array("q", [-1]) * (size + 1)
    ids = array("q", [unknown_id]) * (size + 1)
    for start in range(size):
        here = best[start]
        node, end, alone = root, start, False
        while end < size:
            following = node.get(text[end])
            if following is None:
                break
            node = following
            end += 1
            found = node.get("")
            if found is not None:
                rounded[0] = here + found[0]
                total = rounded[0]
                if came[end] < 0 or total > best[end]:
                    best[end], came[end], ids[end] = total, start, found[1]
                if end == start + 1:
                    alone = True
        if not alone:
            rounded[0] = here + unknown_score
            end, total = start + 1, rounded[0]
            if came[end] < 0 or total > best[end]:
                best[end], came[end], ids[end] = total, start, unknown_id
    cut = []
    end = size
    while end > 0:
        start = came[end]
        cut.append((start, end, ids[end]))
        end = start
    return cut[::-1]
