"""ELECTRA (Clark et al. 2020, arXiv:2003.10555): a small generator fills masks, a discriminator says which tokens are
not the original ones. Only the discriminator is kept afterwards.

Letters: B batch, T time, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ownlm.errors import UsageError
from ownlm.model.encoder import Encoder, EncoderConfig
from ownlm.model.mlm import IGNORED, masked_loss


@dataclass(frozen=True, slots=True)
class ElectraLoss:
    """Scalars in nats, and what the discriminator saw."""

    total: Tensor
    generator: Tensor
    discriminator: Tensor
    corrupted: Tensor  # int64 [B, T]
    replaced: Tensor  # bool [B, T]: where `corrupted` is not the original


class Electra(nn.Module):
    """Generator and discriminator over one set of embeddings (section 3.2: all embeddings are shared)."""

    def __init__(self, generator: EncoderConfig, discriminator: EncoderConfig, seed: int = 0) -> None:
        super().__init__()
        if generator.embedding != discriminator.embedding:
            raise UsageError("Generator and discriminator share their embeddings.",
                             f"{generator.embedding} and {discriminator.embedding}", "give both the same")  # fmt: skip
        if generator.heads.masked is None or discriminator.heads.replaced is None:
            raise UsageError("The generator guesses masked tokens, the discriminator replaced ones.",
                             f"{generator.heads}, {discriminator.heads}", "set heads.masked and heads.replaced")  # fmt: skip
        self.generator, self.discriminator = Encoder(generator, seed), Encoder(discriminator, seed + 1)
        ours, theirs = self.generator.embedding, self.discriminator.embedding
        ours.word, ours.positions, ours.types, ours.norm = (
            theirs.word,
            theirs.positions,
            theirs.types,
            theirs.norm,
        )

    def forward(self, ids: Tensor, mask: Tensor | None = None) -> Tensor:
        """ids [B, T] -> logits [B, T]: was this token replaced?"""
        found: Tensor = self.discriminator(ids, mask)
        return found

    def loss(
        self,
        inputs: Tensor,
        labels: Tensor,
        random: torch.Generator,
        mask: Tensor | None = None,
        weight: float = 50.0,
    ) -> ElectraLoss:
        """inputs and labels [B, T] as of `mlm.mask_tokens` -> generator loss + weight * discriminator loss.

        The generator's samples carry no gradient (section 2); a sample that hits the original counts as original.
        mask [B, T], nonzero for text: padding is not judged.
        """
        logits = self.generator(inputs, mask)  # [B,T,V]
        original = torch.where(labels == IGNORED, inputs, labels)
        corrupted = torch.where(labels == IGNORED, inputs, sample(logits.detach(), random))
        replaced = corrupted != original
        judged = self.discriminator(corrupted, mask)  # [B,T]
        each = F.binary_cross_entropy_with_logits(judged, replaced.to(judged.dtype), reduction="none")
        text = torch.ones_like(each) if mask is None else mask.to(each.dtype)
        discriminator = (each * text).sum() / text.sum().clamp(min=1)
        generator = masked_loss(logits, labels)
        return ElectraLoss(generator + weight * discriminator, generator, discriminator, corrupted, replaced)

    def num_parameters(self) -> int:
        """Both models, the shared embedding once (the projections to each width are not shared)."""
        embedding = self.discriminator.config.embedding
        return (
            self.generator.num_parameters()
            + self.discriminator.num_parameters()
            - embedding.num_parameters(embedding.width)
        )


def sample(logits: Tensor, random: torch.Generator) -> Tensor:
    """One id per token from softmax(logits [B, T, V]) -> [B, T]."""
    B, T, V = logits.shape
    return torch.multinomial(logits.reshape(B * T, V).softmax(-1), 1, generator=random).view(B, T)
