"""RWKV-4: attention whose weights decay with distance, per channel, computed as a recurrence; and its channel mix.

Peng et al. 2023, "RWKV: Reinventing RNNs for the Transformer Era", arXiv:2305.13048, equations 11 to 18:

    wkv_t = (sum_{i<t} exp(k_i - (t-1-i) w) v_i + exp(u + k_t) v_t) / (the same sum without v)
    time mix      o(sigmoid(r) * wkv)                   r, k, v of  mix * x_t + (1 - mix) * x_{t-1}  (token shift)
    channel mix   sigmoid(gate) * down(relu(up)^2)      likewise

wkv is a softmax over the past. Numerator and denominator are carried divided by exp(m), m the largest exponent so far
(appendix D), so that no k overflows. Within a chunk all is computed at once, between chunks (num, den, m) travel.

A token shift looks back, so the channel mix is a mixer here: an RWKV layer is two `Layer`s, TimeMix and ChannelMix,
each without feed-forward.

Letters: B batch, T time, c tokens of a chunk, D model width, A width of the time mix, F width of the channel mix.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ownlm.errors import UsageError
from ownlm.model.hooks import Tapped
from ownlm.model.place import Cache, Place
from ownlm.model.recurrent.convolution import shifted
from ownlm.model.recurrent.state import accurate, check_sizes, keep, kept

Sums = tuple[Tensor, Tensor, Tensor]
"""Numerator, denominator (both divided by exp(m)) and m, each [B, A]."""


@dataclass(frozen=True, slots=True)
class TimeMix:
    """What a time mix of RWKV-4 is."""

    width: int
    """A; the model width in the released models."""
    depth: float = 0.5
    """Where the layer stands, 0 first to 1 last: early layers start with shorter memories (appendix E)."""
    chunk: int = 16
    """Tokens computed at once; any value gives the same numbers. Memory grows with it: T * chunk * A."""

    def __post_init__(self) -> None:
        check_sizes(self, "width", "chunk")
        check_depth(self.depth)

    def build(self, width: int, layer: int) -> nn.Module:
        return TimeMixLayer(self, width, layer)

    def num_parameters(self, width: int) -> int:
        return self.active_parameters(width) + 2 * self.width + 3 * width

    def active_parameters(self, width: int) -> int:
        return 4 * width * self.width

    def mixing_flops(self, context: int) -> int:
        """Per token, whatever the context: two running sums, read with the token's own term, and their quotient."""
        return 15 * self.width

    def cache_bytes_per_token(self, dtype_bytes: int = 4) -> int:
        return 0

    def state_bytes(self, width: int, dtype_bytes: int = 4) -> int:
        """Of one sequence, however long: three sums in float32 and the last token."""
        return 3 * 4 * self.width + dtype_bytes * width


class TimeMixLayer(Tapped):
    POINTS: ClassVar = {"key": "B T A", "receptance": "B T A", "wkv": "B T A"}

    def __init__(self, spec: TimeMix, width: int, layer: int) -> None:
        super().__init__()
        self.spec, self.layer = spec, layer
        A = spec.width
        self.log_rate = nn.Parameter(-5 + 8 * ramp(A) ** (0.7 + 1.3 * spec.depth))  # [A]: w = exp(log_rate)
        self.first = nn.Parameter(0.5 * ((torch.arange(A) + 1) % 3 - 1) + torch.tensor(0.3).log())  # [A], u
        late = 1.0 - spec.depth
        self.mix_k = nn.Parameter(ramp(width) ** late)  # [D]
        self.mix_v = nn.Parameter(ramp(width) ** late + 0.3 * spec.depth)
        self.mix_r = nn.Parameter(ramp(width) ** (0.5 * late))
        self.k = nn.Linear(width, A, bias=False)
        self.v = nn.Linear(width, A, bias=False)
        self.r = nn.Linear(width, A, bias=False)
        self.o = nn.Linear(A, width, bias=False)

    def forward(self, x: Tensor, place: Place, cache: Cache | None = None) -> Tensor:
        """x [B, T, D] -> [B, T, D]."""
        sums, last = kept(cache, self.layer) or (None, None)
        before, last = shifted(x, last)
        k = self.tap("key", accurate(self.k(mixed(x, before, self.mix_k))))  # [B,T,A]
        v = accurate(self.v(mixed(x, before, self.mix_v)))
        r = self.tap("receptance", self.r(mixed(x, before, self.mix_r)).sigmoid())
        rate = accurate(self.log_rate).clamp_max(20.0).exp()  # beyond, nothing is left after one token anyway
        averaged, sums = wkv(k, v, rate, accurate(self.first), sums, self.spec.chunk)
        keep(cache, self.layer, (sums, last))
        out: Tensor = self.o(r * self.tap("wkv", averaged).to(x.dtype))
        return out


