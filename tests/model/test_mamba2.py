"""Mamba-2: the chunked, the quadratic and the recurrent form of SSD, and loops over single numbers."""

import math

import pytest
import torch

from ownlm.errors import UsageError
from ownlm.model.architecture import Architecture
from ownlm.model.blocks import Layer
from ownlm.model.decoder import Decoder
from ownlm.model.ssm.mamba2 import Mamba2, ssd, ssd_quadratic, ssd_recurrent


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def drawn(batch: int, time: int, heads: int, width: int, groups: int, size: int) -> tuple[torch.Tensor, ...]:
    """x, dt, A, B, C and a state."""
    dt = torch.nn.functional.softplus(noise(batch, time, heads, seed=1))
    return (noise(batch, time, heads, width), dt, -noise(heads, seed=2).exp(), noise(batch, time, groups, size, seed=3),
            noise(batch, time, groups, size, seed=4), noise(batch, heads, width, size, seed=5))  # fmt: skip


SIZES = [(2, 13, 4, 3, 2, 5), (1, 1, 1, 1, 1, 1), (2, 8, 3, 2, 1, 4), (1, 37, 6, 1, 3, 2)]


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("started", [False, True])
def test_every_form_is_the_formula_in_loops(sizes: tuple[int, ...], started: bool) -> None:
    x, dt, A, write, read, state = drawn(*sizes)
    B, T, H, P, G, N = sizes
    expected, states = torch.zeros_like(x), state.clone() if started else torch.zeros_like(state)
    for b in range(B):
        for h in range(H):
            g = h // (H // G)
            for p in range(P):
                kept = states[b, h, p].tolist()
                for t in range(T):
                    step = float(dt[b, t, h])
                    kept = [math.exp(step * float(A[h])) * kept[n] + step * float(write[b, t, g, n]) * float(x[b, t, h, p]) for n in range(N)]  # fmt: skip
                    expected[b, t, h, p] = sum(float(read[b, t, g, n]) * kept[n] for n in range(N))
                states[b, h, p] = torch.tensor(kept, dtype=torch.float64)
    for chunk in (1, 4, 8, 64):
        y, last = ssd(x, dt, A, write, read, state if started else None, chunk)
        torch.testing.assert_close(y, expected, rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(last, states, rtol=1e-9, atol=1e-9)
    y, last = ssd_recurrent(x, dt, A, write, read, state if started else None)
    torch.testing.assert_close(y, expected, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(last, states, rtol=1e-9, atol=1e-9)
    if not started:
        torch.testing.assert_close(ssd_quadratic(x, dt, A, write, read), expected, rtol=1e-9, atol=1e-9)


def test_the_chunked_form_has_the_gradients_of_the_recurrence() -> None:
    values = [v.requires_grad_() for v in drawn(2, 13, 4, 3, 2, 5)]
    y, h = ssd(*values, chunk=4)
    found = torch.autograd.grad(y.sin().sum() + h.square().sum(), values)
    y, h = ssd_recurrent(*values)
    for a, b in zip(found, torch.autograd.grad(y.sin().sum() + h.square().sum(), values), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-10)


def test_large_steps_neither_overflow_nor_spoil_gradients() -> None:
    """Float32: the masked half of exp(total[l] - total[s]) would be infinite."""
    x, dt, A, write, read, _ = (v.float().requires_grad_() for v in drawn(1, 130, 2, 3, 1, 4))
    y, _ = ssd(x, dt * 50, A, write, read, chunk=64)
    expected, _ = ssd_recurrent(*(v.double() for v in (x, dt * 50, A, write, read)))
    torch.testing.assert_close(
        y.double(), expected, rtol=1e-3, atol=1e-4 * float(expected.detach().abs().max())
    )
    gradients = torch.autograd.grad(y.square().sum(), (x, dt, A, write, read))
    assert all(torch.isfinite(g).all() for g in gradients)


def test_the_norm_is_taken_over_each_group() -> None:
    mixer = Mamba2(4, 3, 2, num_groups=2).build(8, 0)
    mixer.initialize(torch.Generator().manual_seed(0))
    with torch.no_grad():
        mixer.out_norm.copy_(torch.arange(1.0, 13))
        y, gate = noise(1, 2, 12).float(), noise(1, 2, 12, seed=1).float()
        found = mixer.gated_norm(y, gate)
        for t in range(2):
            v = y[0, t] * gate[0, t] * torch.sigmoid(gate[0, t])
            for part in (slice(0, 6), slice(6, 12)):
                expected = v[part] / torch.sqrt(v[part].square().mean() + 1e-5) * torch.arange(1.0, 13)[part]
                torch.testing.assert_close(found[0, t, part], expected, rtol=1e-5, atol=1e-6)


def test_the_step_limit_binds_in_both_forms() -> None:
    spec = Mamba2(2, 4, 3, dt_limit=(0.01, 0.02))
    free = Mamba2(2, 4, 3)
    x = noise(1, 6, 8).float()
    outputs = []
    for which in (spec, free):
        mixer = which.build(8, 0)
        mixer.initialize(torch.Generator().manual_seed(0))
        with torch.no_grad():
            outputs.append(mixer(x, None))  # type: ignore[arg-type]
    assert not torch.allclose(outputs[0], outputs[1], atol=1e-4)


def test_one_decode_step_costs_the_same_memory_at_any_length() -> None:
    spec = Mamba2(4, 16, 5, num_groups=2)
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


def test_wrong_shapes_are_refused() -> None:
    for wrong in (
        lambda: Mamba2(3, 4, num_groups=2),
        lambda: Mamba2(0, 4),
        lambda: Mamba2(2, 4, chunk=0),
        lambda: Mamba2(2, 4, dt_limit=(1.0, 0.5)),
    ):
        with pytest.raises(UsageError):
            wrong()
