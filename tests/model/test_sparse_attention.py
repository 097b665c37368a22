"""Sparse patterns equal their definition; the blocked path equals the masked one at linear cost."""

import math
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from ownlm.errors import UsageError
from ownlm.model.architecture import Architecture
from ownlm.model.attention.biased import Biased
from ownlm.model.attention.clustered import Routing, clustered_attention, clustered_mask
from ownlm.model.attention.moba import BlockMixture, attend_chosen, choose
from ownlm.model.attention.scaled_dot_product import attention
from ownlm.model.attention.sparse import (
    BigBird,
    Blockwise,
    Longformer,
    Sparse,
    blocked_attention,
    pattern_mask,
)
from ownlm.model.blocks import Layer
from ownlm.model.decoder import Decoder
from ownlm.model.layers import FeedForward
from ownlm.model.place import Place
from ownlm.model.position import Rope

PATTERNS = {
    "longformer": Longformer(5, num_global=3, block=4),
    "longformer-local": Longformer(9, block=4),
    "longformer-one": Longformer(1, num_global=1, block=3),
    "longformer-globals-meet-window": Longformer(6, num_global=9, block=2),
    "bigbird": BigBird(3, 2, 1, 2, seed=5),
    "bigbird-no-global": BigBird(4, 1, 0, 3),
    "bigbird-local": BigBird(2, 3, 2, 0),
    "blockwise": Blockwise(5),
    "blockwise-before": Blockwise(4, before=2),
    "one-block": Blockwise(100),
}
every = pytest.mark.parametrize("name", PATTERNS)


def qkv(T: int, H: int = 4, K: int = 2, C: int = 6, seed: int = 0) -> list[torch.Tensor]:
    g = torch.Generator().manual_seed(seed)
    return [torch.randn(2, n, T, C, generator=g, dtype=torch.float64, requires_grad=True) for n in (H, K, K)]


@every
@pytest.mark.parametrize("T", [1, 4, 29])
def test_the_blocked_path_is_the_masked_one(name: str, T: int) -> None:
    pattern = PATTERNS[name]
    q, k, v = qkv(T)
    found = blocked_attention(q, k, v, pattern, 0.3)
    expected, _ = attention(
        q, k.repeat_interleave(2, 1), v.repeat_interleave(2, 1), pattern_mask(pattern, T), 0.3
    )
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    for a, b in zip(torch.autograd.grad(found.square().sum(), (q, k, v)), torch.autograd.grad(expected.square().sum(), (q, k, v)), strict=True):  # fmt: skip
        torch.testing.assert_close(a, b, rtol=0, atol=1e-11)


@every
def test_every_token_sees_itself_and_none_ahead(name: str) -> None:
    mask = pattern_mask(PATTERNS[name], 41)
    assert mask.diagonal().all() and not mask.triu(1).any()
    assert torch.equal(pattern_mask(PATTERNS[name], 23), mask[:23, :23]), "a longer text changes nothing"


def test_longformer_by_hand() -> None:
    mask = pattern_mask(Longformer(3, num_global=2, block=4), 20)
    for i in range(20):
        assert {j for j in range(20) if mask[i, j]} == {j for j in range(i + 1) if j < 2 or i - j <= 2}


