"""Byte-pair encoding, one merge at a time: the lowest rank (or the highest score) first, leftmost among equals."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ownlm.tokenizer.char_bpe import CharBPE
from ownlm.tokenizer.explained import Node, Piece, Step
from ownlm.tokenizer.scored_bpe import ScoredBPE

Join = Callable[[Node, Node], tuple[float, int] | None]
"""(rank or score, id of the joined token) of a pair, or None when it does not merge."""


def merged(nodes: Sequence[Node], join: Join, sign: int = 1) -> tuple[tuple[Step, ...], tuple[Node, ...]]:
    """(steps, what is left). sign: 1 merges the lowest first, -1 the highest."""
    now = list(nodes)
    steps: list[Step] = []
    while True:
        found = [
            (sign * pair[0], at, pair)
            for at in range(len(now) - 1)
            if (pair := join(now[at], now[at + 1])) is not None
        ]
        if not found:
            return tuple(steps), tuple(now)
        _, at, (rank, id) = min(found)
        left, right = now[at], now[at + 1]
        now[at : at + 2] = [Node(id, left.text + right.text, rank, (left, right))]
        steps.append(Step(left.text, right.text, rank, tuple(node.text for node in now)))


def byte_piece(text: str, ranks: Mapping[tuple[int, int], tuple[int, int]], byte_ids: Sequence[int]) -> Piece:
    """Byte-level BPE of one piece. ranks: (left id, right id) -> (rank, id)."""
    nodes = [Node(byte_ids[byte], bytes([byte])) for byte in text.encode("utf-8")]
    steps, roots = merged(nodes, lambda left, right: ranks.get((left.id, right.id)))
    return Piece(text, steps, roots, tuple(node.text for node in nodes))


def char_piece(model: CharBPE, piece: str, spelled: Callable[[str], bytes]) -> Piece:
    """The "BPE" model of tokenizer.json on one piece. spelled: the bytes to show for a token."""
    text = spelled(piece).decode("utf-8", errors="replace")
    id = model.whole(piece)
    if id is not None:
        return Piece(
            text,
            (),
            (Node(id, spelled(piece)),),
            note="the whole piece is a token: no merges (ignore_merges)",
        )
    dropped = model.num_dropped
    nodes = [Node(id, spelled(model.vocab[id])) for id in model.start(piece)]

    def join(left: Node, right: Node) -> tuple[float, int] | None:
        pair = model.pair(left.id, right.id)
        return None if pair is None else (int(pair[0]), pair[1])

    steps, roots = merged(nodes, join)
    lost = model.num_dropped - dropped
    note = f"{lost} characters have no token and are left out" if lost else ""
    return Piece(text, steps, _tokens(roots, model, spelled), tuple(node.text for node in nodes), note=note)


def _tokens(roots: Sequence[Node], model: CharBPE, spelled: Callable[[str], bytes]) -> tuple[Node, ...]:
    """A merge may drop the prefix of its right part: what is shown is the token itself."""
    return tuple(Node(root.id, spelled(model.vocab[root.id]), root.rank, root.parts) for root in roots)


def scored_piece(model: ScoredBPE, text: str, write: Callable[[str], list[Node]]) -> Piece:
    """SentencePiece's BPE on one word. write: the tokens of a piece that may be unknown."""
    nodes = [Node(model.id(character), character.encode("utf-8")) for character in text]

    def join(left: Node, right: Node) -> tuple[float, int] | None:
        id = model.id((left.text + right.text).decode("utf-8"))
        return None if id < 0 else (model.score(id), id)

    steps, ends = merged(nodes, join, sign=-1)
    roots: list[Node] = []
    taken = 0
    for node in ends:
        whole = _taken_apart(node, model)
        taken += len(whole) > 1
        for part in whole:
            roots += [part] if part.id >= 0 else write(part.text.decode("utf-8"))
    note = f"{taken} unused pieces are taken apart again" if taken else ""
    return Piece(text, steps, tuple(roots), tuple(node.text for node in nodes), "score", note=note)


def _taken_apart(node: Node, model: ScoredBPE) -> list[Node]:
    if node.parts is None or not model.is_unused(node.text.decode("utf-8")):
        return [node]
    return [*_taken_apart(node.parts[0], model), *_taken_apart(node.parts[1], model)]
