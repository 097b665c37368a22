"""A language model that unmasks: tokens vanish into one absorbing state, a bidirectional network puts them back.

The network guesses every masked token at once from those that stand (SUBS parameterisation of MDLM, Sahoo et al.
2024, arXiv:2406.07524: the mask itself is never guessed, standing tokens stay). It is not told the time: in an
absorbing process the number of masks says it (LLaDA, Nie et al. 2025, arXiv:2502.09992). Losses are in
diffusion_loss.py, generation in diffusion_sampling.py.

Letters: B batch, T time, D model width, V vocabulary (without the mask).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ownlm.errors import UsageError
from ownlm.model.absolute import Learned
from ownlm.model.attention.cross import Heads, padding_mask
from ownlm.model.layers import FeedForward, Norm
from ownlm.model.stack import EncoderStack, Stack


@dataclass(frozen=True, slots=True)
class DiffusionConfig:
    """Everything that `DiffusionLM` needs to know."""

    vocab_size: int
    """V: ids 0..V-1 are text, id V is the mask."""
    hidden_size: int
    stack: Stack
    max_positions: int
    initializer_range: float = 0.02

    @property
    def mask_id(self) -> int:
        return self.vocab_size

    def num_parameters(self) -> int:
        D = self.hidden_size
        return (2 * self.vocab_size + 1 + self.max_positions) * D + self.stack.num_parameters(D)

    def flops_per_token(self, context: int, *, training: bool = True) -> int:
        forward = self.stack.forward_flops(self.hidden_size, context) + 2 * self.hidden_size * self.vocab_size
        return 3 * forward if training else forward


class DiffusionLM(nn.Module):
    """Masked tokens in, a distribution for each out; float32 weights drawn from `seed`."""

    def __init__(self, config: DiffusionConfig, seed: int = 0) -> None:
        super().__init__()
        self.config, D = config, config.hidden_size
        self.embedding = nn.Embedding(config.vocab_size + 1, D)
        self.positions = Learned(config.max_positions).build(D)
        self.stack = EncoderStack(config.stack, D)
        self.output = nn.Linear(D, config.vocab_size, bias=False)
        if not self.embedding.weight.is_meta:
            self.initialize(seed)

    @torch.no_grad()
    def initialize(self, seed: int) -> None:
        """Normal(0, initializer_range) for every matrix; norms and biases as made."""
        generator = torch.Generator(device=self.embedding.weight.device).manual_seed(seed)
        for name, weight in self.named_parameters():
            if weight.ndim > 1:
                weight.normal_(0.0, self.config.initializer_range, generator=generator)
            elif name.endswith(".bias"):
                weight.zero_()

    def forward(self, ids: Tensor, cache: None = None, mask: Tensor | None = None) -> Tensor:
        """ids [B, T] in 0..V, V for masked -> logits [B, T, V] of the token at the same place (not of the next).

        mask [B, T]: zero for padding. There is no cache: every token sees the later ones.
        """
        if cache is not None:
            raise UsageError("A diffusion model has no cache.", type(cache).__name__, "leave it out")
        positions = torch.arange(ids.shape[1], device=ids.device)[None]
        x = self.embedding(ids) + self.positions(positions)  # [B,T,D]
        logits: Tensor = self.output(self.stack(x, padding_mask(mask, ids), positions))
        return logits

    def num_parameters(self) -> int:
        return self.config.num_parameters()

    def flops_per_token(self, context: int) -> int:
        """Training operations per token of a text of this length."""
        return self.config.flops_per_token(context)

    def cache_bytes_per_token(self, dtype_bytes: int = 4) -> int:
        return 0


def diffusion(
    vocab_size: int,
    hidden_size: int,
    num_layers: int,
    num_heads: int,
    intermediate_size: int,
    max_positions: int,
) -> DiffusionConfig:
    """Pre-norm RMS layers with SwiGLU, as LLaDA, but with trained absolute positions instead of rotary ones."""
    if hidden_size % num_heads:
        raise UsageError(
            "hidden_size must be a multiple of num_heads.", f"{hidden_size}, {num_heads}", "change one"
        )
    attention = Heads(num_heads, hidden_size // num_heads, bias=False)
    stack = Stack(
        num_layers, attention, FeedForward(intermediate_size), Norm(), pre_norm=True, final_norm=True
    )
    return DiffusionConfig(vocab_size, hidden_size, stack, max_positions)
