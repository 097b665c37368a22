"""BART (Lewis et al. 2019, arXiv:1910.13461) as an encoder-decoder: BERT's post-norm layers on both sides, trained
positions that start at row 2 of their table, a norm after the embeddings, a bias on the logits that is not trained
in the published models (it forbids or forces words) but is a parameter here."""

from __future__ import annotations

from ownlm.errors import UsageError
from ownlm.model.absolute import Learned
from ownlm.model.attention.cross import Heads
from ownlm.model.encoder_decoder import EncoderDecoderConfig
from ownlm.model.layers import FeedForward, Norm
from ownlm.model.stack import Stack

POSITION_OFFSET = 2


def bart(
    vocab_size: int,
    hidden_size: int,
    encoder: tuple[int, int, int],
    decoder: tuple[int, int, int],
    *,
    max_positions: int = 1024,
    activation: str = "gelu",
    scale_embedding: bool = False,
    pad_id: int = 1,
    start_id: int = 2,
    eos_id: int | None = 2,
) -> EncoderDecoderConfig:
    """encoder, decoder: (layers, heads, feed-forward width) of each side."""
    norm = Norm("layer", 1e-5, bias=True)

    def side(layers: int, heads: int, width: int) -> Stack:
        if hidden_size % heads:
            raise UsageError(
                "hidden_size must be a multiple of the heads.", f"{hidden_size}, {heads}", "change one"
            )
        ffn = FeedForward(width, activation, gated=False, bias=True)
        return Stack(layers, Heads(heads, hidden_size // heads), ffn, norm)

    return EncoderDecoderConfig(
        vocab_size,
        hidden_size,
        side(*encoder),
        side(*decoder),
        Learned(max_positions, POSITION_OFFSET),
        norm,
        embedding_scale=hidden_size**0.5 if scale_embedding else 1.0,
        output_bias=True,
        pad_id=pad_id,
        start_id=start_id,
        eos_id=eos_id,
        family="bart",
    )
