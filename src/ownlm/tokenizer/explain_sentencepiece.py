"""What a SentencePiece tokenizer does to a text: rules and white space, then its model's merges or cuts."""

from __future__ import annotations

from ownlm.tokenizer.explain_cuts import two_best
from ownlm.tokenizer.explain_merges import scored_piece
from ownlm.tokenizer.explained import Explanation, Node, Piece, Stage
from ownlm.tokenizer.sentencepiece import SentencePieceTokenizer


def explain_sentencepiece(tokenizer: SentencePieceTokenizer, text: str) -> Explanation:
    """The ids of `encode`: a run of unknown pieces is one token, also across words."""
    normal = tokenizer.normalize(text)
    stages = (Stage("rules and white space", (normal,)),)
    if not normal:
        return Explanation(text, tokenizer.family, (), stages)
    writer = _Writer(tokenizer)
    if tokenizer.spec.kind == "unigram":
        pieces = [_unigram(tokenizer, normal, writer)]
    elif tokenizer.spec.kind == "bpe":
        pieces = _words(tokenizer, normal, writer)
    else:
        pieces = [Piece(normal, (), tuple(writer.nodes(tokenizer.surfaces(normal))))]
    return Explanation(text, tokenizer.family, tuple(pieces), stages)


class _Writer:
    """Surfaces -> tokens, as `encode` writes them."""

    def __init__(self, tokenizer: SentencePieceTokenizer) -> None:
        self._tokenizer, self._spec = tokenizer, tokenizer.spec
        self._previous = False  # was the last one unknown?

    def nodes(self, surfaces: list[tuple[str, int]]) -> list[Node]:
        out: list[Node] = []
        for surface, id in surfaces:
            written, self._previous = self._tokenizer.written(surface, id, self._previous)
            for n in written:
                out.append(Node(n, (surface if n == id else self._spec.pieces[n]).encode("utf-8")))
        return out

    def unknown(self, surface: str) -> list[Node]:
        return self.nodes([(surface, self._spec.unk_id)])

    def known(self) -> None:
        self._previous = False


def _unigram(tokenizer: SentencePieceTokenizer, text: str, writer: _Writer) -> Piece:
    cut = tokenizer.cut_unigram(text)
    roots = writer.nodes([(text[start:end], id) for start, end, id in cut])
    return Piece(text, (), tuple(roots), cuts=two_best(text, tokenizer.trie, tokenizer.unknown_score, cut))


def _words(tokenizer: SentencePieceTokenizer, text: str, writer: _Writer) -> list[Piece]:
    merger = tokenizer.merger
    if merger is None:
        raise AssertionError("a BPE model without its merger")
    pieces: list[Piece] = []
    for stretch, whole in tokenizer.apart(text):
        if whole:
            roots = writer.nodes(tokenizer.surfaces(stretch))
            pieces.append(
                Piece(stretch, (), tuple(roots), note="a user-defined piece of the file, kept whole")
            )
            continue
        for word in merger.words(stretch):
            piece = scored_piece(merger, word, lambda surface: [Node(-1, surface.encode("utf-8"))])
            pieces.append(_written(piece, writer, tokenizer))
    return pieces


def _written(piece: Piece, writer: _Writer, tokenizer: SentencePieceTokenizer) -> Piece:
    """The piece with unknown characters as bytes or unknown tokens."""
    roots: list[Node] = []
    for root in piece.roots:
        if root.id < 0:
            roots += writer.unknown(root.text.decode("utf-8"))
        else:
            writer.known()
            roots.append(root)
    return Piece(piece.text, piece.steps, tuple(roots), piece.start, piece.measure, note=piece.note)
