"""The bidirectional encoder: ids in, one vector per token out; with heads, logits (BERT, arXiv:1810.04805).

      ids ── word + position + type ── norm ── (projection) ── stack ── hidden [B,T,D] ──┬─ masked-token head [B,T,V]
                                                                                         ├─ replaced-token head [B,T]
                                                                                         └─ pooler ── classes [B,N]

Variants are other parts, not other code: RoBERTa counts positions past its padding id, ALBERT embeds narrowly and
shares layers (arXiv:1909.11942), ELECTRA has the replaced-token head (electra.py), DeBERTa another attention and
a mask decoder (deberta.py).

Letters: B batch, T time, D model width, W embedding width, V vocabulary, N classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ownlm.errors import UsageError
from ownlm.model.absolute import Learned
from ownlm.model.attention.cross import Heads, padding_mask
from ownlm.model.deberta import MaskDecoder, MaskDecoderModule
from ownlm.model.encoder_embedding import Embedding, EncoderEmbedding
from ownlm.model.encoder_heads import ClassHead, EncoderHeads
from ownlm.model.layers import FeedForward, Norm
from ownlm.model.stack import EncoderStack, Stack


@dataclass(frozen=True, slots=True)
class EncoderConfig:
    """Everything that `Encoder` needs to know."""

    embedding: EncoderEmbedding
    hidden_size: int
    stack: Stack
    heads: EncoderHeads = EncoderHeads()
    mask_decoder: MaskDecoder | None = None
    """DeBERTa's last layers with absolute positions; the masked-token head reads them."""
    initializer_range: float = 0.02
    family: str = ""

    def num_parameters(self) -> int:
        D, E = self.hidden_size, self.embedding
        found = (
            E.num_parameters(D)
            + self.stack.num_parameters(D)
            + self.heads.num_parameters(D, E.width, E.vocab_size)
        )
        return found + (0 if self.mask_decoder is None else self.mask_decoder.num_parameters(D))

    def flops_per_token(self, context: int, *, training: bool = True) -> int:
        D, E = self.hidden_size, self.embedding
        forward = self.stack.forward_flops(D, context) + (2 * D * E.width if E.projects(D) else 0)
        forward += self.heads.forward_flops(D, E.width, E.vocab_size)
        return 3 * forward if training else forward


