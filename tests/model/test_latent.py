"""Latent attention: equal to its formula and to transformers, absorbed = expanded, a cache of the paper's size."""

import math

import pytest
import torch
from torch import Tensor

from ownlm.errors import UsageError
from ownlm.model.architecture import Architecture
from ownlm.model.attention.grouped import GroupedQuery
from ownlm.model.attention.latent import Latent, LatentAttention
from ownlm.model.blocks import Layer
from ownlm.model.decoder import Decoder
from ownlm.model.hooks import hooked
from ownlm.model.layers import FeedForward
from ownlm.model.place import Place, causal_mask
from ownlm.model.position import RotaryTable

SPECS = {
    "plain": Latent(4, 12, 8, 4, 6),
    "low-rank-q": Latent(3, 10, 6, 2, 8, q_rank=14, bias=True),
    "one-head": Latent(1, 5, 3, 6, 2),
    "no-rotation": Latent(2, 9, 4, 4, 7, rope=None),
    "own-scale": Latent(2, 16, 4, 2, 4, scale=0.9),
    "pairs": Latent(2, 9, 4, 8, 7, interleaved=True),
}


def place(spec: Latent, time: int) -> Place:
    positions = torch.arange(time)[None]
    turns = (None, None) if spec.rope is None else RotaryTable(spec.rope, spec.rope_dim, 64)(positions)
    return Place(positions, positions, causal_mask(time, positions.device), *turns)


def layer(spec: Latent) -> LatentAttention:
    made, generator = spec.build(20, 0), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in made.parameters():
            weight.copy_(0.4 * torch.randn(weight.shape, generator=generator))
    return made.eval()


def text(batch: int, time: int) -> Tensor:
    return torch.randn(batch, time, 20, generator=torch.Generator().manual_seed(1))


def normed(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    return x / (x.square().mean() + eps).sqrt() * weight


def turned(x: Tensor, position: int, spec: Latent) -> Tensor:
    """Rotation of R numbers, pair by pair."""
    if spec.rope is None:
        return x
    out, half = x.clone(), len(x) // 2
    for i in range(half):
        angle = position * spec.rope.theta ** (-2 * i / len(x))
        first, second = (2 * i, 2 * i + 1) if spec.interleaved else (i, i + half)
        a, b = x[first], x[second]
        out[first], out[second] = (
            a * math.cos(angle) - b * math.sin(angle),
            b * math.cos(angle) + a * math.sin(angle),
        )
    return out


def naive(made: LatentAttention, x: Tensor) -> Tensor:
    """The paper's equations 9 to 19 for one row x [T, D], head by head and token by token, in float64."""
    spec = made.spec
    w = {name: weight.double() for name, weight in made.named_parameters()}

    def linear(name: str, vector: Tensor) -> Tensor:
        return w[f"{name}.weight"] @ vector + w.get(f"{name}.bias", torch.zeros(()))

    q, k, v = [], [], []
    for t, token in enumerate(x.double()):
        source = token if spec.q_rank is None else normed(linear("q_down", token), w["q_norm.weight"], 1e-6)
        c = normed(linear("kv_down", token), w["kv_norm.weight"], 1e-6)
        shared = turned(linear("k_rope", token), t, spec)
        heads = linear("q", source).view(spec.num_heads, -1)
        q.append([torch.cat((h[: spec.nope_dim], turned(h[spec.nope_dim :], t, spec))) for h in heads])
        k.append([torch.cat((h, shared)) for h in linear("k_up", c).view(spec.num_heads, -1)])
        v.append(list(linear("v_up", c).view(spec.num_heads, -1)))
    out = []
    for t in range(len(x)):
        heads = []
        for h in range(spec.num_heads):
            scale = spec.scale or (spec.nope_dim + spec.rope_dim) ** -0.5
            weights = torch.stack([q[t][h] @ k[s][h] * scale for s in range(t + 1)]).softmax(0)
            heads.append(sum(weights[s] * v[s][h] for s in range(t + 1)))
        out.append(linear("o", torch.cat(heads)))
    return torch.stack(out)


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize("time", [1, 9])
def test_it_is_the_formula(name: str, time: int) -> None:
    made, x = layer(SPECS[name]), text(2, time)
    with torch.no_grad():
        found = made(x, place(made.spec, time))
        for b in range(2):
            torch.testing.assert_close(found[b].double(), naive(made, x[b]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize("time", [1, 7, 30])
def test_absorbed_equals_expanded_with_gradients(name: str, time: int) -> None:
    made, x = layer(SPECS[name]), text(2, time)
    here, results = place(made.spec, time), []
    for form in (made.absorbed, made.expanded):
        made.zero_grad()
        out = made.written(form(*made.queries(made.narrow(x), here), *made.kept(x, here), here))
        out.square().sum().backward()
        results.append(
            [out.detach(), *(weight.grad.clone() for weight in made.parameters() if weight.grad is not None)]
        )
    assert len(results[0]) == len(results[1]) == 1 + len(list(made.parameters()))
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)


def test_the_cheaper_form_runs() -> None:
    made = Latent(16, 512, 128, 64, 128).build(64, 0)
    assert made.absorbing_is_cheaper(1, 4000), "decoding"
    assert not made.absorbing_is_cheaper(4000, 4000), "training and prefill"


def test_a_watched_pattern_is_the_same_in_both_forms_and_changes_nothing() -> None:
    model = Decoder(Architecture(97, 32, (Layer(SPECS["plain"], FeedForward(16)),), 64)).eval()
    ids, seen = torch.arange(20)[None], []
    with torch.no_grad():
        expected = model(ids)
        with hooked(model, {"blocks.0.mixer.pattern": seen.append}):
            torch.testing.assert_close(model(ids), expected)
            cache = model.new_cache()
            for t in range(20):
                model(ids[:, t : t + 1], cache)
    assert seen[0].shape == (1, 4, 20, 20)
    torch.testing.assert_close(torch.ones(1, 4, 20), seen[0].sum(-1))
    for t in range(20):
        torch.testing.assert_close(seen[1 + t][:, :, 0], seen[0][:, :, t, : t + 1], rtol=1e-3, atol=1e-4)


def test_the_cache_has_the_size_that_the_paper_gives() -> None:
    """Table 1: (d_c + d_R) l = 4.5 d_h l numbers per token against 2 n_h d_h l of multi-head attention."""
    latent, heads = Latent(128, 512, 128, 64, 128, q_rank=1536), GroupedQuery(128, 128, 128)
    assert latent.cache_bytes_per_token(2) == (512 + 64) * 2 == 4.5 * 128 * 2
    assert heads.cache_bytes_per_token(2) / latent.cache_bytes_per_token(2) > 56
    small = Latent(16, 512, 128, 64, 128)  # V2-Lite
    assert GroupedQuery(16, 16, 192).cache_bytes_per_token() / small.cache_bytes_per_token() > 10


def test_impossible_widths_are_refused() -> None:
    for sizes in ((0, 8, 8, 4, 8), (2, 8, 8, 3, 8), (2, 8, 0, 4, 8)):
        with pytest.raises(UsageError):
            Latent(*sizes)
