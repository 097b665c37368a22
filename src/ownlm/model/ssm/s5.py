"""S5: one state space of many inputs and many outputs, diagonal, run by a parallel scan (Smith et al. 2023, arXiv:2208.04933).

    x[t] = exp(step eigen) x[t-1] + (exp(step eigen) - 1)/eigen (B u[t])      y[t] = 2 Re(C x[t]) + skip u[t]

Where S4 has a small state for each channel, S5 has one state of M conjugate pairs that all channels write to and
read from. The eigenvalues start as HiPPO-LegS's normal part, in `blocks` equal blocks (section 4.3).
In the model: y -> gelu(y) * sigmoid(gate(gelu(y))), the paper's gate (its appendix G.1), between up and o.

Letters: B batch, T time, D model width, E channels, N state size, M = N/2 conjugate pairs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ownlm.errors import UsageError
from ownlm.model.hooks import Tapped
from ownlm.model.place import Cache, DecodeCache, Place
from ownlm.model.ssm import hippo, scan, start
from ownlm.model.ssm.mamba import at_least_float32, recalled
from ownlm.model.ssm.s4 import discretize_diagonal


@dataclass(frozen=True, slots=True)
class S5:
    """What a layer of this kind is."""

    inner_width: int
    """E: inputs and outputs of the state space."""
    state_size: int = 64
    """N: numbers of the whole state."""
    blocks: int = 1
    """Into which the starting matrix is cut; N / blocks must be even."""

    def __post_init__(self) -> None:
        if min(self.inner_width, self.state_size, self.blocks) < 1 or self.state_size % (2 * self.blocks):
            raise UsageError("S5 needs channels and blocks of an even size.", str(self), "correct the sizes")

    def build(self, width: int, layer: int) -> S5Mixer:
        return S5Mixer(self, width, layer)

    def num_parameters(self, width: int) -> int:
        return self.active_parameters(width) + self.state_size + self.state_size // 2 + self.inner_width

    def active_parameters(self, width: int) -> int:
        """up, o, gate, and B and C: M complex = N numbers per channel each."""
        return self.inner_width * (2 * width + self.inner_width + 2 * self.state_size)

    def mixing_flops(self, context: int) -> int:
        """A complex multiply-add per pair of the state, 8 operations; a parallel scan does it about twice."""
        return 8 * self.state_size

    def cache_bytes_per_token(self, dtype_bytes: int = 4) -> int:
        return 0

    def state_bytes(self) -> int:
        """Of one sequence, at any length: N/2 complex64."""
        return 4 * self.state_size


class S5Mixer(Tapped):
    POINTS: ClassVar = {"written": "B T E", "scanned": "B T E"}

    def __init__(self, spec: S5, width: int, layer: int) -> None:
        super().__init__()
        self.spec, self.layer = spec, layer
        E, M = spec.inner_width, spec.state_size // 2
        self.up = nn.Linear(width, E, bias=False)
        self.gate = nn.Linear(E, E, bias=False)
        self.log_step = nn.Parameter(torch.empty(M))  # each pair has its own time scale (section 4.3)
        self.log_decay = nn.Parameter(torch.empty(M))
        self.frequency = nn.Parameter(torch.empty(M))
        self.b = nn.Parameter(torch.empty(2, M, E))  # real and imaginary part
        self.c = nn.Parameter(torch.empty(2, E, M))
        self.skip = nn.Parameter(torch.empty(E))
        self.o = nn.Linear(E, width, bias=False)

    @torch.no_grad()
    def initialize(self, generator: torch.Generator) -> None:
        eigen, _, _ = hippo.upper_half(self.spec.state_size // self.spec.blocks)
        eigen = eigen.repeat(self.spec.blocks)
        start.uniform(generator, self.up, self.gate, self.o)
        start.log_steps(generator, self.log_step, 1e-3, 1e-1)
        self.log_decay.copy_((-eigen.real).log())
        self.frequency.copy_(eigen.imag)
        self.b.normal_(0.0, (2 * self.spec.inner_width) ** -0.5, generator=generator)
        self.c.normal_(0.0, self.spec.state_size**-0.5, generator=generator)
        self.skip.normal_(0.0, 1.0, generator=generator)

    def forward(self, x: Tensor, place: Place, cache: Cache | None = None) -> Tensor:
        """x [B, T, D] -> [B, T, D]."""
        u = self.tap("written", at_least_float32(self.up(x)))  # [B,T,E]
        state, _ = recalled(cache, self.layer, "S5")
        y, state = self.mix(u, state)
        if isinstance(cache, DecodeCache):
            cache.keep(self.layer, (state, None))
        y = F.gelu(self.tap("scanned", y + at_least_float32(self.skip) * u)).to(x.dtype)  # [B,T,E]
        out: Tensor = self.o(y * torch.sigmoid(self.gate(y)))
        return out

    def mix(self, u: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
        """u [B, T, E], state [B, M] complex or None for zero -> y [B, T, E] without skip, and the next state."""
        decay, drive, c = self.matrices()
        written = torch.einsum("me,bte->btm", drive, u.to(drive.dtype))  # [B,T,M]
        states = scan.parallel(decay.expand(1, u.shape[1], -1), written, state)  # [B,T,M]
        return 2 * torch.einsum("em,btm->bte", c, states).real, states[:, -1].clone()

    def matrices(self) -> tuple[Tensor, Tensor, Tensor]:
        """The discrete A' [M], B' [M, E] and C [E, M], complex."""
        eigen = torch.complex(-at_least_float32(self.log_decay).exp(), at_least_float32(self.frequency))
        b, c = (
            torch.complex(at_least_float32(pair[0]), at_least_float32(pair[1])) for pair in (self.b, self.c)
        )
        unit = torch.ones_like(eigen)[:, None]
        decay, gain = discretize_diagonal(eigen[:, None], unit, at_least_float32(self.log_step).exp(), "zoh")
        return decay[:, 0], gain * b, c