def test_blockwise_by_hand() -> None:
    mask = pattern_mask(Blockwise(4, before=1), 19)
    for i in range(19):
        assert {j for j in range(19) if mask[i, j]} == set(range(max(0, i // 4 * 4 - 4), i + 1))


def test_bigbird_by_hand() -> None:
    pattern, blocks = BigBird(3, 2, 1, 2, seed=5), 20
    mask = pattern_mask(pattern, 3 * blocks)
    drawn = []
    for n in range(blocks):
        row = mask[3 * n + 2].view(blocks, 3)
        assert torch.equal(row.any(1), row.all(1)), "whole blocks, seen from the last token of one"
        seen = {b for b in range(blocks) if row[b].any()}
        fixed = {0, n, max(0, n - 1)}
        assert fixed <= seen
        assert len(seen - fixed) == min(2, max(0, n - 2))
        drawn.append(tuple(sorted(seen - fixed)))
    assert len(set(drawn[8:])) > 6, "not the same blocks for all"
    assert not torch.equal(mask, pattern_mask(BigBird(3, 2, 1, 2, seed=6), 3 * blocks))
    assert torch.equal(mask, pattern_mask(BigBird(3, 2, 1, 2, seed=5), 3 * blocks))


@pytest.mark.parametrize("name", ["longformer", "bigbird", "blockwise-before"])
def test_the_cost_is_linear(name: str) -> None:
    pattern = PATTERNS[name]
    computed = {T: pattern.key_blocks(T // pattern.block).numel() * pattern.block**2 for T in (480, 960)}
    assert computed[960] == 2 * computed[480] < 960 * 960 / 8
    # The blocks are not merely few, they are needed: each is seen, none twice.
    blocks = pattern.key_blocks(40)
    for n, row in enumerate(blocks.tolist()):
        there = [b for b in row if b >= 0]
        assert len(there) == len(set(there)) and max(there) == n


def test_moba_is_its_formula() -> None:
    spec = BlockMixture(4, 2, 6, block=5, num_chosen=3)
    q, k, v = qkv(33)
    found = attend_chosen(q, k, v, choose(q, k, spec), 5)
    for b in range(2):
        for h in range(4):
            key, value = k[b, h // 2], v[b, h // 2]
            for t in range(33):
                own = t // 5
                gate = {n: float((q[b, h, t] @ key[5 * n : 5 * n + 5].mean(0)).detach()) for n in range(own)}
                chosen = sorted(gate, key=lambda n: -gate[n])[:2] + [own]
                seen = [j for n in chosen for j in range(5 * n, 5 * n + 5) if j <= t]
                p = (key[seen] @ q[b, h, t] * 6**-0.5).softmax(0)
                torch.testing.assert_close(found[b, h, t], p @ value[seen], rtol=0, atol=1e-12)


def test_moba_with_all_blocks_is_full_attention() -> None:
    q, k, v = qkv(23)
    spec = BlockMixture(4, 2, 6, block=4, num_chosen=6)
    expected, _ = attention(
        q, k.repeat_interleave(2, 1), v.repeat_interleave(2, 1), torch.ones(23, 23).tril().bool()
    )
    torch.testing.assert_close(attend_chosen(q, k, v, choose(q, k, spec), 4), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("T", "clusters", "reach"), [(1, 1, 1), (29, 3, 4), (24, 1, 6), (17, 5, 100), (13, 4, 1)]
)
def test_clustered_attention_is_its_formula(T: int, clusters: int, reach: int) -> None:
    D, H, C = 6, 2, 4
    module = Routing(H, C, clusters, reach).build(D, 0)
    g = torch.Generator().manual_seed(3)
    module.clusters.initialize(g)
    module.double().eval()
    for weight in module.parameters():
        weight.data.normal_(generator=g)
    x = torch.randn(1, T, D, generator=g, dtype=torch.float64)
    k, v = module.k(x)[0].view(T, H, C), module.v(x)[0].view(T, H, C)
    k = (k - k.mean(-1, keepdim=True)) / torch.sqrt(k.var(-1, unbiased=False, keepdim=True) + 1e-5)
    out = torch.zeros(T, H, C, dtype=torch.float64)
    for h in range(H):
        cluster = [max(range(clusters), key=lambda n: float(module.clusters.centroids[h, n] @ k[t, h].detach())) for t in range(T)]  # fmt: skip
        for i in range(T):
            seen = [j for j in range(i + 1) if cluster[j] == cluster[i]][-reach:]
            out[i, h] = (k[seen, h] @ k[i, h] / math.sqrt(C)).softmax(0) @ v[seen, h]
    found = module(x, Place(torch.arange(T)[None], torch.arange(T)[None], None))
    torch.testing.assert_close(found[0], module.o(out.flatten(1)), rtol=0, atol=1e-12)


@pytest.mark.parametrize("reach", [1, 5, 64])
def test_the_clusters_band_is_the_masked_square(reach: int) -> None:
    q, k, v = qkv(41, 3, 3)
    cluster = torch.randint(0, 4, (2, 3, 41), generator=torch.Generator().manual_seed(1))
    found = clustered_attention(q, k, v, cluster, reach)
    expected, _ = attention(q, k, v, clustered_mask(cluster, reach), 1.0)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    for a, b in zip(torch.autograd.grad(found.square().sum(), (q, k, v)), torch.autograd.grad(expected.square().sum(), (q, k, v)), strict=True):  # fmt: skip
        torch.testing.assert_close(a, b, rtol=0, atol=1e-11)


def test_centroids_go_to_the_means_of_their_tokens_in_training_only() -> None:
    clusters = Routing(1, 2, 3, 4, decay=0.9).build(8, 0).clusters
    clusters.centroids.copy_(torch.tensor([[[1.0, 0.0], [0.0, 1.0], [-9.0, -9.0]]]))
    r = torch.tensor([[[[2.0, 0.0], [4.0, 1.0], [0.0, 3.0]]]])
    clusters.eval()
    assert clusters(r).tolist() == [[[0, 0, 1]]] and clusters.centroids[0, 0].tolist() == [1.0, 0.0]
    clusters.train()
    clusters(r)
    expected = torch.tensor([[[0.9 + 0.3, 0.05], [0.0, 0.9 + 0.3], [-9.0, -9.0]]])
    torch.testing.assert_close(clusters.centroids, expected)
    for _ in range(200):
        clusters(r)
    torch.testing.assert_close(clusters.centroids[0, :2], torch.tensor([[3.0, 0.5], [0.0, 3.0]]))


class Largest(TorchDispatchMode):
    """Numbers in the largest tensor that any operation gives."""

    numbers = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for one in out if isinstance(out, tuple | list) else (out,):
            self.numbers = max(self.numbers, one.numel() if isinstance(one, torch.Tensor) else 0)
        return out


@pytest.mark.parametrize("kind", ["longformer", "bigbird", "blockwise", "clustered", "square"])
def test_the_largest_tensor_of_a_model_grows_with_its_length_only(kind: str) -> None:
    pattern = {
        "longformer": Longformer(16, 4, 8),
        "bigbird": BigBird(8, 2, 1, 1),
        "blockwise": Blockwise(16, 1),
    }.get(kind)
    mixer = (
        Sparse(2, 2, 4, pattern)
        if pattern
        else Routing(2, 4, 4, 16)
        if kind == "clustered"
        else Biased(2, 2, 4)
    )
    model = Decoder(Architecture(7, 8, (Layer(mixer, FeedForward(8)),), 4096))
    sizes = []
    for T in (1024, 2048):  # longer than the texts for which the decoder itself makes a square mask
        with Largest() as largest:
            model(torch.zeros(1, T, dtype=torch.long)).sum().backward()
        sizes.append(largest.numbers)
    if kind == "square":
        assert sizes[1] == 4 * sizes[0], "the measure sees a square"
    else:
        assert sizes[1] == 2 * sizes[0] < 2048 * 2048 / 8


@pytest.mark.parametrize("name", ["longformer", "bigbird", "blockwise-before"])
def test_a_first_chunk_and_later_ones_in_a_cache(name: str) -> None:
    plan = Architecture(
        97, 32, (Layer(Sparse(4, 2, 8, PATTERNS[name], rope=Rope()), FeedForward(48)),) * 2, 64
    )  # type: ignore[arg-type]
    model, ids = Decoder(plan, seed=2).eval(), torch.arange(40)[None]
    cache = model.new_cache()
    with torch.no_grad():
        parts = [model(ids[:, a:b], cache) for a, b in ((0, 19), (19, 31), (31, 32), (32, 40))]
        torch.testing.assert_close(torch.cat(parts, 1), model(ids), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("make", [lambda: Longformer(0), lambda: Longformer(3, -1), lambda: BigBird(0), lambda: BigBird(2, num_random=-1),
                                  lambda: Blockwise(0), lambda: Blockwise(2, -1), lambda: BlockMixture(4, 2, 8, block=4, num_chosen=0),
                                  lambda: Routing(2, 8, 300, 4), lambda: Routing(2, 8, 0, 4), lambda: Routing(2, 8, 4, 0)])  # fmt: skip
def test_impossible_sizes_are_refused(make: Any) -> None:
    with pytest.raises(UsageError):
        make()
