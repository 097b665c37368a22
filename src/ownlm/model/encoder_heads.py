"""What an encoder's hidden states are asked: which token was masked, which was replaced, which class the text is.

Letters: B batch, T time, D model width, W embedding width, V vocabulary, N classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ownlm.errors import UsageError
from ownlm.model.encoder_embedding import EncoderEmbedding
from ownlm.model.layers import ACTIVATIONS, Norm


@dataclass(frozen=True, slots=True)
class ClassHead:
    """Class logits from the pooled vector: next-sentence prediction (2 classes), or any label."""

    num_classes: int


@dataclass(frozen=True, slots=True)
class EncoderHeads:
    """Which heads a model has; the default has none and gives hidden states."""

    masked: str | None = None
    """Activation of the masked-token head; None: no such head."""
    replaced: str | None = None
    """Activation of the replaced-token head (ELECTRA's discriminator); None: no such head."""
    pooler: str | None = None
    """"tanh" (BERT) or another activation over a dense layer on the first token; None: no pooler."""
    classes: ClassHead | None = None
    norm_eps: float = 1e-12
    """Of the masked-token head's norm."""

    def __post_init__(self) -> None:
        for name in (self.masked, self.replaced, None if self.pooler == "tanh" else self.pooler):
            if name is not None and name not in ACTIVATIONS:
                raise UsageError("This activation is not known.", repr(name), f"use {', '.join(ACTIVATIONS)}")
        if self.classes is not None and (self.pooler is None or self.classes.num_classes < 1):
            raise UsageError(
                "Class logits need a pooler and at least one class.", str(self), 'set pooler="tanh"'
            )

    def build(
        self, width: int, embedding: EncoderEmbedding
    ) -> tuple[nn.Module | None, nn.Module | None, nn.Module | None, nn.Module | None]:
        """The masked-token head, the replaced-token head, the pooler, the class layer."""
        masked = replaced = pooler = classes = None
        if self.masked is not None:
            masked = MaskedHead(width, embedding.width, embedding.vocab_size, self.masked, self.norm_eps)
        if self.replaced is not None:
            replaced = ReplacedHead(width, self.replaced)
        if self.pooler is not None:
            pooler = Pooler(width, self.pooler)
        if self.classes is not None:
            classes = nn.Linear(width, self.classes.num_classes)
        return masked, replaced, pooler, classes

    def num_parameters(self, width: int, embedding_width: int, vocab_size: int) -> int:
        D, W = width, embedding_width
        found = 0 if self.masked is None else (D + 1) * W + 2 * W + vocab_size
        found += 0 if self.replaced is None else (D + 1) * (D + 1)
        found += 0 if self.pooler is None else (D + 1) * D
        return found + (0 if self.classes is None else (D + 1) * self.classes.num_classes)

    def forward_flops(self, width: int, embedding_width: int, vocab_size: int) -> int:
        """Per token; the pooler works once per text and is left out."""
        found = 0 if self.masked is None else 2 * embedding_width * (width + vocab_size)
        return found + (0 if self.replaced is None else 2 * width * (width + 1))


class MaskedHead(nn.Module):
    """norm(activation(dense(x))) against the word embeddings, and a bias per word."""

    def __init__(
        self, width: int, embedding_width: int, vocab_size: int, activation: str, eps: float
    ) -> None:
        super().__init__()
        self.dense = nn.Linear(width, embedding_width)
        self.norm = Norm("layer", eps, bias=True).build(embedding_width)
        self.bias = nn.Parameter(torch.zeros(vocab_size))
        self.activation: Any = ACTIVATIONS[activation]

    def forward(self, hidden: Tensor, words: Tensor) -> Tensor:
        """hidden [B, T, D], words [V, W] -> logits [B, T, V]."""
        return F.linear(self.norm(self.activation(self.dense(hidden))), words, self.bias)


class ReplacedHead(nn.Module):
    """Was this token replaced? One logit per token (ELECTRA, arXiv:2003.10555)."""

    def __init__(self, width: int, activation: str) -> None:
        super().__init__()
        self.dense, self.score = nn.Linear(width, width), nn.Linear(width, 1)
        self.activation: Any = ACTIVATIONS[activation]

    def forward(self, hidden: Tensor) -> Tensor:
        """hidden [B, T, D] -> [B, T]."""
        found: Tensor = self.score(self.activation(self.dense(hidden))).squeeze(-1)
        return found


class Pooler(nn.Module):
    """One vector for the text: a dense layer and an activation on the first token's."""

    def __init__(self, width: int, activation: str) -> None:
        super().__init__()
        self.dense = nn.Linear(width, width)
        self.activation: Any = torch.tanh if activation == "tanh" else ACTIVATIONS[activation]

    def forward(self, first: Tensor) -> Tensor:
        """[B, D] -> [B, D]."""
        found: Tensor = self.activation(self.dense(first))
        return found
