"""HiPPO-LegS: its matrices, its memory of a long signal, and the discretizations."""

import math

import pytest
import torch

from ownlm.errors import UsageError
from ownlm.model.ssm import hippo


def wave(t: torch.Tensor, length: int) -> torch.Tensor:
    """Smooth and without any symmetry."""
    s = t / length
    return torch.sin(9 * s) + 0.5 * torch.cos(23 * s * s) - s


def test_the_matrices_are_those_of_the_paper_written_in_loops() -> None:
    A, B = hippo.legs(7)
    for n in range(7):
        assert B[n] == pytest.approx(math.sqrt(2 * n + 1))
        for k in range(7):
            expected = -math.sqrt((2 * n + 1) * (2 * k + 1)) if n > k else -(n + 1) if n == k else 0.0
            assert A[n, k] == pytest.approx(expected)


@pytest.mark.parametrize("size", [1, 2, 5, 16, 64])
def test_normal_plus_low_rank_gives_the_matrix_back(size: int) -> None:
    A, B = hippo.legs(size)
    eigen, p, b, V = hippo.normal_plus_low_rank(size)
    again = V @ (torch.diag(eigen) - p[:, None] * p.conj()[None]) @ V.conj().T
    torch.testing.assert_close(again, A.to(again.dtype), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(V @ b, B.to(b.dtype), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(V @ V.conj().T, torch.eye(size, dtype=V.dtype), rtol=0, atol=1e-10)
    assert torch.allclose(eigen.real, torch.tensor(-0.5, dtype=torch.float64))


def test_the_upper_half_and_its_conjugates_are_all_eigenvalues() -> None:
    half, _, _ = hippo.upper_half(10)
    every, _, _, _ = hippo.normal_plus_low_rank(10)
    both = torch.cat((half, half.conj()))
    torch.testing.assert_close(both[both.imag.argsort()], every, rtol=1e-9, atol=1e-9)
    for size in (0, 1, 7):
        with pytest.raises(UsageError, match="even"):
            hippo.upper_half(size)


def test_the_state_is_the_legendre_projection_of_the_whole_past() -> None:
    """Against the integral of the definition, by a fine midpoint rule."""
    length, size = 800, 12
    times = torch.arange(1, length + 1, dtype=torch.float64)
    state = hippo.memorize(wave(times, length), size)
    fine = (torch.arange(200_000, dtype=torch.float64) + 0.5) / 200_000
    basis = hippo.legendre(size, 2 * fine - 1)
    root = torch.sqrt(2 * torch.arange(size, dtype=torch.float64) + 1)
    projection = root * (basis * wave(fine * length, length)).mean(dim=1)
    assert (state - projection).abs().max() < 5e-3 < projection.abs().min() * 100
    assert projection.abs().max() > 0.3


@pytest.mark.parametrize("length", [300, 800])
def test_it_recalls_a_long_signal(length: int) -> None:
    times = torch.arange(1, length + 1, dtype=torch.float64)
    signal = wave(times, length)
    errors = [
        float((hippo.recall(hippo.memorize(signal, size), times / length) - signal).square().mean().sqrt())
        for size in (4, 32)
    ]
    assert errors[1] < 0.02 * float(signal.std()) and errors[0] > 10 * errors[1]
    early = slice(0, length // 4)  # the oldest quarter is not forgotten
    kept = hippo.recall(hippo.memorize(signal, 32), times / length)
    assert float((kept - signal)[early].square().mean().sqrt()) < 0.04 * float(signal[early].std())


def test_memory_equals_the_equation_integrated_in_small_steps() -> None:
    """d c / dt = (A c + B u) / t by the classical Runge-Kutta rule, u piecewise as `memorize` takes it."""
    A, B = hippo.legs(6)
    signal = wave(torch.arange(1, 41, dtype=torch.float64), 40)
    state = torch.zeros(6, dtype=torch.float64)
    state[0] = signal[0]
    for t in range(1, 40):
        u = (signal[t - 1] + signal[t]) / 2
        h = 1 / 64
        for step in range(64):
            at = t + step * h

            def slope(c: torch.Tensor, time: float, u: torch.Tensor = u) -> torch.Tensor:
                return (A @ c + B * u) / time

            k1 = slope(state, at)
            k2 = slope(state + h / 2 * k1, at + h / 2)
            k3 = slope(state + h / 2 * k2, at + h / 2)
            k4 = slope(state + h * k3, at + h)
            state = state + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    torch.testing.assert_close(hippo.memorize(signal, 6), state, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(("method", "order"), [("bilinear", 2), ("zoh", 1)])
def test_discretization_converges_to_the_equation(method: str, order: int) -> None:
    """x' = A x + B cos(t): halving the step divides the error by 2^order (zoh holds the input, hence order 1)."""
    A, B = hippo.legs(4)
    errors = []
    for steps in (400, 800, 6400):
        grown, driven = hippo.discretize(A, B, 2 / steps, method)
        state = torch.zeros(4, dtype=torch.float64)
        for t in range(steps):
            # zoh takes the value at the start of the step; Tustin's rule the mean of both ends.
            now, after = math.cos(2 * t / steps), math.cos(2 * (t + 1) / steps)
            state = grown @ state + driven * (now if method == "zoh" else (now + after) / 2)
        errors.append(state)
    ratio = float((errors[0] - errors[2]).norm() / (errors[1] - errors[2]).norm())
    assert ratio == pytest.approx(2**order, rel=0.15)


def test_zoh_is_exact_for_a_constant_input() -> None:
    A, B = hippo.legs(5)
    grown, driven = hippo.discretize(A, B, 0.7, "zoh")
    state = driven.clone()
    state = grown @ state + driven
    exact = torch.linalg.solve(A, (torch.linalg.matrix_exp(1.4 * A) - torch.eye(5, dtype=torch.float64)) @ B)
    torch.testing.assert_close(state, exact, rtol=1e-10, atol=1e-12)
    with pytest.raises(UsageError, match="euler"):
        hippo.discretize(A, B, 0.1, "euler")
