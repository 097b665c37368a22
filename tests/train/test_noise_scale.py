"""The noise scale where it is known, and beside the loop, whose bits it must not change."""

import math

import pytest
import torch
import world

from ownlm.errors import UsageError
from ownlm.train.loop import forward_backward, train
from ownlm.train.noise_scale import NoiseScale, estimate
from ownlm.train.objectives.causal import Causal
from ownlm.train.setup import prepare


def test_the_estimate_matches_the_known_value_of_a_synthetic_problem():
    """Gradients of single examples: G plus normal noise of known variances. B_noise = sum of variances / |G|^2."""
    generator = torch.Generator().manual_seed(0)
    true = torch.randn(50, generator=generator)
    spread = torch.rand(50, generator=generator) * 6
    known = float(spread.square().sum() / true.square().sum())
    small, big, total_noise, total_signal = 4, 32, 0.0, 0.0
    for _ in range(600):
        examples = true + spread * torch.randn(big, 50, generator=generator)
        norms = [float(examples[:n].mean(0).square().sum()) for n in (small, big)]
        noise, signal = estimate(norms[0], small, norms[1], big)
        total_noise, total_signal = total_noise + noise, total_signal + signal
    assert total_noise / 600 == pytest.approx(float(spread.square().sum()), rel=0.05)
    assert total_signal / 600 == pytest.approx(float(true.square().sum()), rel=0.05)
    assert total_noise / total_signal == pytest.approx(known, rel=0.08)
    with pytest.raises(UsageError, match="4 and 4"):
        estimate(1.0, 4, 1.0, 4)


def test_exact_norms_give_the_exact_answer():
    noise, signal = estimate(3.0 + 8.0 / 2, 2, 3.0 + 8.0 / 16, 16)  # |G|^2 = 3, S = 8
    assert (noise, signal) == pytest.approx((8.0, 3.0))


def test_beside_the_loop_it_changes_no_bit_and_sees_the_first_piece(tmp_path):
    meter, plain, watched = NoiseScale(), world.model(), world.model()
    settings = world.settings(num_steps=4)  # two pieces a step
    list(train(plain, world.batches(), settings, tmp_path / "plain", lambda text: None))
    seen = []
    for record in train(watched, world.batches(), settings, tmp_path / "watched", lambda text: None, meter.watch(Causal())):  # fmt: skip
        seen.append((meter._first.squared, record.grad_norm))
        meter.add(record.grad_norm)
    assert world.weights_digest(watched) == world.weights_digest(plain)
    assert meter.num_steps == 4 and meter.num_undivided == 0 and math.isfinite(meter.noise)
    fresh, batch = world.model(), world.batches()(0)
    setup = prepare(fresh, settings, lambda text: None)
    forward_backward(fresh, batch.rows(0, 2), setup, settings)  # the first piece as a batch of its own
    assert seen[0][0] == pytest.approx(
        sum(float(w.grad.square().sum()) for w in fresh.parameters()), rel=1e-4
    )
    noise, signal = estimate(seen[0][0], 128, seen[0][1] ** 2, 256)
    first = NoiseScale()
    first.load({"noise_scale": torch.tensor([noise, signal, 1, 0], dtype=torch.float64)})
    assert first.tokens == pytest.approx(noise / signal) or math.isnan(first.tokens)
    again = NoiseScale()
    again.load(meter.state())
    assert (again.noise, again.signal, again.num_steps) == (meter.noise, meter.signal, 4)


def test_a_step_of_one_piece_is_counted_and_tells_nothing(tmp_path):
    meter = NoiseScale()
    settings = world.settings(num_steps=2, micro_tokens=4096)
    for record in train(world.model(), world.batches(), settings, tmp_path, lambda text: None, meter.watch(Causal())):  # fmt: skip
        meter.add(record.grad_norm)
    assert meter.num_undivided == 2 and meter.num_steps == 0 and math.isnan(meter.tokens)
