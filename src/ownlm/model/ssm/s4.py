"""S4: one linear state space per channel, a convolution in training and a recurrence in decoding.

    x[t] = A' x[t-1] + B' u[t]      y[t] = C x[t]      =      y = K * u,   K[l] = C A'^l B'

    diagonal  A = diag(eigen): S4D (Gu et al. 2022, arXiv:2206.11893), K by a Vandermonde product
    dplr      A = diag(eigen) - p p*: S4 (Gu et al. 2022, arXiv:2111.00396), K through its generating function, which
              the Woodbury identity turns into four Cauchy products (theorem 3, algorithm 1)

In the model:  o(gate * gelu(y + skip * u)) with u = up(x) and gate = sigmoid(gate(x)), as gated state spaces do
(arXiv:2206.13947); the paper's own block is a GLU after the convolution. We deviate from S4 in one more thing: C is
the C of the recurrence, not C (I - A'^L), so that one set of weights serves every length L.

Eigenvalues come in conjugate pairs, of which one each is kept: N/2 complex numbers stand for N.
Letters: B batch, T time, L = T taps of a kernel, D model width, E channels, N state size, M = N/2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ownlm.errors import UsageError
from ownlm.model.hooks import Tapped
from ownlm.model.place import Cache, DecodeCache, Place
from ownlm.model.ssm import hippo, scan, start
from ownlm.model.ssm.mamba import at_least_float32, recalled


@dataclass(frozen=True, slots=True)
class S4:
    """What a layer of this kind is."""

    inner_width: int
    """E: channels, each with a state space of its own."""
    state_size: int = 64
    """N, even."""
    kind: Literal["diagonal", "dplr"] = "diagonal"
    discretization: Literal["zoh", "bilinear"] = "zoh"
    """dplr needs bilinear."""
    eigenvalues: Literal["legs", "linear"] = "legs"
    """At the start: those of HiPPO-LegS's normal part, or -1/2 + i pi n (S4D-Lin; diagonal only)."""

    def __post_init__(self) -> None:
        known = {
            "kind": ("diagonal", "dplr"),
            "discretization": ("zoh", "bilinear"),
            "eigenvalues": ("legs", "linear"),
        }
        for name, values in known.items():
            if getattr(self, name) not in values:
                raise UsageError("S4 has no such option.", f"{name} = {getattr(self, name)!r}", f"use {' or '.join(values)}")  # fmt: skip
        if self.kind == "dplr" and (self.discretization != "bilinear" or self.eigenvalues != "legs"):
            raise UsageError("The low-rank form of S4 has a kernel for bilinear steps and LegS only.", str(self),
                             "give discretization='bilinear', eigenvalues='legs', or kind='diagonal'")  # fmt: skip
        if self.inner_width < 1 or self.state_size < 2 or self.state_size % 2:
            raise UsageError("S4 needs channels and an even state.", str(self), "correct the sizes")

    def build(self, width: int, layer: int) -> S4Mixer:
        return S4Mixer(self, width, layer)

    def num_parameters(self, width: int) -> int:
        complex_rows = 3 if self.kind == "diagonal" else 4  # eigen, b, c, p: N/2 complex = N numbers each
        return self.active_parameters(width) + self.inner_width * (complex_rows * self.state_size + 2)

    def active_parameters(self, width: int) -> int:
        return 3 * width * self.inner_width

    def mixing_flops(self, context: int) -> int:
        """Per token, as convolution: three real FFTs of 2 T points, 2.5 * 2 log2(2 T) each per channel."""
        return math.ceil(self.inner_width * 15 * math.log2(2 * max(context, 1)))

    def cache_bytes_per_token(self, dtype_bytes: int = 4) -> int:
        return 0

    def state_bytes(self) -> int:
        """Of one sequence, at any length: N/2 (dplr: N) complex64 per channel."""
        return self.inner_width * (4 if self.kind == "diagonal" else 8) * self.state_size


