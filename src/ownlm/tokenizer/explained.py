"""What an explanation of an encoding says, and how it is printed: steps, trees, matches and cuts of every piece."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Node:
    """A token of the merge tree: a symbol of the start, or two nodes that were joined by the merge of this rank or score.

    id -1: a symbol that is no token by itself.
    """

    id: int
    text: bytes
    rank: float | None = None
    parts: tuple[Node, Node] | None = None

    def depth(self) -> int:
        return 0 if self.parts is None else 1 + max(part.depth() for part in self.parts)


@dataclass(frozen=True, slots=True)
class Step:
    """One merge: which pair, its rank (or score), and the tokens of the piece afterwards."""

    left: bytes
    right: bytes
    rank: float
    tokens: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Match:
    """WordPiece: the longest token at this place of the word; `tried` longer strings are no tokens."""

    at: int  # characters
    token: str
    id: int
    tried: int


@dataclass(frozen=True, slots=True)
class Cut:
    """Unigram: a way to cut the piece, and the logarithm of its probability (nats)."""

    tokens: tuple[str, ...]
    scores: tuple[float, ...]

    @property
    def total(self) -> float:
        return sum(self.scores)


@dataclass(frozen=True, slots=True)
class Piece:
    """What the pre-tokenizer cut off; tokens never cross its edges. Of steps, matches and cuts the model's kind is filled."""

    text: str
    steps: tuple[Step, ...]
    roots: tuple[Node, ...]
    start: tuple[bytes, ...] = ()  # the symbols before any merge
    measure: str = "rank"  # what decides between merges: rank (lowest first) or score (highest first)
    matches: tuple[Match, ...] = ()
    cuts: tuple[Cut, ...] = ()  # the best, then the next best
    note: str = ""

    @property
    def ids(self) -> list[int]:
        return [root.id for root in self.roots]


@dataclass(frozen=True, slots=True)
class Stage:
    """One step before the model: its name and the stretches of text after it."""

    name: str
    texts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Explanation:
    text: str
    family: str
    pieces: tuple[Piece, ...]
    stages: tuple[Stage, ...] = ()

    @property
    def ids(self) -> list[int]:
        return [id for piece in self.pieces for id in piece.ids]

    def as_dict(self) -> dict[str, Any]:
        return {
            "text": self.text,
            "family": self.family,
            "ids": self.ids,
            "stages": [{"name": stage.name, "texts": list(stage.texts)} for stage in self.stages],
            "pieces": [_piece_dict(piece) for piece in self.pieces],
        }

    def render(self) -> str:
        """Stages, then steps and tree of every piece, as text."""
        count = f"{len(self.pieces)} piece{'' if len(self.pieces) == 1 else 's'}"
        tokens = f"{len(self.ids)} token{'' if len(self.ids) == 1 else 's'}"
        pattern = self.family if ":" in self.family or "-" in self.family else f"{self.family} pattern"
        rows = [f"{count} ({pattern}), {tokens}: {self.ids}"]
        width = max((len(stage.name) for stage in self.stages), default=0)
        for stage in self.stages:
            rows.append(f"  {stage.name:<{width}}  {'│'.join(shown(text.encode()) for text in stage.texts)}")
        for piece in self.pieces:
            rows += ["", *_piece_rows(piece)]
        return "\n".join(rows)


def shown(token: bytes) -> str:
    """Readable, one to one: text where the bytes are printable UTF-8, else escapes; a space is shown as ␣."""
    try:
        text = token.decode("utf-8")
    except UnicodeDecodeError:
        return "".join(f"\\x{byte:02x}" for byte in token)
    return "".join("␣" if c == " " else c if c.isprintable() else repr(c)[1:-1] for c in text)


def _piece_dict(piece: Piece) -> dict[str, Any]:
    found: dict[str, Any] = {
        "text": piece.text,
        "ids": piece.ids,
        "tokens": [shown(root.text) for root in piece.roots],
        "steps": [
            {
                "left": shown(step.left),
                "right": shown(step.right),
                piece.measure: step.rank,
                "tokens": [shown(token) for token in step.tokens],
            }
            for step in piece.steps
        ],
    }
    if piece.matches:
        found["matches"] = [
            {"at": match.at, "token": match.token, "id": match.id, "tried": match.tried}
            for match in piece.matches
        ]
    if piece.cuts:
        found["cuts"] = [
            {"tokens": list(cut.tokens), "log_probabilities": list(cut.scores), "total": cut.total}
            for cut in piece.cuts
        ]
    if piece.note:
        found["note"] = piece.note
    return found


def _piece_rows(piece: Piece) -> Iterator[str]:
    count = f"{len(piece.roots)} token{'' if len(piece.roots) == 1 else 's'}"
    yield f"piece {piece.text!r} -> {count} {piece.ids}"
    if piece.note:
        yield f"  {piece.note}"
    if piece.start:
        yield f"  start             {' '.join(map(shown, piece.start))}"
    for number, step in enumerate(piece.steps, 1):
        yield f"  {number:>2}. {piece.measure} {_figure(step.rank):<9} {' '.join(map(shown, step.tokens))}"
    for match in piece.matches:
        tried = f"  (after {match.tried} longer)" if match.tried else ""
        yield f"  at {match.at:<3} longest token {shown(match.token.encode())}{tried}"
    for name, cut in zip(("best cut ", "next best"), piece.cuts, strict=False):
        parts = "  ".join(
            f"{shown(token.encode())} {score:.3f}"
            for token, score in zip(cut.tokens, cut.scores, strict=True)
        )
        yield f"  {name} {cut.total:.3f} = {parts}"
    for root in piece.roots:
        yield from (f"  {line}" for line in _draw(root, piece.measure))


def _figure(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.6g}"


def _draw(node: Node, measure: str, prefix: str = "", last: bool | None = None) -> Iterator[str]:
    """The tree under a token; each joint says the rank (or score) of its merge."""
    branch = "" if last is None else "└─ " if last else "├─ "
    name = "no token" if node.id < 0 else f"id {node.id}"
    note = f"  [{name}]" + ("" if node.rank is None else f" {measure} {_figure(node.rank)}")
    yield f"{prefix}{branch}{shown(node.text)}{note}"
    if node.parts is not None:
        below = prefix + ("" if last is None else "   " if last else "│  ")
        yield from _draw(node.parts[0], measure, below, False)
        yield from _draw(node.parts[1], measure, below, True)
