"""Why a text becomes these tokens: every merge of a byte-level BPE encoding in order, and the tree that they make."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ownlm.tokenizer.pretokenize import split
from ownlm.tokenizer.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True)
class Node:
    """A token of the merge tree: a single byte, or two nodes that were joined by the merge of this rank."""

    id: int
    text: bytes
    rank: int | None = None
    parts: tuple[Node, Node] | None = None

    def depth(self) -> int:
        return 0 if self.parts is None else 1 + max(part.depth() for part in self.parts)


@dataclass(frozen=True, slots=True)
class Step:
    """One merge: which pair, its rank, and the tokens of the piece afterwards."""

    left: bytes
    right: bytes
    rank: int
    tokens: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Piece:
    """What the split pattern cut off; merges never cross its edges."""

    text: str
    steps: tuple[Step, ...]
    roots: tuple[Node, ...]

    @property
    def ids(self) -> list[int]:
        return [root.id for root in self.roots]


@dataclass(frozen=True, slots=True)
class Explanation:
    text: str
    family: str
    pieces: tuple[Piece, ...]

    @property
    def ids(self) -> list[int]:
        return [id for piece in self.pieces for id in piece.ids]

    def as_dict(self) -> dict[str, Any]:
        return {
            "text": self.text,
            "family": self.family,
            "ids": self.ids,
            "pieces": [
                {
                    "text": piece.text,
                    "ids": piece.ids,
                    "tokens": [shown(root.text) for root in piece.roots],
                    "steps": [
                        {
                            "left": shown(step.left),
                            "right": shown(step.right),
                            "rank": step.rank,
                            "tokens": [shown(token) for token in step.tokens],
                        }
                        for step in piece.steps
                    ],
                }
                for piece in self.pieces
            ],
        }

    def render(self) -> str:
        """Steps and tree of every piece, as text."""
        rows = [f"{len(self.pieces)} pieces ({self.family} pattern), {len(self.ids)} tokens: {self.ids}"]
        for piece in self.pieces:
            rows += ["", f"piece {piece.text!r} -> {len(piece.roots)} tokens {piece.ids}"]
            start = " ".join(shown(bytes([byte])) for byte in piece.text.encode("utf-8"))
            rows.append(f"  start             {start}")
            for number, step in enumerate(piece.steps, 1):
                rows.append(f"  {number:>2}. rank {step.rank:<9,} {' '.join(map(shown, step.tokens))}")
            for root in piece.roots:
                rows += [f"  {line}" for line in _draw(root)]
        return "\n".join(rows)


def shown(token: bytes) -> str:
    """Readable, one to one: text where the bytes are printable UTF-8, else escapes; a space is shown as ␣."""
    try:
        text = token.decode("utf-8")
    except UnicodeDecodeError:
        return "".join(f"\\x{byte:02x}" for byte in token)
    return "".join("␣" if c == " " else c if c.isprintable() else repr(c)[1:-1] for c in text)


def explain(tokenizer: Tokenizer, text: str) -> Explanation:
    """Encode by the rule itself, noting every step. The ids are those of `encode`.

    Quadratic in the length of a piece: for looking at, not for corpora.
    """
    left_right = tokenizer.vocabulary.merge_table().tolist()
    ranks = {(left, right): (rank, result) for rank, (left, right, result) in enumerate(left_right)}
    byte_ids = tokenizer.vocabulary.byte_ids().tolist()
    pieces = []
    for piece in split(text, tokenizer.family):
        nodes = [Node(byte_ids[byte], bytes([byte])) for byte in piece.encode("utf-8")]
        steps = []
        while True:
            found = [
                (ranks[pair][0], at)
                for at in range(len(nodes) - 1)
                if (pair := (nodes[at].id, nodes[at + 1].id)) in ranks
            ]
            if not found:
                break
            rank, at = min(found)
            left, right = nodes[at], nodes[at + 1]
            joined = Node(ranks[left.id, right.id][1], left.text + right.text, rank, (left, right))
            nodes[at : at + 2] = [joined]
            steps.append(Step(left.text, right.text, rank, tuple(node.text for node in nodes)))
        pieces.append(Piece(piece, tuple(steps), tuple(nodes)))
    return Explanation(text, tokenizer.family, tuple(pieces))


def _draw(node: Node, prefix: str = "", last: bool | None = None) -> Iterator[str]:
    """The tree under a token; each joint says the rank of its merge."""
    branch = "" if last is None else "└─ " if last else "├─ "
    note = f"  [id {node.id}]" + ("" if node.rank is None else f" rank {node.rank:,}")
    yield f"{prefix}{branch}{shown(node.text)}{note}"
    if node.parts is not None:
        below = prefix + ("" if last is None else "   " if last else "│  ")
        yield from _draw(node.parts[0], below, False)
        yield from _draw(node.parts[1], below, True)
