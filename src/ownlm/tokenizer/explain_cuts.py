"""WordPiece's longest matches and Unigram's two most likely cuts, of one piece."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ownlm.tokenizer.explained import Cut, Match, Node, Piece
from ownlm.tokenizer.unigram import Unigram
from ownlm.tokenizer.viterbi import Trie
from ownlm.tokenizer.wordpiece import WordPiece

Show = Callable[[int], bytes]  # what a token looks like


def wordpiece_piece(model: WordPiece, piece: str, show: Show) -> Piece:
    """Each token, and how many longer strings were looked up in vain before it."""
    roots = tuple(Node(id, show(id)) for id in model.encode_piece(piece))
    if len(piece) > model.max_chars:
        note = f"{len(piece)} characters, more than {model.max_chars}: the word is unknown as a whole"
        return Piece(piece, (), roots, note=note)
    matches: list[Match] = []
    at = 0
    while at < len(piece):
        found = model.longest(piece, at)
        if found is None:
            note = f"no token at {piece[at : at + 12]!r}: the word is unknown as a whole"
            return Piece(piece, (), roots, matches=tuple(matches), note=note)
        id, end, tried = found
        matches.append(Match(at, model.vocab[id], id, tried))
        at = end
    return Piece(piece, (), roots, matches=tuple(matches))


def unigram_piece(model: Unigram, piece: str, show: Show) -> Piece:
    """The cut that is chosen and the next best one; an unknown character counts with its penalty."""
    best = model.cut(piece)
    cuts = two_best(piece, model.trie, model.unknown_score, best)
    roots = tuple(Node(id, show(id)) for id in model.encode_piece(piece))
    return Piece(piece, (), roots, cuts=cuts)


Way = tuple[float, int, int]  # sum, where the last piece starts, which of the ways to there (0 best, 1 next)


def two_best(
    text: str, root: Trie, unknown: float, chosen: Sequence[tuple[int, int, int]]
) -> tuple[Cut, ...]:
    """(the chosen cut, the most likely other one if there is one), in double precision.

    ways[e] holds the two best ways to cut text[:e]. Differing cuts may tie: then the chosen one stays first.
    """
    if not text:
        return ()
    edges = [_edges(text, start, root, unknown) for start in range(len(text))]
    ways: list[list[Way]] = [[(0.0, 0, 0)], *([] for _ in text)]
    for start, found in enumerate(edges):
        for end, score in found.items():
            ways[end] += [(total[0] + score, start, n) for n, total in enumerate(ways[start])]
            ways[end] = sorted(ways[end], key=lambda way: -way[0])[:2]
    cuts = [_spans(ways, len(text), n) for n in range(len(ways[-1]))]
    first = [(start, end) for start, end, _ in chosen]
    others = [spans for spans in cuts if spans != first][:1]
    return tuple(_cut(text, spans, edges) for spans in (first, *others))


def _edges(text: str, start: int, root: Trie, unknown: float) -> dict[int, float]:
    """end -> score of each piece that begins here; a character that is no piece costs `unknown`."""
    found: dict[int, float] = {}
    node, end = root, start
    while end < len(text) and text[end] in node:
        node = node[text[end]]
        end += 1
        if "" in node:
            found[end] = node[""][0]
    found.setdefault(start + 1, unknown)
    return found


def _spans(ways: Sequence[Sequence[Way]], end: int, which: int) -> list[tuple[int, int]]:
    spans = []
    while end > 0:
        _, start, which = ways[end][which]
        spans.append((start, end))
        end = start
    return spans[::-1]


def _cut(text: str, spans: Sequence[tuple[int, int]], edges: Sequence[dict[int, float]]) -> Cut:
    return Cut(tuple(text[a:b] for a, b in spans), tuple(edges[a][b] for a, b in spans))
