"""Hybrid stacks: what the letters make, what is refused, and what the attention layers cost in cache."""

import pytest
import torch

from ownlm.errors import UsageError
from ownlm.model.attention.grouped import GroupedQuery
from ownlm.model.decoder import Decoder
from ownlm.model.hybrid import hybrid, jamba, pure_mamba, standard_feed_forwards, standard_mixers
from ownlm.model.layers import FeedForward
from ownlm.model.moe import MixtureOfExperts
from ownlm.model.ssm.mamba import Mamba
from ownlm.model.ssm.mamba2 import Mamba2


def test_each_letter_is_its_layer_in_order() -> None:
    plan = hybrid("MMA2M2", 97, 32, 64, feed_forwards="-FE")
    assert [type(layer.mixer) for layer in plan.layers] == [Mamba, Mamba, GroupedQuery, Mamba2, Mamba, Mamba2]
    assert [type(layer.feed_forward) for layer in plan.layers] == [
        type(None),
        FeedForward,
        MixtureOfExperts,
    ] * 2
    own = hybrid("xy", 97, 32, 64, mixers={"x": Mamba(8), "y": GroupedQuery(1, 1, 8)}, behind={"-": None})
    assert own.layers[0].mixer == Mamba(8) and own.layers[1].mixer == GroupedQuery(1, 1, 8)


@pytest.mark.parametrize("width", [1, 3, 8, 20, 32, 96, 1024])
def test_the_standard_parts_fit_any_width(width: int) -> None:
    plan = hybrid("ANWM2SD5", 11, width, 64, feed_forwards="F")
    with torch.device("meta"):
        model = Decoder(plan)
    assert model.num_parameters() == sum(p.numel() for p in model.parameters())
    if width <= 32:
        with torch.no_grad():
            logits = Decoder(plan)(torch.tensor([[3, 1, 4]]))
        assert logits.shape == (1, 3, 11) and torch.isfinite(logits).all()
    assert set(standard_mixers(width)) == set("ANWM2SD5") and set(standard_feed_forwards(width)) == set("-FE")


def test_the_cache_grows_with_the_attention_layers_alone() -> None:
    mixed, full = hybrid("MMMA", 97, 32, 64), hybrid("AAAA", 97, 32, 64)
    assert full.cache_bytes_per_token() == 4 * mixed.cache_bytes_per_token() > 0
    assert pure_mamba(4, 97, 32, 64).cache_bytes_per_token() == 0
    sizes = {}
    for name, plan in (("mixed", mixed), ("full", full)):
        model = Decoder(plan).eval()
        cache = model.new_cache()
        with torch.no_grad():
            model(torch.zeros(1, 1, dtype=torch.int64), cache)
            first = cache.num_bytes
            model(torch.zeros(1, 50, dtype=torch.int64), cache)
        sizes[name] = cache.num_bytes - first
    assert sizes["full"] == 4 * sizes["mixed"] == 50 * full.cache_bytes_per_token()


def test_jambas_block() -> None:
    """The published sizes of Jamba: 52 B parameters of which 12 B work on a token (arXiv:2403.19887, section 3.2)."""
    plan = jamba(4, 65536, 4096, 262144)
    attention = [n for n, layer in enumerate(plan.layers) if isinstance(layer.mixer, GroupedQuery)]
    experts = [n for n, layer in enumerate(plan.layers) if isinstance(layer.feed_forward, MixtureOfExperts)]
    assert attention == [4, 12, 20, 28] and experts == list(range(1, 32, 2)) and plan.num_layers == 32
    assert 51e9 < plan.num_parameters() < 53e9 and 11.5e9 < plan.active_parameters() < 12.5e9


@pytest.mark.parametrize(
    ("pattern", "feed_forwards", "said"),
    [
        ("MXA", "-", "X"),
        ("", "-", "empty"),
        ("MMA", "Q", "Q"),
        ("MMA", "FE", "2 letters for 3"),
        ("MM", "", "empty"),
    ],
)
def test_patterns_that_mean_nothing_are_refused(pattern: str, feed_forwards: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        hybrid(pattern, 97, 32, 64, feed_forwards=feed_forwards)


def recall_batch(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Four pairs of key and value, then the keys again in another order: each value must follow. ids, where to ask."""
    generator = torch.Generator().manual_seed(seed)
    keys = torch.rand(64, 8, generator=generator).argsort(dim=1)[:, :4]
    values = 8 + torch.randint(0, 8, (64, 4), generator=generator)
    again = torch.rand(64, 4, generator=generator).argsort(dim=1)
    first = torch.stack((keys, values), dim=2).flatten(1)
    second = torch.stack((keys.gather(1, again), values.gather(1, again)), dim=2).flatten(1)
    return torch.cat((first, second), dim=1), torch.arange(8, 16, 2)


@pytest.mark.slow
def test_an_attention_layer_recalls_what_a_small_state_cannot_hold() -> None:
    """One number of state per channel; Mamba's convolution tells a value which key stood before it. About 40 s."""
    right = {}
    for name in ("MM", "MA"):
        mixers = {"M": Mamba(32, 1), "A": GroupedQuery(1, 1, 32)}
        model = Decoder(hybrid(name, 16, 32, 64, mixers=mixers), seed=1)
        optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
        for step in range(300):
            ids, ask = recall_batch(1000 + step)
            logits = model(ids)[:, ask]
            loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, ask + 1].flatten())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        ids, ask = recall_batch(1)
        with torch.no_grad():
            right[name] = float((model(ids)[:, ask].argmax(-1) == ids[:, ask + 1]).float().mean())
    assert right["MA"] > 0.95 and right["MM"] < 0.6, right
