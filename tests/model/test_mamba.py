"""Mamba's selective scan against loops over single numbers, and the layer's state."""

import math

import pytest
import torch

from ownlm.errors import UsageError
from ownlm.model.architecture import Architecture
from ownlm.model.blocks import Layer
from ownlm.model.causal_convolution import CausalConvolution
from ownlm.model.decoder import Decoder
from ownlm.model.place import Cache, DecodeCache
from ownlm.model.ssm.mamba import Mamba, selective_scan, selective_scan_sequential


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def drawn(batch: int, time: int, channels: int, size: int) -> tuple[torch.Tensor, ...]:
    """x, dt, A, B, C and a state."""
    dt = torch.nn.functional.softplus(noise(batch, time, channels, seed=1))
    A = -noise(channels, size, seed=2).exp()
    return (noise(batch, time, channels), dt, A, noise(batch, time, size, seed=3), noise(batch, time, size, seed=4),
            noise(batch, channels, size, seed=5))  # fmt: skip


@pytest.mark.parametrize("sizes", [(2, 11, 3, 4), (1, 1, 1, 1), (2, 2, 5, 1), (1, 65, 2, 3)])
@pytest.mark.parametrize("started", [False, True])
def test_both_scans_are_the_formula_in_loops(sizes: tuple[int, int, int, int], started: bool) -> None:
    x, dt, A, write, read, state = drawn(*sizes)
    expected, states = torch.zeros_like(x), state.clone() if started else torch.zeros_like(state)
    for b in range(sizes[0]):
        for e in range(sizes[2]):
            h = states[b, e].tolist()
            for t in range(sizes[1]):
                step, u = float(dt[b, t, e]), float(x[b, t, e])
                h = [
                    math.exp(step * float(A[e, n])) * h[n] + step * float(write[b, t, n]) * u
                    for n in range(sizes[3])
                ]
                expected[b, t, e] = sum(float(read[b, t, n]) * h[n] for n in range(sizes[3]))
            states[b, e] = torch.tensor(h, dtype=torch.float64)
    for form in (selective_scan, selective_scan_sequential, lambda *v: selective_scan(*v, chunk=4)):
        y, last = form(x, dt, A, write, read, state if started else None)
        torch.testing.assert_close(y, expected, rtol=1e-10, atol=1e-10)
        torch.testing.assert_close(last, states, rtol=1e-10, atol=1e-10)


def test_the_parallel_scan_has_the_gradients_of_the_sequential_one() -> None:
    values = [v.requires_grad_() for v in drawn(2, 21, 3, 4)]
    y, h = selective_scan(*values, chunk=8)
    found = torch.autograd.grad(y.sin().sum() + h.square().sum(), values)
    y, h = selective_scan_sequential(*values)
    for a, b in zip(found, torch.autograd.grad(y.sin().sum() + h.square().sum(), values), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-10)


def test_long_texts_neither_overflow_nor_vanish() -> None:
    """Float32, steps so large that products of the decays underflow: the parallel form never divides by them."""
    x, dt, A, write, read, _ = (v.float() for v in drawn(1, 700, 2, 3))
    for scale in (1e-4, 1.0, 100.0):
        y, _ = selective_scan(x, dt * scale, A, write, read)
        expected, _ = selective_scan_sequential(*(v.double() for v in (x, dt * scale, A, write, read)))
        assert torch.isfinite(y).all()
        torch.testing.assert_close(y.double(), expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))


@pytest.mark.parametrize(("kernel", "bias"), [(1, True), (4, False), (7, True)])
def test_the_convolution_is_torchs(kernel: int, bias: bool) -> None:
    layer = CausalConvolution(5, kernel, bias).double()
    with torch.no_grad():
        for n, weight in enumerate(layer.parameters()):
            weight.copy_(noise(*weight.shape, seed=n))
    x = noise(2, 9, 5)
    padded = torch.nn.functional.pad(x.transpose(1, 2), (kernel - 1, 0))
    expected = torch.nn.functional.conv1d(padded, layer.weight[:, None], layer.bias, groups=5).transpose(1, 2)
    torch.testing.assert_close(layer(x)[0], expected)
    first, state = layer(x[:, :2])
    assert state.shape == (2, kernel - 1, 5)
    torch.testing.assert_close(torch.cat((first, layer(x[:, 2:], state)[0]), 1), expected)


def test_the_start_is_the_papers() -> None:
    mixer = Mamba(48, 6).build(32, 0)
    mixer.initialize(torch.Generator().manual_seed(0))
    torch.testing.assert_close(-mixer.A_log.exp(), -torch.arange(1.0, 7).expand(48, 6))
    step = torch.nn.functional.softplus(mixer.dt.bias)
    assert step.min() >= 1e-3 * 0.999 and step.max() <= 0.1 * 1.001 and step.max() > 10 * step.min()
    assert Mamba(48).rank(33) == 3 and mixer.dt.weight.shape == (48, 2)


def test_one_decode_step_costs_the_same_memory_at_any_length() -> None:
    spec = Mamba(64, 5)
    model = Decoder(Architecture(97, 32, (Layer(spec),) * 3, 1 << 20)).eval()
    cache, sizes = model.new_cache(), []
    with torch.no_grad():
        for text in torch.randint(0, 97, (2, 501), generator=torch.Generator().manual_seed(0)).split(
            [1, 499, 1], 1
        ):
            model(text, cache)
            sizes.append(cache.num_bytes)
    assert sizes == [2 * 3 * spec.state_bytes()] * 3 and model.cache_bytes_per_token() == 0
    storages = [t.untyped_storage().nbytes() for n in range(3) for t in cache.state(n)]
    assert sum(storages) == sizes[0], "a kept view would hold the whole text in memory"


def test_wrong_shapes_and_caches_are_refused() -> None:
    for wrong in (
        lambda: Mamba(0),
        lambda: Mamba(8, 0),
        lambda: Mamba(8, dt_rank=0),
        lambda: Mamba(8, conv_kernel=0),
    ):
        with pytest.raises(UsageError):
            wrong()

    class PairsOnly:
        """A cache of keys and values, as the engine's."""

    mixer, pairs = Mamba(8).build(4, 0), PairsOnly()
    mixer.initialize(torch.Generator().manual_seed(0))
    cache: Cache = pairs  # type: ignore[assignment]
    with pytest.raises(UsageError, match="new_cache"):
        mixer(torch.zeros(1, 1, 4), None, cache)  # type: ignore[arg-type]
    assert isinstance(DecodeCache([None]).state(0), type(None))
