"""Why a text becomes these tokens, for every kind of tokenizer. The ids are those of `encode`.

    what comes before the model (normalizer, added tokens, pre-tokenizer) ── stages
    BPE: every merge in order and the tree that they make; WordPiece: each longest match; Unigram: the best two cuts

The records and how they are printed are in explained.py, the single models in explain_merges.py and explain_cuts.py.
Quadratic in the length of a piece: for looking at, not for corpora.
"""

from __future__ import annotations

from ownlm.errors import UsageError
from ownlm.tokenizer.encoder import surrogate_error
from ownlm.tokenizer.explain_merges import byte_piece
from ownlm.tokenizer.explain_pipeline import explain_pipeline
from ownlm.tokenizer.explain_sentencepiece import explain_sentencepiece
from ownlm.tokenizer.explained import Explanation
from ownlm.tokenizer.pipeline import PipelineTokenizer
from ownlm.tokenizer.pretokenize import split
from ownlm.tokenizer.sentencepiece import SentencePieceTokenizer
from ownlm.tokenizer.tokenizer import Tokenizer

LONGEST = 20_000  # characters


def explain(tokenizer: Tokenizer | PipelineTokenizer | SentencePieceTokenizer, text: str) -> Explanation:
    """Encode by the rule itself, noting every step.

    Raises DataError on a lone surrogate and where `encode` does, UsageError for more than LONGEST characters.
    """
    if len(text) > LONGEST:
        raise UsageError(
            "This text is too long to be explained.",
            f"{len(text):,} characters, at most {LONGEST:,}",
            "take the part that is of interest",
        )
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise surrogate_error(error) from None
    if isinstance(tokenizer, Tokenizer):
        found = _explain_bytes(tokenizer, text)
    elif isinstance(tokenizer, PipelineTokenizer):
        found = explain_pipeline(tokenizer, text)
    else:
        found = explain_sentencepiece(tokenizer, text)
    if found.ids != tokenizer.encode(text):
        raise AssertionError(
            f"the explanation of {text[:80]!r} gives other ids than encode: {found.ids[:20]}"
        )
    return found


def _explain_bytes(tokenizer: Tokenizer, text: str) -> Explanation:
    table = tokenizer.vocabulary.merge_table().tolist()
    ranks = {(left, right): (rank, result) for rank, (left, right, result) in enumerate(table)}
    byte_ids = tokenizer.vocabulary.byte_ids().tolist()
    pieces = [byte_piece(piece, ranks, byte_ids) for piece in split(text, tokenizer.family)]
    return Explanation(text, tokenizer.family, tuple(pieces))