class S4Mixer(Tapped):
    POINTS: ClassVar = {"written": "B T E", "scanned": "B T E"}

    def __init__(self, spec: S4, width: int, layer: int) -> None:
        super().__init__()
        self.spec, self.layer = spec, layer
        E, M = spec.inner_width, spec.state_size // 2
        self.up = nn.Linear(width, E, bias=False)
        self.gate = nn.Linear(width, E, bias=False)
        self.log_step = nn.Parameter(torch.empty(E))
        self.log_decay = nn.Parameter(
            torch.empty(E, M)
        )  # eigen = -exp(log_decay) + i frequency: always decays
        self.frequency = nn.Parameter(torch.empty(E, M))
        self.b = nn.Parameter(torch.empty(E, M, 2))  # real and imaginary part
        self.c = nn.Parameter(torch.empty(E, M, 2))
        self.p = nn.Parameter(torch.empty(E, M, 2)) if spec.kind == "dplr" else None
        self.skip = nn.Parameter(torch.empty(E))
        self.o = nn.Linear(E, width, bias=False)

    @torch.no_grad()
    def initialize(self, generator: torch.Generator) -> None:
        """HiPPO-LegS (or S4D-Lin) for A and B, normal C, steps log-uniform in [0.001, 0.1] (S4D, section 4.4)."""
        eigen, p, b = hippo.upper_half(self.spec.state_size)
        if self.spec.eigenvalues == "linear":
            eigen = torch.complex(eigen.real, math.pi * torch.arange(len(eigen), dtype=torch.float64))
            b = torch.ones_like(b)
        start.uniform(generator, self.up, self.gate, self.o)
        start.log_steps(generator, self.log_step, 1e-3, 1e-1)
        self.log_decay.copy_((-eigen.real).log().expand_as(self.log_decay))
        self.frequency.copy_(eigen.imag.expand_as(self.frequency))
        self.b.copy_(torch.view_as_real(b).expand_as(self.b))
        self.c.normal_(0.0, 2**-0.5, generator=generator)
        self.skip.normal_(0.0, 1.0, generator=generator)
        if self.p is not None:
            self.p.copy_(torch.view_as_real(p).expand_as(self.p))

    def forward(self, x: Tensor, place: Place, cache: Cache | None = None) -> Tensor:
        """x [B, T, D] -> [B, T, D]."""
        u = self.tap("written", at_least_float32(self.up(x)))  # [B,T,E]
        if cache is None:
            y = convolve(u, self.kernel(u.shape[1]))
        else:
            state, _ = recalled(cache, self.layer, "S4")
            y, state = self.recur(u, state)
            if isinstance(cache, DecodeCache):
                cache.keep(self.layer, (state, None))
        y = self.tap("scanned", y + at_least_float32(self.skip) * u)  # [B,T,E]
        out: Tensor = self.o(F.gelu(y).to(x.dtype) * torch.sigmoid(self.gate(x)))
        return out

    def parts(self) -> tuple[Tensor, Tensor, Tensor, Tensor | None, Tensor]:
        """eigen, b, c, p [E, M] complex and step [E] real, in the precision of the computation."""
        real, imaginary = -at_least_float32(self.log_decay).exp(), at_least_float32(self.frequency)
        b, c = _complex(self.b), _complex(self.c)
        p = None if self.p is None else _complex(self.p)
        return torch.complex(real, imaginary), b, c, p, at_least_float32(self.log_step).exp()

    def kernel(self, length: int) -> Tensor:
        """K [E, L]: what an impulse at time 0 gives at times 0 ... L-1."""
        eigen, b, c, p, step = self.parts()
        if p is not None:
            return dplr_kernel(eigen, p, b, c, step, length)
        decay, drive = discretize_diagonal(eigen, b, step, self.spec.discretization)
        return diagonal_kernel(decay, c * drive, length)

    def recur(self, u: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
        """u [B, T, E], the state or None for zero -> y [B, T, E] and the next state: [B, E, M] complex, dplr [B, E, N]."""
        eigen, b, c, p, step = self.parts()
        if p is not None:
            return dplr_recurrence(u, eigen, p, b, c, step, state)
        decay, drive = discretize_diagonal(eigen, b, step, self.spec.discretization)
        added = drive * u[..., None]  # [B,T,E,M]
        states = scan.chunked(decay.expand(1, u.shape[1], *decay.shape), added, state)
        return 2 * (states * c).sum(-1).real, states[:, -1].clone()


def convolve(u: Tensor, kernel: Tensor) -> Tensor:
    """Causal: u [B, T, E], kernel [E, T] -> [B, T, E], by FFT over twice the length, so that nothing wraps around."""
    T = u.shape[1]
    spectrum = torch.fft.rfft(u, n=2 * T, dim=1) * torch.fft.rfft(kernel, n=2 * T).T
    y: Tensor = torch.fft.irfft(spectrum, n=2 * T, dim=1)[:, :T]
    return y


def discretize_diagonal(eigen: Tensor, b: Tensor, step: Tensor, method: str) -> tuple[Tensor, Tensor]:
    """eigen and b [E, M], step [E] -> the factor of the state and of the input, [E, M] (hippo.discretize, for scalars)."""
    scaled = step[:, None] * eigen
    if method == "zoh":
        return scaled.exp(), b * torch.expm1(scaled) / eigen
    left = 1 / (1 - scaled / 2)
    return left * (1 + scaled / 2), left * step[:, None] * b


def diagonal_kernel(decay: Tensor, weight: Tensor, length: int) -> Tensor:
    """K[l] = 2 Re sum_m weight[m] decay[m]^l: [E, M] twice -> [E, L] (Vandermonde)."""
    # Powers as exp(l log decay): one product each, where repeated multiplication would add up rounding.
    powers = torch.exp(decay.log()[..., None] * torch.arange(length, device=decay.device))  # [E,M,L]
    return 2 * torch.einsum("em,eml->el", weight, powers).real


def dplr_kernel(eigen: Tensor, p: Tensor, b: Tensor, c: Tensor, step: Tensor, length: int) -> Tensor:
    """K [E, L] of A = diag(eigen) - p p*, all [E, M] (half of the pairs), step [E].

    K^(z) = C (I - A'^L z^L)(I - A' z)^-1 B' at the L-th roots of unity is the discrete Fourier transform of K, where
    z^L = 1. With g = 2/step (1-z)/(1+z):  (I - A' z)^-1 B' = 2/(1+z) (g - A)^-1 B, and (g - diag(eigen) + p p*)^-1
    comes from Woodbury, so that only sums over v w / (g - eigen) remain. Roots of an odd number of points: z = -1,
    where g is infinite, is never met.
    """
    points = length if length % 2 else length + 1
    eigen, p, b, c = (torch.cat((half, half.conj()), dim=-1) for half in (eigen, p, b, c))  # [E,N]
    A, _ = _dense(eigen, p, b, step)
    grown = torch.linalg.matrix_power(A, points)  # [E,N,N]
    ends = c - torch.einsum("en,enm->em", c, grown)  # C (I - A'^L)
    angle = -2 * math.pi / points * torch.arange(points, device=step.device, dtype=step.dtype)
    z = torch.polar(torch.ones_like(angle), angle)  # [L]
    g = 2 / step[:, None] * (1 - z) / (1 + z)  # [E,L]
    cauchy = 1 / (g[:, None] - eigen[..., None])  # [E,N,L]
    cb, cp, pb, pp = (
        torch.einsum("en,enl->el", v, cauchy) for v in (ends * b, ends * p, p.conj() * b, p.conj() * p)
    )
    spectrum = 2 / (1 + z) * (cb - cp * pb / (1 + pp))
    kernel: Tensor = torch.fft.ifft(spectrum).real[:, :length]
    return kernel


def dplr_recurrence(
    u: Tensor, eigen: Tensor, p: Tensor, b: Tensor, c: Tensor, step: Tensor, state: Tensor | None
) -> tuple[Tensor, Tensor]:
    """u [B, T, E], state [B, E, N] complex or None -> y [B, T, E] and the last state; token by token."""
    eigen, p, b, c = (torch.cat((half, half.conj()), dim=-1) for half in (eigen, p, b, c))
    A, drive = _dense(eigen, p, b, step)
    state = (
        torch.zeros(u.shape[0], *drive.shape, dtype=drive.dtype, device=u.device) if state is None else state
    )
    outputs = []
    for t in range(u.shape[1]):
        state = torch.einsum("enm,bem->ben", A, state) + drive * u[:, t, :, None]
        outputs.append((state * c).sum(-1).real)
    return torch.stack(outputs, dim=1), state


def _dense(eigen: Tensor, p: Tensor, b: Tensor, step: Tensor) -> tuple[Tensor, Tensor]:
    """The bilinear A' [E, N, N] and B' [E, N] of diag(eigen) - p p*, written out."""
    A = torch.diag_embed(eigen) - p[..., None] * p.conj()[:, None]
    unit = torch.eye(A.shape[-1], dtype=A.dtype, device=A.device)
    half = step[:, None, None] / 2 * A
    return torch.linalg.solve(unit - half, unit + half), torch.linalg.solve(unit - half, step[:, None] * b)


def _complex(pairs: Tensor) -> Tensor:
    return torch.view_as_complex(at_least_float32(pairs).contiguous())
