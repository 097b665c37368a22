"""What a tokenizer.json does to a text: each normalizer, the added tokens found, each pre-tokenizer, then the model."""

from __future__ import annotations

from typing import Any

from ownlm.tokenizer.char_bpe import CharBPE
from ownlm.tokenizer.explain_cuts import unigram_piece, wordpiece_piece
from ownlm.tokenizer.explain_merges import char_piece
from ownlm.tokenizer.explained import Explanation, Node, Piece, Stage
from ownlm.tokenizer.normalize import normalizer
from ownlm.tokenizer.piece_model import PieceModel
from ownlm.tokenizer.pipeline import PipelineTokenizer
from ownlm.tokenizer.pretokenizers import Piece as Stretch
from ownlm.tokenizer.pretokenizers import pre_tokenizer
from ownlm.tokenizer.spelling import unspell
from ownlm.tokenizer.unigram import Unigram
from ownlm.tokenizer.wordpiece import WordPiece


def explain_pipeline(tokenizer: PipelineTokenizer, text: str) -> Explanation:
    """Stages and pieces; an added token found in the text is a piece of its own."""
    model = tokenizer.text_model()
    parts = tokenizer.parts(text)
    stages = _normalized(tokenizer, text)
    if any(id is not None for _, id, _ in parts):
        stages.append(Stage("added tokens", tuple(part for part, _, _ in parts)))
    steps = _steps(tokenizer.raw.get("pre_tokenizer"), "pretokenizers")
    cut: list[list[Stretch | Node]] = [
        [Stretch(part, begins) if id is None else Node(id, part.encode("utf-8"))]
        for part, id, begins in parts
    ]
    for raw in steps:
        run = pre_tokenizer(raw, "pre_tokenizer")
        cut = [stretch if isinstance(stretch[0], Node) else list(run(stretch)) for stretch in cut if stretch]  # type: ignore[arg-type]
        texts = [item.text for stretch in cut for item in stretch]
        stages.append(
            Stage(
                f"pre-tokenizer {raw['type']}",
                tuple(t.decode() if isinstance(t, bytes) else t for t in texts),
            )
        )
    pieces = [
        Piece(item.text.decode("utf-8"), (), (item,), note="an added token of the file")
        if isinstance(item, Node)
        else _piece(tokenizer, model, item.text)
        for stretch in cut
        for item in stretch
    ]
    return Explanation(text, tokenizer.family, tuple(pieces), tuple(stages))


def _normalized(tokenizer: PipelineTokenizer, text: str) -> list[Stage]:
    """The text after each normalizer in turn, as if no added token were in it."""
    stages = []
    for raw in _steps(tokenizer.raw.get("normalizer"), "normalizers"):
        text = normalizer(raw, "normalizer")(text)
        stages.append(Stage(f"normalizer {raw['type']}", (text,)))
    return stages


def _steps(raw: Any, inner: str) -> list[dict[str, Any]]:
    """The single steps of a normalizer or pre-tokenizer object, sequences unfolded."""
    if not isinstance(raw, dict):
        return []
    if raw.get("type") == "Sequence":
        return [step for part in raw[inner] for step in _steps(part, inner)]
    return [raw]


def _piece(tokenizer: PipelineTokenizer, model: PieceModel, text: str) -> Piece:
    def spelled(token: str) -> bytes:  # of byte letters the bytes
        found = unspell(token) if tokenizer.is_byte_level else None
        return token.encode("utf-8") if found is None else found

    def show(id: int) -> bytes:
        return spelled(tokenizer.token(id))

    if isinstance(model, CharBPE):
        return char_piece(model, text, spelled)
    if isinstance(model, WordPiece):
        return wordpiece_piece(model, text, show)
    if isinstance(model, Unigram):
        return unigram_piece(model, text, show)
    ids = model.encode_piece(text)  # characters and whole words: looked up, nothing is chosen
    return Piece(text, (), tuple(Node(id, show(id)) for id in ids))
