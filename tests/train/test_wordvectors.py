"""Word vectors from counts: neighbours of a kind end up alike; deterministic; rare cases are left alone."""

import numpy as np
import torch

from ownlm.train import wordvectors


def grammar(seed, num_tokens=60_000):
    """Tokens of two kinds, 20..39 and 40..59, that always stand behind a marker of their kind."""
    draw = np.random.default_rng(seed)
    kinds = draw.integers(2, size=num_tokens)
    words = 20 + 20 * kinds + draw.integers(20, size=num_tokens)
    return np.stack([kinds, words], axis=1).ravel().astype(np.uint16)


def embedding(width=8):
    return torch.nn.Parameter(torch.randn(64, width, generator=torch.Generator().manual_seed(0)) * 0.02)


def test_tokens_of_a_kind_are_alike():
    weight = embedding()
    assert wordvectors.initialize(weight, grammar(1), 0, 0.02) == 42
    unit = torch.nn.functional.normalize(weight.detach()[20:60], dim=1)
    similar = unit @ unit.T
    same = torch.cat([similar[:20, :20], similar[20:, 20:]]).mean()
    other = similar[:20, 20:].mean()
    assert same > other + 0.5


def test_unseen_tokens_keep_their_rows_and_the_scale_is_as_asked():
    weight, before = embedding(), embedding().detach()
    wordvectors.initialize(weight, grammar(1), 0, 0.05)
    assert torch.equal(weight[60:], before[60:]) and torch.equal(weight[2:20], before[2:20])
    assert abs(float(weight.detach()[20:60].std()) - 0.05) < 0.02


def test_same_text_and_seed_give_the_same_bits():
    first, second, other = embedding(), embedding(), embedding()
    wordvectors.initialize(first, grammar(1), 3, 0.02)
    wordvectors.initialize(second, grammar(1), 3, 0.02)
    wordvectors.initialize(other, grammar(2), 3, 0.02)
    assert torch.equal(first, second) and not torch.equal(first, other)


def test_too_few_different_tokens_change_nothing():
    weight = embedding(width=48)
    assert wordvectors.initialize(weight, grammar(1), 0, 0.02) == 0
    assert torch.equal(weight, embedding(width=48))


def test_information_equals_a_slow_count():
    tokens = np.array([0, 1, 0, 2, 1, 0, 1], dtype=np.int64)
    together = np.zeros((3, 3))
    for i, left in enumerate(tokens):
        for distance in (1, 2):
            if i + distance < len(tokens):
                right = tokens[i + distance]
                together[left, right] += 1 / distance
                together[right, left] += 1 / distance
    alone = together.sum(axis=1)
    context = alone**0.75 / (alone**0.75).sum()
    with np.errstate(divide="ignore"):
        expected = np.maximum(np.log(together / (alone[:, None] * context[None, :])), 0)
    found = wordvectors.information(tokens, 3).to_dense().numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)
