"""HiPPO-LegS: a state that holds the whole past as Legendre coefficients (Gu et al. 2020, arXiv:2008.07669).

At time t the state c[n] is the coefficient of u on [0, t] in the orthonormal Legendre basis:

    c[n](t) = sqrt(2n + 1) / t * integral_0^t u(s) P_n(2 s / t - 1) ds,      u(s) ~ sum_n c[n] sqrt(2n + 1) P_n(2 s / t - 1)

and follows d c / dt = (A c + B u) / t (theorem 2). S4 uses the same A and B without the 1/t. Everything here is
float64: the matrices are badly conditioned, and are made once.

Letters: T time, N state size.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ownlm.errors import UsageError


def legs(size: int) -> tuple[Tensor, Tensor]:
    """A [N, N] and B [N], float64: A[n, k] = -sqrt((2n+1)(2k+1)) below the diagonal, -(n+1) on it; B[n] = sqrt(2n+1)."""
    n = torch.arange(size, dtype=torch.float64, device="cpu")
    root = torch.sqrt(2 * n + 1)
    A = -torch.tril(root[:, None] * root[None], diagonal=-1) - torch.diag(n + 1)
    return A, root


def normal_plus_low_rank(size: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """LegS = V (diag(eigen) - p p*) V*, with V unitary (S4, arXiv:2111.00396, theorem 1 and appendix C.1).

    Returns eigen [N], p = V* P [N], b = V* B [N] and V [N, N], complex128. A + P P^T with P[n] = sqrt(n + 1/2) is
    -1/2 I plus a skew-symmetric matrix, so all eigenvalues have the real part -1/2; they come in ascending order
    of the imaginary part, hence as conjugate pairs from outside to inside.
    """
    A, B = legs(size)
    P = torch.sqrt(torch.arange(size, dtype=torch.float64, device="cpu") + 0.5)
    normal = A + P[:, None] * P[None]
    skew = normal + 0.5 * torch.eye(size, dtype=torch.float64, device="cpu")
    frequency, V = torch.linalg.eigh(-1j * skew)  # Hermitian: real eigenvalues, unitary V
    eigen = torch.complex(torch.full_like(frequency, -0.5), frequency)
    back = V.conj().T
    return eigen, back @ P.to(V.dtype), back @ B.to(V.dtype), V


def upper_half(size: int) -> tuple[Tensor, Tensor, Tensor]:
    """eigen, p and b [N/2] of the eigenvalues with positive imaginary part; the others are their conjugates.

    Raises UsageError for an odd size, whose middle eigenvalue is real and has no partner.
    """
    if size < 2 or size % 2:
        raise UsageError(
            "The state must consist of conjugate pairs.", f"state_size = {size}", "give an even size"
        )
    eigen, p, b, _ = normal_plus_low_rank(size)
    half = slice(size // 2, None)
    return eigen[half], p[half], b[half]


def discretize(A: Tensor, B: Tensor, step: float, method: str) -> tuple[Tensor, Tensor]:
    """A [N, N], B [N] of dx/dt = A x + B u -> those of x[t] = A' x[t-1] + B' u[t].

    bilinear: (I - step/2 A)^-1 (I + step/2 A), (I - step/2 A)^-1 step B (Tustin). zoh: u constant between samples,
    exp(step A), A^-1 (exp(step A) - I) B. Raises UsageError for another method.
    """
    unit = torch.eye(A.shape[0], dtype=A.dtype, device=A.device)
    if method == "bilinear":
        left = unit - step / 2 * A
        return torch.linalg.solve(left, unit + step / 2 * A), torch.linalg.solve(left, step * B)
    if method == "zoh":
        grown = torch.linalg.matrix_exp(step * A)
        return grown, torch.linalg.solve(A, (grown - unit) @ B)
    raise UsageError("This discretization is not known.", repr(method), "use bilinear or zoh")


def memorize(signal: Tensor, size: int) -> Tensor:
    """signal [T] float64, samples at times 1 ... T -> the state [N] after the last.

    Between two samples the signal is their straight line. In the time s = log t the equation is dc/ds = A c + B u with
    constant matrices (the measure does not change when time is stretched: proposition 3); each step from t to
    t + 1 is one step of length log((t+1)/t), exact for constant A, u taken at both ends (the trapezoid in s).
    """
    A, B = legs(size)
    signal = signal.to(torch.float64)
    state = torch.zeros(size, dtype=torch.float64)
    state[0] = signal[0]  # on [0, 1] the signal is taken as constant: only the mean is not zero
    for t in range(1, signal.shape[0]):
        step = torch.log(torch.tensor((t + 1) / t, dtype=torch.float64))
        grown, driven = discretize(A, B, float(step), "zoh")
        state = grown @ state + driven * (signal[t - 1] + signal[t]) / 2
    return state


def recall(state: Tensor, at: Tensor) -> Tensor:
    """The remembered signal at the fractions `at` [T] of the past, 0 the start and 1 now: [T] float64."""
    basis = legendre(state.shape[0], 2 * at.to(torch.float64) - 1)  # [N, T]
    root = torch.sqrt(2 * torch.arange(state.shape[0], dtype=torch.float64) + 1)
    return (state * root) @ basis


def legendre(size: int, x: Tensor) -> Tensor:
    """P_0 ... P_(N-1) at x [T] in [-1, 1]: [N, T], by Bonnet's recursion n P_n = (2n-1) x P_(n-1) - (n-1) P_(n-2)."""
    rows = [torch.ones_like(x), x]
    for n in range(2, size):
        rows.append(((2 * n - 1) * x * rows[-1] - (n - 1) * rows[-2]) / n)
    return torch.stack(rows[:size])
