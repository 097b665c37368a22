"""A decoder that guesses several tokens ahead: extra heads on its last hidden state, the decoder itself untouched.

      ids ── decoder ── hidden [B,T,D] ──┬───────────────── output layer ── token t+1
                                         ├─ block ── norm ─ output layer ── token t+2
                                         └─ block ── norm ─ output layer ── token t+3

Gloeckle et al. 2024, arXiv:2404.19737: N heads of one transformer layer each share trunk and output layer. Two
deviations: the first head is the decoder's own last layer, so that without the others it is an ordinary model, and
the others read its normed output. Letters: B batch, T time, D model width, V vocabulary, N heads.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ownlm.errors import UsageError
from ownlm.model.architecture import Architecture
from ownlm.model.decoder import Decoder
from ownlm.model.layers import Norm
from ownlm.model.place import DecodeCache, Place, causal_mask
from ownlm.model.position import RotaryTable


class Heads(nn.Module):
    """Heads 2 .. N: a layer like the decoder's last, and a norm, each."""

    def __init__(self, plan: Architecture, num_heads: int) -> None:
        super().__init__()
        layer, norm = plan.layers[-1], plan.norm or Norm()
        self.blocks = nn.ModuleList(layer.build(plan.hidden_size, n) for n in range(num_heads - 1))
        self.norms = nn.ModuleList(norm.build(plan.hidden_size) for _ in range(num_heads - 1))


class Meter:
    """What each head lost since it was last read: for whoever reports it, no part of what is computed."""

    def __init__(self, num_heads: int) -> None:
        self.nats = torch.zeros(num_heads, dtype=torch.float64)
        self.tokens = torch.zeros(num_heads, dtype=torch.int64)

    def add(self, nats: Tensor, tokens: Tensor) -> None:
        """nats and tokens [N]: sums over what was trained on."""
        self.nats = self.nats + nats.double().cpu()
        self.tokens = self.tokens + tokens.cpu()

    def read(self) -> list[float]:
        """Nats per token of each head since the last reading, NaN where there was nothing; begins anew."""
        found: list[float] = (self.nats / self.tokens).tolist()
        self.nats, self.tokens = torch.zeros_like(self.nats), torch.zeros_like(self.tokens)
        return found