@dataclass(frozen=True, slots=True)
class ChannelMix:
    """What a channel mix of RWKV is."""

    width: int | None = None
    """F; None: four times the model width."""
    gated: bool = True
    """sigmoid(gate) * ...; False: RWKV-7."""
    depth: float = 0.5
    """Where the layer stands, 0 first to 1 last; for the first values of the token shift."""

    def __post_init__(self) -> None:
        check_sizes(self, "width")
        check_depth(self.depth)

    def build(self, width: int, layer: int) -> nn.Module:
        return ChannelMixLayer(self, width, layer)

    def num_parameters(self, width: int) -> int:
        return self.active_parameters(width) + (2 if self.gated else 1) * width

    def active_parameters(self, width: int) -> int:
        return 2 * width * (self.width or 4 * width) + (width * width if self.gated else 0)

    def mixing_flops(self, context: int) -> int:
        return 0

    def cache_bytes_per_token(self, dtype_bytes: int = 4) -> int:
        return 0

    def state_bytes(self, width: int, dtype_bytes: int = 4) -> int:
        """Of one sequence: the last token."""
        return dtype_bytes * width


class ChannelMixLayer(Tapped):
    POINTS: ClassVar = {"hidden": "B T F"}

    def __init__(self, spec: ChannelMix, width: int, layer: int) -> None:
        super().__init__()
        self.spec, self.layer = spec, layer
        hidden = spec.width or 4 * width
        self.mix_up = nn.Parameter(ramp(width) ** (1.0 - spec.depth))  # [D]
        self.up = nn.Linear(width, hidden, bias=False)
        self.down = nn.Linear(hidden, width, bias=False)
        self.mix_gate = self.gate = None
        if spec.gated:
            self.mix_gate = nn.Parameter(ramp(width) ** (1.0 - spec.depth))
            self.gate = nn.Linear(width, width, bias=False)

    def forward(self, x: Tensor, place: Place, cache: Cache | None = None) -> Tensor:
        """x [B, T, D] -> [B, T, D]."""
        before, last = shifted(x, kept(cache, self.layer))
        keep(cache, self.layer, last)
        hidden = F.relu(self.up(mixed(x, before, self.mix_up))).square()  # [B,T,F]
        out: Tensor = self.down(self.tap("hidden", hidden))
        if self.gate is None or self.mix_gate is None:
            return out
        return self.gate(mixed(x, before, self.mix_gate)).sigmoid() * out  # type: ignore[no-any-return]


def check_depth(depth: float) -> None:
    if not 0 <= depth <= 1:
        raise UsageError("The place of a layer in the stack is out of range.", f"depth = {depth}", "0 is the first, 1 the last")  # fmt: skip


def ramp(size: int) -> Tensor:
    """0 to 1 in `size` steps, [size]; a single one is 0.5."""
    return torch.linspace(0.0, 1.0, size) if size > 1 else torch.full((1,), 0.5)


def mixed(x: Tensor, before: Tensor, mix: Tensor) -> Tensor:
    """mix * x_t + (1 - mix) * x_{t-1}, all [..., D]."""
    return before + mix * (x - before)


def wkv(k: Tensor, v: Tensor, w: Tensor, u: Tensor, sums: Sums | None, chunk: int) -> tuple[Tensor, Sums]:
    """k, v [B, T, A], w >= 0 and u [A] -> wkv [B, T, A] and the sums after the last token."""
    if sums is None:
        nothing = torch.zeros_like(k[:, 0])
        sums = nothing, nothing, nothing - 1e38
    out = []
    for at in range(0, k.shape[1], chunk):
        part, sums = _wkv_chunk(k[:, at : at + chunk], v[:, at : at + chunk], w, u, sums)
        out.append(part)
    return torch.cat(out, dim=1), sums


def _wkv_chunk(k: Tensor, v: Tensor, w: Tensor, u: Tensor, sums: Sums) -> tuple[Tensor, Sums]:
    num, den, top = sums
    c = k.shape[1]
    t = torch.arange(c, device=k.device)
    back = (t[:, None] - t - 1)[..., None].to(
        k.dtype
    )  # [c,c,1]: steps of decay between i and t, -1 on the diagonal
    weights = torch.where(back < 0, k[:, None] + u, k[:, None] - back * w)  # [B,c,c,A], exponents
    weights = torch.where(back < -1, float("-inf"), weights)
    old = top[:, None] - t[:, None].to(k.dtype) * w  # [B,c,A]: of the sums before the chunk
    largest = torch.maximum(weights.amax(2), old).detach()
    weights, old = (weights - largest[:, :, None]).exp(), (old - largest).exp()
    above = torch.einsum("btia,bia->bta", weights, v) + old * num[:, None]
    out = above / (weights.sum(2) + old * den[:, None])
    last, old = k - (c - 1 - t)[:, None].to(k.dtype) * w, top - c * w  # [B,c,A], [B,A]
    top = torch.maximum(last.amax(1), old).detach()
    last, old = (last - top[:, None]).exp(), (old - top).exp()
    return out, ((last * v).sum(1) + old * num, last.sum(1) + old * den, top)
