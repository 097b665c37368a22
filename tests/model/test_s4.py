"""S4, S4D and S5: kernels, convolutions and recurrences against naive float64 loops; scans against the definition."""

import pytest
import torch

from ownlm.errors import UsageError
from ownlm.model.place import DecodeCache
from ownlm.model.ssm import hippo, scan
from ownlm.model.ssm.s4 import S4, S4Mixer
from ownlm.model.ssm.s5 import S5, S5Mixer

KINDS = [
    S4(3, 8),
    S4(2, 2, discretization="bilinear"),
    S4(1, 6, eigenvalues="linear"),
    S4(3, 8, "dplr", "bilinear"),
    S4(1, 2, "dplr", "bilinear"),
]


def built(spec: S4 | S5) -> S4Mixer | S5Mixer:
    """In float64, with noise in every parameter."""
    mixer = spec.build(5, 0)
    generator = torch.Generator().manual_seed(3)
    mixer.initialize(generator)
    mixer.double()
    with torch.no_grad():
        for weight in mixer.parameters():
            weight += 0.1 * torch.randn(weight.shape, generator=generator, dtype=weight.dtype)
    return mixer


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("kind", ["real", "complex"])
@pytest.mark.parametrize("time", [1, 2, 3, 7, 8, 64, 97])
@pytest.mark.parametrize("started", [False, True])
def test_scans_equal_the_recurrence(kind: str, time: int, started: bool) -> None:
    a, b, start = noise(2, time, 3), noise(2, time, 3, seed=1), noise(2, 3, seed=2)
    if kind == "complex":
        a, b = torch.complex(a, noise(2, time, 3, seed=5)) / 2, torch.complex(b, a)
        start = start.to(a.dtype)
    state = start if started else torch.zeros_like(start)
    expected = []
    for t in range(time):
        state = a[:, t] * state + b[:, t]
        expected.append(state)
    for form in (scan.sequential, scan.parallel, lambda *x: scan.chunked(*x, chunk=5)):
        found = form(a, b, start if started else None)
        torch.testing.assert_close(found, torch.stack(expected, 1), rtol=1e-9, atol=1e-9)
    one = scan.parallel(a[:1], b, None)  # factors shared by the batch
    torch.testing.assert_close(one, scan.sequential(a[:1].expand_as(a), b), rtol=1e-9, atol=1e-9)


def test_the_scan_has_the_gradients_of_the_recurrence() -> None:
    a, b, start = (noise(2, 11, 3).requires_grad_() for _ in range(2)), None, noise(2, 3).requires_grad_()
    first, second = a
    weight = noise(2, 11, 3, seed=9)
    found = torch.autograd.grad((scan.parallel(first, second, start) * weight).sum(), (first, second, start))
    expected = torch.autograd.grad(
        (scan.sequential(first, second, start) * weight).sum(), (first, second, start)
    )
    for x, y in zip(found, expected, strict=True):
        torch.testing.assert_close(x, y, rtol=1e-9, atol=1e-9)
    with pytest.raises(UsageError, match="at least one step"):
        scan.parallel(first[:, :0], second[:, :0])
    assert b is None


def naive(mixer: S4Mixer, u: torch.Tensor) -> torch.Tensor:
    """The state space of each channel as dense complex matrices through hippo.discretize, token by token."""
    eigen, b, c, p, step = mixer.parts()
    y = torch.zeros_like(u)
    for e in range(u.shape[2]):
        both = [torch.cat((v[e], v[e].conj())) for v in (eigen, b, c)]
        A = torch.diag(both[0])
        if p is not None:
            low = torch.cat((p[e], p[e].conj()))
            A = A - low[:, None] * low.conj()[None]
        grown, driven = hippo.discretize(A, both[1], float(step[e]), mixer.spec.discretization)
        for n in range(u.shape[0]):
            state = torch.zeros_like(both[1])
            for t in range(u.shape[1]):
                state = grown @ state + driven * u[n, t, e]
                y[n, t, e] = (both[2] * state).sum().real
    return y