class Encoder(nn.Module):
    """An encoder with the heads that its config names; float32 weights drawn from `seed`."""

    def __init__(self, config: EncoderConfig, seed: int = 0) -> None:
        super().__init__()
        self.config, D = config, config.hidden_size
        self.embedding = Embedding(config.embedding, D)
        self.stack = EncoderStack(config.stack, D)
        self.mask_decoder = None if config.mask_decoder is None else MaskDecoderModule(config.mask_decoder, D)
        self.masked, self.replaced, self.pooler, self.classes = config.heads.build(D, config.embedding)
        if not self.embedding.word.weight.is_meta:
            self.initialize(seed)

    @torch.no_grad()
    def initialize(self, seed: int) -> None:
        """Normal(0, initializer_range) for every matrix; norms and biases as made (BERT)."""
        generator = torch.Generator(device=self.embedding.word.weight.device).manual_seed(seed)
        for name, weight in self.named_parameters():
            if weight.ndim > 1:
                weight.normal_(0.0, self.config.initializer_range, generator=generator)
            elif name.endswith(".bias"):
                weight.zero_()

    def forward(self, ids: Tensor, mask: Tensor | None = None, types: Tensor | None = None) -> Tensor:
        """ids [B, T] int64 -> the output of the first of these that the model has: masked-token logits [B, T, V],
        replaced-token logits [B, T], class logits [B, N], hidden states [B, T, D]. `outputs` gives all.

        mask [B, T]: nonzero for text, zero for padding; None: all is text. types [B, T]: segment of each token.
        """
        found = self.outputs(ids, mask, types)
        for name in ("masked", "replaced", "classes"):
            if name in found:
                return found[name]
        return found["hidden"]

    def outputs(
        self, ids: Tensor, mask: Tensor | None = None, types: Tensor | None = None
    ) -> dict[str, Tensor]:
        """`hidden` [B, T, D], and what the heads make of it: `masked`, `replaced`, `pooled` [B, D], `classes`."""
        hidden, decoded = self._hidden(ids, mask, types)
        found = {"hidden": hidden}
        if self.masked is not None:
            found["masked"] = self.masked(decoded, self.embedding.word.weight)
        if self.replaced is not None:
            found["replaced"] = self.replaced(hidden)
        if self.pooler is not None:
            if not ids.shape[1]:
                raise UsageError(
                    "An empty text has no first token to pool.", f"ids {list(ids.shape)}", "give text"
                )
            found["pooled"] = self.pooler(hidden[:, 0])
            if self.classes is not None:
                found["classes"] = self.classes(found["pooled"])
        return found

    def hidden(self, ids: Tensor, mask: Tensor | None = None, types: Tensor | None = None) -> Tensor:
        """ids [B, T] -> the last layer's output [B, T, D]."""
        return self._hidden(ids, mask, types)[0]

    def _hidden(self, ids: Tensor, mask: Tensor | None, types: Tensor | None) -> tuple[Tensor, Tensor]:
        """The last layer's output, and that of the mask decoder, which is the same where there is none."""
        x, allowed = self.embedding(ids, types), padding_mask(mask, ids)
        positions = torch.arange(ids.shape[1], device=ids.device)[None]
        if self.mask_decoder is None:
            hidden = self.stack(x, allowed, positions)
            return hidden, hidden
        return self.mask_decoder(self.stack, x, allowed, positions)  # type: ignore[no-any-return]

    def num_parameters(self) -> int:
        return self.config.num_parameters()

    def flops_per_token(self, context: int) -> int:
        """Training operations per token of a text of this length."""
        return self.config.flops_per_token(context)

    def cache_bytes_per_token(self, dtype_bytes: int = 4) -> int:
        """0: every token sees the later ones, so nothing can be kept between texts."""
        return 0


def bert(
    vocab_size: int,
    hidden_size: int,
    num_layers: int,
    num_heads: int,
    intermediate_size: int,
    max_positions: int = 512,
    *,
    heads: EncoderHeads | None = None,
    embedding_size: int | None = None,
    num_types: int = 2,
    activation: str = "gelu",
    norm_eps: float = 1e-12,
    num_distinct: int | None = None,
    padding_id: int | None = None,
    always_project: bool = False,
    initializer_range: float = 0.02,
    family: str = "bert",
) -> EncoderConfig:
    """BERT. `num_distinct` and `embedding_size` make it ALBERT, `padding_id` RoBERTa; all but DeBERTa are this."""
    if hidden_size % num_heads:
        raise UsageError(
            "hidden_size must be a multiple of num_heads.", f"{hidden_size}, {num_heads}", "change one"
        )
    norm = Norm("layer", norm_eps, bias=True)
    stack = Stack(
        num_layers,
        Heads(num_heads, hidden_size // num_heads),
        FeedForward(intermediate_size, activation, gated=False, bias=True),
        norm,
        num_distinct=num_distinct,
    )
    table = Learned(max_positions, 0 if padding_id is None else padding_id + 1)
    width = hidden_size if embedding_size is None else embedding_size
    heads = heads or EncoderHeads(masked=activation, norm_eps=norm_eps)
    embedding = EncoderEmbedding(vocab_size, width, table, num_types, norm, padding_id, always_project)
    return EncoderConfig(
        embedding, hidden_size, stack, heads, initializer_range=initializer_range, family=family
    )


def classifier(num_classes: int, pooler: str = "tanh") -> EncoderHeads:
    """The heads of a sequence classifier (2 classes: next-sentence prediction without masked tokens)."""
    return EncoderHeads(pooler=pooler, classes=ClassHead(num_classes))
