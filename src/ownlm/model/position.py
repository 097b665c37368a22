"""Rotary position embedding (Su et al. 2021, arXiv:2104.09864) and what stretches it beyond the trained length.

Default order is the half rotation of Hugging Face: feature i is paired with feature i + R/2. `interleaved` is the
order of the paper, llama2.c and Cohere: 2i with 2i + 1. The two differ by a permutation of the rows of q and k.

Every scaling changes the R/2 frequencies, some also multiply cos and sin (so that scores grow by its square):

    Linear      position interpolation: frequencies / factor                     arXiv:2306.15595
    NTK         a larger base, so that the slowest wave is stretched by factor   "NTK-aware", arXiv:2309.00071 §3.1
    DynamicNTK  the same, factor growing with the text from 1 on                 arXiv:2309.00071 §3.3
    Yarn        slow waves interpolated, fast ones kept, a ramp between          arXiv:2309.00071 §3.2, §3.4
    LongRope    a searched factor per wave, one set for short texts              arXiv:2402.13753
    Llama3      slow waves divided by factor, fast kept, smooth between          Llama 3.1, arXiv:2407.21783

DynamicNTK and LongRope depend on the length: the number of tokens of the text so far, the last new one included, of
each row by itself. A cache keeps earlier keys turned by the frequencies of their own time (transformers does the
same): cached decoding across such a change therefore differs from one pass over the whole text. transformers also
goes on with DynamicNTK's longest frequencies for a later, shorter text until one is below the trained length; here
nothing is remembered.

Letters: B batch, T time, N heads (query or key), C head width, R rotated part of it, P positions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ownlm.errors import UsageError

UNLIMITED = 1 << 20
"""Positions of a scaling that adapts to any length."""


@dataclass(frozen=True, slots=True)
class Linear:
    """Positions divided by factor."""

    factor: float

    def frequencies(self, dims: int, theta: float, length: Tensor | None = None) -> Tensor:
        return plain_frequencies(dims, theta) / self.factor

    def magnitude(self) -> float:
        return 1.0

    def reach(self, max_positions: int) -> int:
        return math.ceil(max_positions * self.factor)


@dataclass(frozen=True, slots=True)
class NTK:
    """theta * factor ** (R / (R - 2)): the fastest wave stays, the slowest is divided by factor."""

    factor: float

    def frequencies(self, dims: int, theta: float, length: Tensor | None = None) -> Tensor:
        return plain_frequencies(dims, theta * self.factor ** (dims / (dims - 2)))

    def magnitude(self) -> float:
        return 1.0

    def reach(self, max_positions: int) -> int:
        return math.ceil(max_positions * self.factor)


@dataclass(frozen=True, slots=True)
class DynamicNTK:
    """NTK with factor * length / original - (factor - 1), 1 up to the trained length."""

    factor: float
    trained_positions: int
    """Tokens of the longest text in training."""

    def frequencies(self, dims: int, theta: float, length: Tensor | None = None) -> Tensor:
        """length int64 [B] -> [B, R/2]; None: at the trained length, [R/2]."""
        longest = (
            torch.tensor(self.trained_positions)
            if length is None
            else length.clamp(min=self.trained_positions)
        )
        base = theta * ((self.factor * longest / self.trained_positions) - (self.factor - 1)) ** (
            dims / (dims - 2)
        )
        return 1.0 / base[..., None] ** (_even(dims).to(base.device) / dims)

    def magnitude(self) -> float:
        return 1.0

    def reach(self, max_positions: int) -> int:
        return max(UNLIMITED, max_positions)


@dataclass(frozen=True, slots=True)
class Yarn:
    """Waves with more than beta_fast turns in the trained length stay, those below beta_slow are interpolated."""

    factor: float
    trained_positions: int
    """Tokens of the longest text in training."""
    attention_factor: float | None = None
    """Of cos and sin; None: 0.1 ln(factor) + 1, see `magnitude`."""
    beta_fast: float = 32.0
    beta_slow: float = 1.0
    mscale: float | None = None
    mscale_all_dim: float | None = None
    """With both given (DeepSeek): the ratio of 0.1 m ln(factor) + 1 for the two."""
    truncate: bool = True
    """Round the ends of the ramp to whole features."""

    def frequencies(self, dims: int, theta: float, length: Tensor | None = None) -> Tensor:
        low, high = (
            dims * math.log(self.trained_positions / (turns * 2 * math.pi)) / (2 * math.log(theta))
            for turns in (self.beta_fast, self.beta_slow)
        )  # the feature whose wave turns so often
        if self.truncate:
            low, high = math.floor(low), math.ceil(high)
        low, high = max(low, 0), min(high, dims - 1)
        high = high + 0.001 if low == high else high
        ramp = ((torch.arange(dims // 2, dtype=torch.float32, device="cpu") - low) / (high - low)).clamp(0, 1)
        wave = plain_frequencies(dims, theta)
        return wave / self.factor * ramp + wave * (1 - ramp)

    def magnitude(self) -> float:
        if self.attention_factor is not None:
            return self.attention_factor
        if self.mscale and self.mscale_all_dim:
            return yarn_mscale(self.factor, self.mscale) / yarn_mscale(self.factor, self.mscale_all_dim)
        return yarn_mscale(self.factor)

    def reach(self, max_positions: int) -> int:
        return max(max_positions, math.ceil(self.factor * self.trained_positions))


def yarn_mscale(factor: float, mscale: float = 1.0) -> float:
    """0.1 m ln(factor) + 1 (arXiv:2309.00071, equation 22); 1 where nothing is stretched."""
    return 1.0 if factor <= 1 else 0.1 * mscale * math.log(factor) + 1.0


@dataclass(frozen=True, slots=True)
class LongRope:
    """Each wave divided by a factor of its own: `long` once the text exceeds the trained length, else `short`."""

    short_factor: tuple[float, ...]
    """R/2 factors."""
    long_factor: tuple[float, ...]
    trained_positions: int
    """Tokens of the longest text in the first training."""
    attention_factor: float | None = None
    """Of cos and sin; None: 1. The paper: sqrt(1 + ln(factor) / ln(trained)), factor = longest / trained."""

    def frequencies(self, dims: int, theta: float, length: Tensor | None = None) -> Tensor:
        """length int64 [B] -> [B, R/2]; None: the short ones, [R/2]."""
        if not len(self.short_factor) == len(self.long_factor) == dims // 2:
            raise UsageError("LongRoPE needs a factor for each pair of features.",
                             f"{len(self.short_factor)} short and {len(self.long_factor)} long for {dims} rotated features", "correct the lists")  # fmt: skip
        power = theta ** (_even(dims) / dims)
        short, long = (1.0 / (torch.tensor(f, dtype=torch.float32, device="cpu") * power) for f in (self.short_factor, self.long_factor))  # fmt: skip
        if length is None:
            return short
        return torch.where(
            (length > self.trained_positions)[:, None], long.to(length.device), short.to(length.device)
        )

    def magnitude(self) -> float:
        return 1.0 if self.attention_factor is None else self.attention_factor

    def reach(self, max_positions: int) -> int:
        return max_positions


@dataclass(frozen=True, slots=True)
class Llama3:
    """Wavelengths below original / high stay, above original / low are stretched by factor, between: blended."""

    factor: float
    low_freq_factor: float
    high_freq_factor: float
    trained_positions: int
    """Tokens of the longest text in the first training."""

    def frequencies(self, dims: int, theta: float, length: Tensor | None = None) -> Tensor:
        wave = plain_frequencies(dims, theta)
        turns = self.trained_positions * wave / (2 * math.pi)  # in the trained length
        share = ((turns - self.low_freq_factor) / (self.high_freq_factor - self.low_freq_factor)).clamp(
            0, 1
        )  # of the kept frequency
        return (1 - share) * wave / self.factor + share * wave

    def magnitude(self) -> float:
        return 1.0

    def reach(self, max_positions: int) -> int:
        return max_positions


Scaling = Linear | NTK | DynamicNTK | Yarn | LongRope | Llama3


@dataclass(frozen=True, slots=True)
class Rope:
    """Which rotation. Layers with equal Rope and equal head width share one table."""

    theta: float = 10000.0
    """Base of the wavelengths."""
    dims: int | None = None
    """R: features of each head that are rotated, the first ones; None: all. An odd number is the base of the
    wavelengths, and one more is rotated (GPT-NeoX with 25% of 12)."""
    scaling: Scaling | None = None
    interleaved: bool = False
    """Pairs are neighbours instead of halves."""

    def reach(self, max_positions: int) -> int:
        """Positions that this rotation serves in a model said to have `max_positions`."""
        return max_positions if self.scaling is None else self.scaling.reach(max_positions)


class RotaryTable(nn.Module):
    """Cosines and sines of every position, looked up once per forward and used by every block."""

    def __init__(self, rope: Rope, head_dim: int, max_positions: int) -> None:
        super().__init__()
        self.rope, self.dims = rope, rope.dims or head_dim
        if self.dims + self.dims % 2 > head_dim:
            raise UsageError("Rotation needs an even number of features of a head.",
                             f"{self.dims} of {head_dim}", "change head_dim or the rotated part")  # fmt: skip
        if self.dims < 3 and isinstance(rope.scaling, NTK | DynamicNTK):
            raise UsageError(
                "NTK scaling needs more than one pair of features.", f"{self.dims} rotated", "use Linear"
            )
        self.by_length = isinstance(rope.scaling, DynamicNTK | LongRope)
        self.magnitude = 1.0 if rope.scaling is None else rope.scaling.magnitude()
        frequency = frequencies(rope, self.dims)  # [R/2]; also checks the scaling
        # Plain tensors, not buffers: module.to(bfloat16) must not round the angles' cosines.
        self.cos = self.sin = torch.empty(0, device="cpu")
        if not self.by_length:
            positions = torch.arange(rope.reach(max_positions), dtype=torch.float32, device="cpu")
            self.cos, self.sin = _signed(
                positions[:, None] * frequency, self.magnitude, rope.interleaved
            )  # [P,R]

    def forward(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """positions [B or 1, T] int64 -> cos and signed sin, each [B or 1, 1, T, R] float32."""
        if self.by_length:
            length = positions.amax(dim=-1) + 1  # [B or 1]
            frequency = frequencies(self.rope, self.dims, length)[:, None]  # [B or 1, 1, R/2]
            angle = positions[..., None].float() * frequency  # [B or 1, T, R/2]
            cos, sin = _signed(angle, self.magnitude, self.rope.interleaved)
            return cos.unsqueeze(1), sin.unsqueeze(1)
        if self.cos.device != positions.device:
            self.cos, self.sin = self.cos.to(positions.device), self.sin.to(positions.device)
        return self.cos[positions].unsqueeze(1), self.sin[positions].unsqueeze(1)


def _even(dims: int) -> Tensor:
    return torch.arange(0, dims, 2, dtype=torch.float32, device="cpu")


def plain_frequencies(dims: int, theta: float) -> Tensor:
    """theta ** (-2i / R) in radians per position, float32 [R/2]."""
    return 1.0 / theta ** (_even(dims) / dims)


def frequencies(rope: Rope, dims: int, length: Tensor | None = None) -> Tensor:
    """Radians per position of each pair: float32 [R/2], or [B, R/2] with lengths where they matter."""
    if rope.scaling is None:
        return plain_frequencies(dims, rope.theta)
    return rope.scaling.frequencies(dims, rope.theta, length)


def _signed(angle: Tensor, magnitude: float, interleaved: bool) -> tuple[Tensor, Tensor]:
    """angle [..., R/2] -> cos and signed sin [..., R]; of each pair the first sine is negated, see `rotate`."""
    cos, sin = angle.cos() * magnitude, angle.sin() * magnitude
    if interleaved:
        return cos.repeat_interleave(2, dim=-1), torch.stack((-sin, sin), dim=-1).flatten(-2)
    return torch.cat((cos, cos), dim=-1), torch.cat((-sin, sin), dim=-1)


def rope_tables(num_positions: int, head_dim: int, theta: float) -> tuple[Tensor, Tensor]:
    """cos and signed sin without scaling, each [P, R] float32."""
    angle = torch.arange(num_positions, dtype=torch.float32, device="cpu")[:, None] * plain_frequencies(
        head_dim, theta
    )
    return _signed(angle, 1.0, interleaved=False)


def rotate(x: Tensor, cos: Tensor, sin: Tensor, interleaved: bool = False) -> Tensor:
    """x [B, N, T, C] with its first R features turned by its position's angle; same dtype, computed in float32.

    (a, b) -> (a cos - b sin, b cos + a sin) with a, b the two halves of R (interleaved: neighbours); `roll` swaps
    the halves and the sign sits in `sin`, which is three operations instead of eight.
    """
    R = cos.shape[-1]
    if x.shape[-1] > R:
        return torch.cat((rotate(x[..., :R], cos, sin, interleaved), x[..., R:]), dim=-1)
    swapped = (
        x.reshape(*x.shape[:-1], R // 2, 2).flip(-1).flatten(-2) if interleaved else x.roll(R // 2, dims=-1)
    )
    return (x * cos + swapped * sin).to(x.dtype)
