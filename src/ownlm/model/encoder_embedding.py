"""What stands before the first layer of an encoder: word, position and type vectors, a norm, a projection.

Letters: B batch, T time, D model width, W embedding width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ownlm.errors import UsageError
from ownlm.model.absolute import Learned
from ownlm.model.layers import Norm


@dataclass(frozen=True, slots=True)
class EncoderEmbedding:
    """What stands before the first layer."""

    vocab_size: int
    width: int
    """W; another than the model's D is projected to it (ALBERT, ELECTRA)."""
    positions: Learned | None
    """None: the layers know distances themselves (DeBERTa)."""
    num_types: int = 2
    """Segments; 0: none."""
    norm: Norm = Norm("layer", 1e-12, bias=True)
    padding_id: int | None = None
    """Positions count only ids other than this one, which all stand at -1 (RoBERTa); None: all ids count."""
    always_project: bool = False
    """Project to D even where W = D (ALBERT)."""

    def projects(self, hidden_size: int) -> bool:
        return self.always_project or self.width != hidden_size

    def num_parameters(self, hidden_size: int) -> int:
        W = self.width
        found = (self.vocab_size + self.num_types) * W + self.norm.num_parameters(W)
        found += 0 if self.positions is None else self.positions.num_parameters(W)
        return found + ((W + 1) * hidden_size if self.projects(hidden_size) else 0)


class Embedding(nn.Module):
    def __init__(self, spec: EncoderEmbedding, hidden_size: int) -> None:
        super().__init__()
        self.spec, W = spec, spec.width
        self.word = nn.Embedding(spec.vocab_size, W)
        self.positions = None if spec.positions is None else spec.positions.build(W)
        self.types = nn.Embedding(spec.num_types, W) if spec.num_types else None
        self.norm = spec.norm.build(W)
        self.project = nn.Linear(W, hidden_size) if spec.projects(hidden_size) else None

    def forward(self, ids: Tensor, types: Tensor | None = None) -> Tensor:
        """ids [B, T], types [B, T] (segment of each token, None: 0) -> [B, T, D]."""
        x = self.word(ids)  # [B,T,W]
        if self.positions is not None:
            x = x + self.positions(self.where(ids))
        if self.types is not None:
            x = x + self.types(torch.zeros_like(ids) if types is None else types)
        elif types is not None:
            raise UsageError("This encoder has no segments.", f"types {list(types.shape)}", "leave types out")
        x = self.norm(x)
        return x if self.project is None else self.project(x)  # type: ignore[no-any-return]

    def where(self, ids: Tensor) -> Tensor:
        """Position of each token, int64 [1 or B, T]."""
        if self.spec.padding_id is None:
            return torch.arange(ids.shape[1], device=ids.device)[None]
        text = ids != self.spec.padding_id
        return torch.where(text, text.cumsum(dim=1) - 1, -1)