class MultiToken(nn.Module):
    """`trunk` and N - 1 further heads; their weights are drawn from `seed` as a decoder's are."""

    def __init__(self, trunk: Decoder, num_heads: int = 4, seed: int = 0) -> None:
        """num_heads: N, the decoder's own included. Raises UsageError below 2, or where the last layer attends
        otherwise than to all earlier tokens."""
        super().__init__()
        mixer: Any = trunk.architecture.layers[-1].mixer
        if num_heads < 2 or getattr(mixer, "window", None) is not None or not mixer.cache_bytes_per_token():
            raise UsageError("These heads cannot be built.",
                             f"{num_heads} heads, the last layer is {type(mixer).__name__} of window {getattr(mixer, 'window', None)}",
                             "give at least 2 heads, and a decoder whose last layer attends to all tokens before")  # fmt: skip
        self.trunk, self.num_heads, self.meter = trunk, num_heads, Meter(num_heads)
        self.heads = Heads(trunk.architecture, num_heads)
        rope = getattr(mixer, "rope", None)
        plan = trunk.architecture
        self._rope = None if rope is None else RotaryTable(rope, mixer.head_dim, plan.max_positions)
        if not trunk.embedding.weight.is_meta:
            self.initialize(seed)

    @torch.no_grad()
    def initialize(self, seed: int) -> None:
        """The heads alone: Normal(0, initializer_range); what writes into the residual stream is scaled by
        1/sqrt(2 (layers + 1))."""
        plan = self.trunk.architecture
        generator = torch.Generator(device=self.trunk.embedding.weight.device).manual_seed(seed)
        residual = (2 * (plan.num_layers + 1)) ** -0.5
        for name, weight in self.heads.named_parameters():
            if weight.ndim > 1:
                writes = name.endswith(("mixer.o.weight", "down.weight"))
                weight.normal_(
                    0.0, plan.initializer_range * (residual if writes else 1.0), generator=generator
                )
            elif name.endswith(".bias"):
                weight.zero_()

    @property
    def architecture(self) -> Architecture:
        """Of the trunk."""
        return self.trunk.architecture

    @property
    def blocks(self) -> list[nn.Module]:
        """Every layer, the trunk's and the heads': what may be compiled."""
        return [*self.trunk.blocks, *self.heads.blocks]

    def forward(self, ids: Tensor, cache: Any = None, positions: Tensor | None = None) -> Tensor:
        """The trunk's: ids [B, T] -> logits of the next token [B, T, V]."""
        logits: Tensor = self.trunk(ids, cache, positions)
        return logits

    def hidden(self, ids: Tensor, cache: Any = None, positions: Tensor | None = None) -> Tensor:
        """The trunk's: ids [B, T] -> [B, T, D], which is also what the first head gives."""
        return self.trunk.hidden(ids, cache, positions)

    def place(self, num_tokens: int, device: torch.device, cache: DecodeCache | None = None) -> Place:
        """Where the tokens stand, for all further heads alike. A cache is moved on by `propose` alone."""
        if cache is None:
            positions = torch.arange(num_tokens, device=device)[None]
            keys, mask = positions, causal_mask(num_tokens, device)
        else:
            positions = cache.begin(num_tokens, device)
            keys, mask = cache.keys(), cache.mask()
        turns = (None, None) if self._rope is None else self._rope(positions)
        return Place(positions, keys, mask, *turns)

    def head(self, number: int, hidden: Tensor, place: Place, cache: DecodeCache | None = None) -> Tensor:
        """hidden [B, T, D] of the trunk -> [B, T, D], of which the output layer makes token t + number, 1 .. N."""
        if number == 1:
            return hidden
        found: Tensor = self.heads.norms[number - 2](self.heads.blocks[number - 2](hidden, place, cache))
        return found

    @torch.no_grad()
    def propose(self, hidden: Tensor, cache: DecodeCache | None = None) -> Tensor:
        """hidden [B, T, D] of the trunk -> the likeliest N tokens after the last one, [B, N], for a verifier to check.

        With a cache (`new_cache`) hidden holds the tokens since the last call only."""
        place = self.place(hidden.shape[1], hidden.device, cache)
        found = []
        for number in range(1, self.num_heads + 1):
            last = self.head(number, hidden, place, cache)[:, -1]  # [B,D]
            found.append(self.trunk.logits(last).argmax(dim=-1))
        if cache is not None:
            cache.end()
        return torch.stack(found, dim=1)

    def new_cache(self) -> DecodeCache:
        """An empty cache of the further heads."""
        return DecodeCache((None,) * (self.num_heads - 1))

    def num_parameters(self) -> int:
        return self.trunk.num_parameters() + sum(weight.numel() for weight in self.heads.parameters())

    def flops_per_token(self, context: int) -> int:
        """Training operations per token at this context length: the trunk, and a layer and the output for each head."""
        plan = self.trunk.architecture
        layer = plan.layers[-1]
        active = layer.mixer.active_parameters(plan.hidden_size) + plan.vocab_size * plan.hidden_size
        active += 0 if layer.feed_forward is None else layer.feed_forward.active_parameters(plan.hidden_size)
        each = 3 * (2 * active + layer.mixer.mixing_flops(context))
        return self.trunk.flops_per_token(context) + (self.num_heads - 1) * each


@torch.no_grad()
def decode_with_drafts(model: MultiToken, ids: Tensor, num_tokens: int) -> tuple[Tensor, int]:
    """Greedy text after ids [1, T]: (num_tokens tokens [1, num_tokens], forwards of the trunk).

    Each forward checks the N - 1 tokens drafted before and takes those that the trunk itself would have written, so the
    text is exactly the trunk's own greedy one (Stern et al. 2018, arXiv:1811.03115). The readable reference: it reads
    the whole text at each forward.
    """
    text, draft, forwards = ids, ids[:, :0], 0
    while text.shape[1] < ids.shape[1] + num_tokens:
        hidden = model.hidden(torch.cat((text, draft), dim=1))
        forwards += 1
        own = F.linear(hidden, _output(model.trunk)).argmax(dim=-1)[:, text.shape[1] - 1 :]  # [1, draft + 1]
        agreed = int((own[:, :-1] == draft).int().cumprod(dim=1).sum())
        accepted = text.shape[1] + agreed
        proposed = model.propose(hidden[:, :accepted])
        text = torch.cat((text, own[:, : agreed + 1]), dim=1)
        draft = proposed[:, 1:]
    return text[:, ids.shape[1] : ids.shape[1] + num_tokens], forwards


def _output(trunk: Decoder) -> Tensor:
    return trunk.embedding.weight if trunk.output is None else trunk.output.weight
