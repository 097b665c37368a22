"""The byte-patch model: no byte sees itself, patches are shifted right, decoding in pieces is the whole."""

import math

import pytest
import torch
import torch.nn.functional as F

from ownlm.errors import UsageError
from ownlm.model.attention.grouped import GroupedQuery
from ownlm.model.blocks import Layer
from ownlm.model.byte_patch import BytePatch, BytePatchConfig, bits_per_byte, measure_bits_per_byte, megabyte
from ownlm.model.hooks import hooked, points
from ownlm.model.layers import FeedForward, Norm
from ownlm.model.position import Rope

CONFIGS = {
    "plain": megabyte(4, 32, 16, (2, 2), (4, 2), 64),
    "patch-of-one": megabyte(1, 8, 12, (1, 1), (2, 3), 30, vocab_size=11),
    "odd": BytePatchConfig(
        3, 5, 14,
        (Layer(GroupedQuery(3, 1, 5), FeedForward(20), Norm()),) * 2,
        (Layer(GroupedQuery(2, 2, 3, qk_norm=Norm()), FeedForward(9), wiring="sandwich"),),
        50, 40, Norm("layer", bias=True),
    ),
}  # fmt: skip


def noisy(config: BytePatchConfig) -> BytePatch:
    model, random = BytePatch(config).eval(), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn(weight.shape, generator=random) * 0.2)
    return model


def text(config: BytePatchConfig, *shape: int) -> torch.Tensor:
    return torch.randint(config.vocab_size, shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", CONFIGS)
def test_counts_and_face(name: str) -> None:
    model = BytePatch(CONFIGS[name])
    assert model.num_parameters() == sum(p.numel() for p in model.parameters())
    assert model.flops_per_token(30) >= model.flops_per_token(8) > 0
    with torch.device("meta"):
        assert BytePatch(CONFIGS[name]).first_byte.is_meta
    assert "global_blocks.0.residual_out" in points(model)


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("length", [1, 3, 4, 7, 8, 13])
def test_no_byte_sees_itself_or_later_ones(name: str, length: int) -> None:
    model = noisy(CONFIGS[name])
    ids = text(model.config, 1, length)
    guesses, following = model.predictions(ids), model(ids)
    torch.testing.assert_close(guesses[:, 1:], following[:, :-1])
    for place in range(length):
        other = ids.clone()
        other[0, place] = (other[0, place] + 1) % model.config.vocab_size
        changed = (model.predictions(other) - guesses).abs().amax(-1)[0]
        assert not bool(changed[: place + 1].any())
        after = (model(other) - following).abs().amax(-1)[0]
        assert bool((after[place:] > 1e-7).all()), "every later guess sees it"


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("ends", [tuple(range(1, 15)), (14,), (1, 2, 7, 8, 12, 14), (5, 6, 14), (0, 4, 14)])
def test_cached_decoding_is_the_parallel_one(name: str, ends: tuple[int, ...]) -> None:
    model = noisy(CONFIGS[name])
    ids = text(model.config, 3, 14)
    cache, found, start = model.new_cache(), [], 0
    for end in ends:
        found.append(model(ids[:, start:end], cache))
        start = end
    torch.testing.assert_close(torch.cat(found, 1), model(ids), atol=1e-5, rtol=1e-4)
    assert cache.length == 14


def test_the_cache_grows_by_patches() -> None:
    model = noisy(CONFIGS["plain"])
    cache, sizes = model.new_cache(), []
    for byte in text(model.config, 1, 40).T:
        model(byte[None], cache)
        sizes.append(cache.wide.num_bytes)
    assert sizes[3] - sizes[2] == 4 * model.cache_bytes_per_token() and sizes[4] == sizes[6]
    assert cache.narrow.num_bytes <= 4 * 2 * 2 * 16 * 4


def test_it_is_the_paper_by_hand() -> None:
    """Shift, patch, split: the inputs of both models built byte by byte."""
    model = noisy(CONFIGS["plain"])
    ids, seen = text(model.config, 1, 10), {}
    names = ("global_blocks.0.residual_in", "local_blocks.0.residual_in", "to_local")
    with hooked(model, {n: lambda x, n=n: seen.__setitem__(n, x) for n in names}):
        model(ids)
    one = [model.global_embedding.weight[ids[0, t]] + model.positions.weight[t] for t in range(8)]
    wide = [model.first_patch[0], torch.cat(one[:4]), torch.cat(one[4:])]
    torch.testing.assert_close(seen[names[0]][0], torch.stack(wide))
    local = seen[names[1]]  # [patches, P, D]
    for t in range(11):
        before = model.first_byte[0] if t % 4 == 0 else model.local_embedding.weight[ids[0, t - 1]]
        torch.testing.assert_close(local[t // 4, t % 4], before + seen["to_local"][0, t // 4, t % 4])


def test_gradients_and_overfitting() -> None:
    config = CONFIGS["plain"]
    model, ids = BytePatch(config), text(config, 2, 22)
    optimizer, found = torch.optim.AdamW(model.parameters(), 3e-3), []
    for step in range(250):
        loss = F.cross_entropy(model.predictions(ids).flatten(0, 1), ids.flatten())
        optimizer.zero_grad()
        loss.backward()
        if not step:
            missing = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
            assert missing == []
        optimizer.step()
        found.append(loss.item())
        if found[-1] < 0.1:
            break
    assert found[0] > 4.5 and found[-1] < 0.1
    assert (
        measure_bits_per_byte(model, ids) < 0.2
    )  # both rows begin alike for the model: the first byte costs most


def test_bits_per_byte() -> None:
    assert bits_per_byte(math.log(256) * 7, 7) == pytest.approx(8.0)
    assert bits_per_byte(10.0, 5) == pytest.approx(10 / math.log(2) / 5)
    for wrong in ((1.0, 0), (math.nan, 3), (math.inf, 3)):
        with pytest.raises(UsageError):
            bits_per_byte(*wrong)
    model = BytePatch(CONFIGS["plain"])
    with torch.no_grad():
        model.output.weight.zero_()
    assert measure_bits_per_byte(model, text(model.config, 2, 9)) == pytest.approx(8.0, abs=1e-5)


def test_mistakes_are_named() -> None:
    with pytest.raises(UsageError, match="longer"):
        noisy(CONFIGS["plain"])(text(CONFIGS["plain"], 1, 70))
    with pytest.raises(UsageError, match="multiples"):
        megabyte(3, 32, 16, (1, 1), (4, 2), 64)
    wrong = (Layer(GroupedQuery(2, 2, 4, rope=Rope()), FeedForward(8)),)
    with pytest.raises(UsageError, match="absolute positions"):
        BytePatchConfig(2, 4, 8, wrong, wrong, 20)
    cache, model = noisy(CONFIGS["plain"]).new_cache(), noisy(CONFIGS["plain"])
    with pytest.raises(UsageError, match="longer"):
        for _ in range(12):
            model(text(model.config, 1, 7), cache)
