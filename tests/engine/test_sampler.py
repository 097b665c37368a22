"""Probabilities against transformers' own filters and draws against the distribution."""

import random

import pytest
import torch
from engine_world import asked, decided_model, engine, run

from ownlm.engine.sampler import filtered, uniform


@pytest.mark.parametrize("seed", range(20))
def test_filters_equal_those_of_transformers(seed: int) -> None:
    process = pytest.importorskip("transformers.generation.logits_process")
    r = random.Random(seed)
    scores = torch.randn(5, 200, generator=torch.Generator().manual_seed(seed)) * 3
    settings = [
        (r.choice([0.3, 1.0, 2.5]), r.choice([0, 1, 7, 500]), r.choice([1.0, 0.95, 0.5, 0.01]))
        for _ in range(5)
    ]
    found = filtered(scores, *(torch.tensor(column) for column in zip(*settings, strict=True)))
    for row, (temperature, top_k, top_p) in enumerate(settings):
        one = process.TemperatureLogitsWarper(temperature)(None, scores[row : row + 1])
        if top_k:
            one = process.TopKLogitsWarper(top_k)(None, one)
        if top_p < 1:
            one = process.TopPLogitsWarper(top_p)(None, one)
        expected, mine = one.softmax(-1)[0], found[row] / found[row].sum()
        assert torch.equal(expected > 0, mine > 0), settings[row]
        torch.testing.assert_close(mine, expected, rtol=1e-4, atol=1e-6)


def test_draws_follow_the_distribution() -> None:
    """Chi-square of 4,000 first tokens with different seeds against the model's own probabilities."""
    e = engine(decided_model(), max_running=16, max_queue=5000, max_queue_tokens=10**6)
    drawn = run(e, *(asked([3, 1, 4], max_tokens=1, temperature=2.0, top_k=6, seed=s) for s in range(4000)))
    with torch.no_grad():
        logits = e.model(torch.tensor([[3, 1, 4]]))[:, -1]
    expected = filtered(logits, torch.tensor([2.0]), torch.tensor([6]), torch.tensor([1.0]))[0] * 4000
    counts = torch.bincount(torch.tensor([d[0] for d in drawn]), minlength=320).float()
    kept = expected > 0
    assert int(kept.sum()) == 6 and counts[~kept].sum() == 0
    chi_square = ((counts - expected)[kept] ** 2 / expected[kept]).sum()
    assert chi_square < 20.5  # 5 degrees of freedom, p = 0.001


def test_every_token_has_a_draw_of_its_own() -> None:
    """The whole drawn answer, recomputed token by token without engine, cache or batch."""
    e = engine(decided_model())
    answer = run(e, asked([3, 1, 4], max_tokens=25, temperature=1.5, seed=11))[0]
    text, one = [3, 1, 4], torch.tensor([1.0])
    for index, token in enumerate(answer):
        with torch.no_grad():
            logits = e.model(torch.tensor([text]))[0, -1:]
        mass = filtered(logits, one * 1.5, torch.tensor([0]), one)[0].double().tolist()
        target, total, expected = uniform(11, index) * sum(mass), 0.0, 0
        while (total := total + mass[expected]) <= target:
            expected += 1
        assert token == expected, f"token {index}"
        text.append(token)


def test_uniform_is_a_function_of_seed_and_index() -> None:
    numbers = [uniform(seed, index) for seed in range(30) for index in range(30)]
    assert numbers == [uniform(seed, index) for seed in range(30) for index in range(30)]
    assert len(set(numbers)) == 900 and all(0 <= n < 1 for n in numbers)
    assert abs(sum(numbers) / 900 - 0.5) < 0.05
    assert 0 <= uniform((1 << 64) - 1, 10**6) < 1
