"""The model that an objective trains, of the size that a decoder's twelve numbers say.

Each keeps width, layers, heads and vocabulary, so runs of different objectives are of one class; an encoder-decoder
has that many layers on each side, and heads of width D / H as its families have them.
"""

from __future__ import annotations

from torch import nn

from ownlm.model.bart import bart as bart_config
from ownlm.model.config import ModelConfig
from ownlm.model.decoder import Decoder
from ownlm.model.diffusion_lm import DiffusionLM
from ownlm.model.diffusion_lm import diffusion as diffusion_config
from ownlm.model.encoder import Encoder, bert
from ownlm.model.encoder_decoder import EncoderDecoder
from ownlm.model.encoder_heads import ClassHead, EncoderHeads
from ownlm.model.multi_token import MultiToken
from ownlm.model.t5 import t5 as t5_config
from ownlm.train.objectives.specials import Specials

EXTRA_POSITIONS = 1
"""BART's source and target end with a token more than the window has."""


def decoder(config: ModelConfig, specials: Specials, seed: int) -> nn.Module:
    return Decoder(config, seed)


def multi_token(config: ModelConfig, specials: Specials, seed: int, num_heads: int = 4) -> nn.Module:
    return MultiToken(Decoder(config, seed), num_heads, seed + 1)


def encoder(config: ModelConfig, specials: Specials, seed: int) -> nn.Module:
    """BERT with the masked-token head."""
    return _bert(config, EncoderHeads(masked="gelu"), seed)


def encoder_of_pairs(config: ModelConfig, specials: Specials, seed: int) -> nn.Module:
    """The same with a pooler and two classes."""
    return _bert(config, EncoderHeads(masked="gelu", pooler="tanh", classes=ClassHead(2)), seed)


def _bert(config: ModelConfig, heads: EncoderHeads, seed: int) -> nn.Module:
    c = config
    made = bert(
        c.vocab_size,
        c.hidden_size,
        c.num_layers,
        c.num_heads,
        c.intermediate_size,
        c.max_positions,
        heads=heads,
    )
    return Encoder(made, seed)


def t5(config: ModelConfig, specials: Specials, seed: int) -> nn.Module:
    """T5 1.1, padding as the start token."""
    c, pad, end = config, specials.one("pad"), specials.one("end")
    made = t5_config(
        c.vocab_size, c.hidden_size, c.num_layers, c.num_heads, c.intermediate_size,
        head_dim=c.head_dim, activation="gelu_tanh", gated=True, tie_embeddings=c.tie_embeddings,
        pad_id=pad, eos_id=end,
    )  # fmt: skip
    return EncoderDecoder(made, seed)


def bart(config: ModelConfig, specials: Specials, seed: int) -> nn.Module:
    c, end = config, specials.one("end")
    side = (c.num_layers, c.num_heads, c.intermediate_size)
    made = bart_config(
        c.vocab_size, c.hidden_size, side, side, max_positions=c.max_positions + EXTRA_POSITIONS,
        pad_id=specials.one("pad"), start_id=end, eos_id=end,
    )  # fmt: skip
    return EncoderDecoder(made, seed)


def diffusion(config: ModelConfig, specials: Specials, seed: int) -> nn.Module:
    """The mask is one id more than the vocabulary has."""
    c = config
    made = diffusion_config(
        c.vocab_size, c.hidden_size, c.num_layers, c.num_heads, c.intermediate_size, c.max_positions
    )
    return DiffusionLM(made, seed)