@pytest.mark.parametrize("spec", KINDS, ids=str)
@pytest.mark.parametrize("time", [1, 2, 9, 24])
def test_s4_convolution_equals_recurrence_equals_the_naive_loop(spec: S4, time: int) -> None:
    from ownlm.model.ssm.s4 import convolve

    mixer, u = built(spec), noise(2, time, spec.inner_width)
    with torch.no_grad():
        expected = naive(mixer, u)
        torch.testing.assert_close(convolve(u, mixer.kernel(time)), expected, rtol=1e-8, atol=1e-9)
        torch.testing.assert_close(mixer.recur(u, None)[0], expected, rtol=1e-8, atol=1e-9)
        first, state = mixer.recur(u[:, :1], None)
        rest = [mixer.recur(u[:, 1:], state)[0]] if time > 1 else []
        torch.testing.assert_close(torch.cat((first, *rest), 1), expected, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("kind", ["diagonal", "dplr"])
def test_s4_starts_with_the_memory_of_hippo(kind: str) -> None:
    """At its initial values the dplr kernel is C V* times the dense LegS system: held against the real matrices."""
    spec = S4(1, 8, kind, "bilinear")  # type: ignore[arg-type]
    mixer = spec.build(5, 0)
    mixer.initialize(torch.Generator().manual_seed(0))
    mixer.double()
    with torch.no_grad():
        _, _, c, _, step = mixer.parts()
        A, B = hippo.legs(8)
        _, _, _, V = hippo.normal_plus_low_rank(8)
        upper = V[:, 4:]
        basis = torch.cat((upper, upper.conj()), dim=1)
        if kind == "diagonal":
            low = torch.sqrt(torch.arange(8, dtype=torch.float64) + 0.5)
            A = A + low[:, None] * low[None]
        grown, driven = hippo.discretize(A, B, float(step[0]), "bilinear")
        row = (torch.cat((c[0], c[0].conj())) @ basis.conj().T).real
        taps, state = [], driven
        for _ in range(30):
            taps.append(row @ state)
            state = grown @ state
        # float32 parameters hold the eigenvalues
        torch.testing.assert_close(mixer.kernel(30)[0], torch.stack(taps), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("spec", [S5(3, 8), S5(1, 2), S5(4, 12, blocks=3)], ids=str)
@pytest.mark.parametrize("time", [1, 2, 17])
def test_s5_scan_equals_the_naive_loop(spec: S5, time: int) -> None:
    mixer, u = built(spec), noise(2, time, spec.inner_width)
    with torch.no_grad():
        eigen = torch.complex(-mixer.log_decay.exp(), mixer.frequency)
        eigen = torch.cat((eigen, eigen.conj()))
        b, c = torch.complex(mixer.b[0], mixer.b[1]), torch.complex(mixer.c[0], mixer.c[1])
        b, c = torch.cat((b, b.conj())), torch.cat((c, c.conj()), dim=1)
        step = torch.cat((mixer.log_step, mixer.log_step)).exp()
        expected = torch.zeros_like(u)
        for n in range(2):
            state = torch.zeros(spec.state_size, dtype=torch.complex128)
            for t in range(time):
                grown = torch.exp(step * eigen)
                state = grown * state + (grown - 1) / eigen * (b @ u[n, t].to(b.dtype))
                expected[n, t] = (c @ state).real
        found, _ = mixer.mix(u, None)
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
        first, state = mixer.mix(u[:, :1], None)
        rest = [mixer.mix(u[:, 1:], state)[0]] if time > 1 else []
        torch.testing.assert_close(torch.cat((first, *rest), 1), expected, rtol=1e-9, atol=1e-9)


def test_a_trained_eigenvalue_cannot_grow() -> None:
    for spec in (S4(2, 4), S5(2, 4)):
        mixer = built(spec)
        with torch.no_grad():
            mixer.log_decay.fill_(-20.0)
            x = noise(1, 200, 5)
            assert torch.isfinite(mixer(x, None)).all()  # type: ignore[arg-type]


@pytest.mark.parametrize("spec", [*KINDS, S5(3, 8)], ids=str)
def test_the_state_stays_of_one_size(spec: S4 | S5) -> None:
    mixer, cache = spec.build(5, 0), DecodeCache([None])
    mixer.initialize(torch.Generator().manual_seed(0))
    for t in range(3):
        cache.begin(1, torch.device("cpu"))
        mixer(noise(2, 1, 5, seed=t).float(), None, cache)  # type: ignore[arg-type]
        cache.end()
        assert cache.num_bytes == 2 * spec.state_bytes()


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: S4(4, 7),
        lambda: S4(0, 8),
        lambda: S4(4, 8, "dplr"),
        lambda: S4(4, 8, "dplr", "bilinear", "linear"),
        lambda: S4(4, 8, "dense"),  # type: ignore[arg-type]
        lambda: S4(4, 8, discretization="euler"),  # type: ignore[arg-type]
        lambda: S5(4, 6, blocks=2),
        lambda: S5(4, 0),
    ],
)
def test_impossible_shapes_are_refused(wrong: object) -> None:
    with pytest.raises(UsageError):
        wrong()  # type: ignore[operator]
