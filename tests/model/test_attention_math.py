"""What is claimed of attention, measured."""

import math
from pathlib import Path

import pytest
import torch

from ownlm.errors import UsageError
from ownlm.model.attention.scaled_dot_product import attention, causal
from ownlm.model.attention_math import (
    attention_gradients,
    dot_product_variance,
    draw_entropy,
    draw_heads,
    entropy_by_temperature,
    fast_memory_traffic,
    softmax_jacobian,
)


def draw(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("n", [2, 17])
def test_entropy_rises_from_zero_to_log_n(n: int) -> None:
    curve = entropy_by_temperature(draw(5, n), [1e-6, *(10 ** (e / 4) for e in range(-6, 9)), 1e6])
    assert (curve.diff() > 0).all()
    assert float(curve[0]) == pytest.approx(0, abs=1e-6) and float(curve[-1]) == pytest.approx(
        math.log(n), abs=1e-6
    )
    for bad in ([], [0.0], [-1.0]):
        with pytest.raises(UsageError):
            entropy_by_temperature(draw(2, 3), bad)


@pytest.mark.parametrize("ending", ["svg", "png"])
def test_pictures(tmp_path: Path, ending: str) -> None:
    pytest.importorskip("matplotlib")
    draw_entropy(draw(4, 9), [0.1, 1, 10], tmp_path / f"e.{ending}")
    draw_heads(draw(2, 6, 6).masked_fill(~causal(6), -math.inf).softmax(-1), tmp_path / f"h.{ending}")
    start = b"<?xml" if ending == "svg" else b"\x89PNG"
    assert all((tmp_path / f"{name}.{ending}").read_bytes().startswith(start) for name in "eh")


def test_the_jacobian_is_autograds() -> None:
    s = draw(6)
    found = softmax_jacobian(s.softmax(-1))
    torch.testing.assert_close(found, torch.autograd.functional.jacobian(lambda x: x.softmax(-1), s))
    torch.testing.assert_close(found.sum(-1), torch.zeros(6, dtype=torch.float64), rtol=0, atol=1e-15)


@pytest.mark.parametrize("masked", [True, False])
def test_gradients_by_hand_are_autograds(masked: bool) -> None:
    q, k, v = (draw(2, 3, 7, 5, seed=s).requires_grad_() for s in (1, 2, 3))
    mask, g = causal(7) if masked else None, draw(2, 3, 7, 5, seed=4)
    expected = torch.autograd.grad(attention(q, k, v, mask)[0], (q, k, v), g)
    for found, want in zip(attention_gradients(q, k, v, g, mask), expected, strict=True):
        torch.testing.assert_close(found, want, rtol=0, atol=1e-12)


@pytest.mark.parametrize("width", [1, 16, 64])
def test_the_variance_is_the_width_before_scaling_and_one_after(width: int) -> None:
    before, after = dot_product_variance(width, samples=20_000)
    assert before == pytest.approx(width, rel=0.1) and after == pytest.approx(1, rel=0.1)


def test_traffic_falls_with_the_fast_memory_and_products_grow_as_the_square() -> None:
    (standard, little), (_, much) = (fast_memory_traffic(1024, 64, size) for size in (16_384, 65_536))
    assert much.read < little.read < standard.read
    assert 3.0 < little.read / much.read < 4.5, "as 1 / M"
    double, _ = fast_memory_traffic(2048, 64, 16_384)
    assert double.flops == 4 * standard.flops
    with pytest.raises(UsageError):
        fast_memory_traffic(8, 64, 100)
