"""Positions beside rotation: each table and bias equals its formula and, where transformers has it, transformers'."""

import math

import pytest
import torch

from ownlm.errors import UsageError
from ownlm.model.absolute import Learned, Sinusoidal
from ownlm.model.architecture import Architecture
from ownlm.model.attention.biased import Alibi, Biased, BiasedAttention, T5Bias, alibi_slopes
from ownlm.model.attention.grouped import GroupedQuery
from ownlm.model.attention.transformer_xl import RelativeAttention, TransformerXL
from ownlm.model.blocks import Layer
from ownlm.model.decoder import Decoder
from ownlm.model.layers import FeedForward
from ownlm.model.place import Place
from ownlm.model.position import Rope
from ownlm.model.t5 import RelativeBuckets, buckets


def whole_text(T: int) -> Place:
    at = torch.arange(T)[None]
    return Place(at, at, None)


def noisy(module: torch.nn.Module, seed: int = 3) -> torch.nn.Module:
    random = torch.Generator().manual_seed(seed)
    for weight in module.parameters():
        weight.data = torch.randn(weight.shape, generator=random, dtype=torch.float64) * 0.5
    return module


@pytest.mark.parametrize(("T", "D"), [(1, 2), (37, 6), (5, 64)])
def test_sinusoids_are_the_formula(T: int, D: int) -> None:
    table = Sinusoidal(64).build(D)(torch.arange(T)[None])[0]
    for position in range(T):
        for i in range(D // 2):
            angle = position / 10000 ** (2 * i / D)
            assert table[position, 2 * i].item() == pytest.approx(math.sin(angle), abs=5e-6)
            assert table[position, 2 * i + 1].item() == pytest.approx(math.cos(angle), abs=5e-6)


def plain(positions: Learned | Sinusoidal | None, max_positions: int = 16, width: int = 32) -> Architecture:
    layer = Layer(GroupedQuery(2, 2, width // 2), FeedForward(48))
    return Architecture(97, width, (layer,) * 2, max_positions, positions=positions)


@pytest.mark.parametrize("spec", [Learned(16), Learned(16, offset=2), Sinusoidal(16)])
def test_the_decoder_adds_them_to_the_embedding(spec: Learned | Sinusoidal) -> None:
    model, ids = Decoder(plain(spec)).eval(), torch.arange(9)[None]
    assert model.num_parameters() == sum(p.numel() for p in model.parameters())
    first: list[torch.Tensor] = []
    model.blocks[0].register_forward_pre_hook(lambda _, args: first.append(args[0]))
    with torch.no_grad():
        expected = model(ids)
        if isinstance(spec, Learned):
            rows = model.get_parameter("positions.table.weight")[spec.offset : spec.offset + 9]
        else:
            rows = torch.tensor([[f(p / 10000 ** (i / 32)) for i in range(0, 32, 2) for f in (math.sin, math.cos)]
                                 for p in range(9)])  # fmt: skip
        torch.testing.assert_close(first[0][0], model.embedding.weight[:9] + rows, rtol=0, atol=1e-5)
        cache = model.new_cache()
        steps = torch.cat([model(ids[:, t : t + 1], cache) for t in range(9)], dim=1)
        torch.testing.assert_close(steps, expected, rtol=1e-4, atol=1e-5)
        assert model(torch.zeros(1, 16, dtype=torch.long)).shape == (1, 16, 97)
        with pytest.raises(UsageError, match="longer than the model"):
            model(torch.zeros(1, 17, dtype=torch.long))
        assert model.to(torch.bfloat16)(ids).dtype == torch.bfloat16


def test_positions_that_end_too_early_or_have_no_pairs_are_refused() -> None:
    with pytest.raises(UsageError, match="end before the longest sequence"):
        plain(Learned(15))
    with pytest.raises(UsageError, match="even width"):
        Sinusoidal(4).build(7)


@pytest.mark.parametrize("H", [1, 2, 3, 5, 6, 8, 12, 16, 20, 71])
def test_alibi_slopes_are_blooms(H: int) -> None:
    bloom = pytest.importorskip("transformers.models.bloom.modeling_bloom")
    T = 7
    theirs = bloom.build_alibi_tensor(torch.ones(1, T), H, torch.float32).view(H, T)  # slope * j
    mine = Alibi().build(H)(torch.tensor([[T - 1]]), torch.arange(T)[None])[0, :, 0]
    torch.testing.assert_close(mine - mine[:, :1], theirs - theirs[:, :1], rtol=1e-5, atol=1e-6)
    assert len(alibi_slopes(H)) == H
    if H & (H - 1) == 0:
        assert alibi_slopes(H) == [2 ** (-8 * (h + 1) / H) for h in range(H)]


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize(("N", "farthest"), [(32, 128), (8, 20), (12, 50), (6, 9)])
def test_t5_buckets_are_transformers(N: int, farthest: int, bidirectional: bool) -> None:
    t5 = pytest.importorskip("transformers.models.t5.modeling_t5")
    ahead = torch.arange(-300, 301)
    theirs = t5.T5Attention._relative_position_bucket(ahead, bidirectional, N, farthest)
    assert torch.equal(buckets(ahead, RelativeBuckets(1, N, farthest, bidirectional)), theirs)


def bias_at(module: BiasedAttention, h: int, back: int) -> float:
    if isinstance(module.spec.bias, Alibi):
        return -alibi_slopes(module.spec.num_heads)[h] * back
    spec = RelativeBuckets(
        1, module.spec.bias.num_buckets, module.spec.bias.max_distance, bidirectional=False
    )
    return float(module.position_bias.weight[buckets(torch.tensor(-back), spec), h])


@pytest.mark.parametrize("spec", [Biased(3, 1, 4), Biased(1, 1, 2), Biased(4, 2, 4, T5Bias(8, 12), scale=1.0),
                                  Biased(2, 2, 4, T5Bias(), window=3), Biased(6, 3, 4, Alibi(), window=1)])  # fmt: skip
@pytest.mark.parametrize("T", [1, 11])
def test_biased_attention_is_the_loop_over_its_formula(spec: Biased, T: int) -> None:
    D, H, G, C = 6, spec.num_heads, spec.num_heads // spec.num_kv_heads, spec.head_dim
    module = noisy(spec.build(D, 0))
    assert isinstance(module, BiasedAttention)
    x = torch.randn(1, T, D, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    at = torch.arange(T)[None]
    back = at[0, :, None] - at[0]
    mask = None if spec.window is None else ((back >= 0) & (back < spec.window))[None, None]
    q, k, v = (m(x)[0] for m in (module.q, module.k, module.v))
    out = torch.zeros(T, H * C, dtype=torch.float64)
    scale = C**-0.5 if spec.scale is None else spec.scale
    for h in range(H):
        g = h // G
        for i in range(T):
            first = 0 if spec.window is None else max(0, i - spec.window + 1)
            scores = [float(scale * q.detach()[i, h * C : (h + 1) * C] @ k[j, g * C : (g + 1) * C]) + bias_at(module, h, i - j)
                      for j in range(first, i + 1)]  # fmt: skip
            e = [math.exp(s) for s in scores]
            for j, weight in enumerate(e, start=first):
                out[i, h * C : (h + 1) * C] += weight / sum(e) * v[j, g * C : (g + 1) * C]
    torch.testing.assert_close(module(x, Place(at, at, mask))[0], module.o(out), rtol=0, atol=1e-6)


@pytest.mark.parametrize(("H", "C", "T"), [(1, 2, 1), (3, 4, 9)])
def test_transformer_xl_is_the_loop_over_its_formula(H: int, C: int, T: int) -> None:
    D = 6
    module = noisy(TransformerXL(H, C).build(D, 0))
    assert isinstance(module, RelativeAttention)
    x = torch.randn(1, T, D, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    q, k, v = (m(x)[0].view(T, H, C) for m in (module.q, module.k, module.v))
    out = torch.zeros(T, H, C, dtype=torch.float64)
    for h in range(H):
        u, w = module.content_bias[h], module.position_bias[h]
        for i in range(T):
            scores = []
            for j in range(i + 1):
                wave = [f((i - j) / 10000 ** (n / D)) for n in range(0, D, 2) for f in (math.sin, math.cos)]
                r = (module.r.weight @ torch.tensor(wave, dtype=torch.float64)).view(H, C)[h]
                scores.append(((q[i, h] + u) @ k[j, h] + (q[i, h] + w) @ r) / math.sqrt(C))
            out[i, h] = torch.stack(scores).softmax(0) @ v[: i + 1, h]
    torch.testing.assert_close(module(x, whole_text(T))[0], module.o(out.view(T, -1)), rtol=0, atol=1e-10)


def mixed(*mixers: object) -> Decoder:
    layers = tuple(Layer(m, FeedForward(48)) for m in mixers)  # type: ignore[arg-type]
    model = Decoder(Architecture(97, 32, layers, 64), seed=4)
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(8.0 if weight.ndim > 1 else 1.0)
    return model.eval()


RELATIVE = {"alibi": Biased(4, 2, 8), "t5": Biased(4, 2, 8, T5Bias(8, 16)), "transformer-xl": TransformerXL(4, 8),
            "rope": GroupedQuery(4, 2, 8, Rope())}  # fmt: skip


@pytest.mark.parametrize("name", RELATIVE)
def test_only_distances_matter_to_relative_positions(name: str) -> None:
    model = mixed(RELATIVE[name])
    ids = torch.randint(0, 97, (1, 12), generator=torch.Generator().manual_seed(0))
    if name == "t5":
        with torch.no_grad():
            model.blocks[0].mixer.position_bias.weight.normal_(generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        near, far = model(ids), model(ids, positions=torch.arange(40, 52)[None])
        torch.testing.assert_close(near, far, rtol=0, atol=2e-3)
        spread = model(ids, positions=2 * torch.arange(12)[None])
        assert (near - spread).abs().max() > 1e-2, "distances matter"


def test_without_positions_one_layer_sees_a_set_and_interleaved_layers_do_not() -> None:
    """NoPE: the last token cannot tell the order of those before it in one layer; with a rotation beneath it can."""
    none, rope = GroupedQuery(4, 2, 8), GroupedQuery(4, 2, 8, Rope(), window=8)
    ids = torch.randint(0, 97, (1, 12), generator=torch.Generator().manual_seed(0))
    other = torch.cat((ids[:, :11].flip(1), ids[:, 11:]), dim=1)
    with torch.no_grad():
        set_only, irope = mixed(none), mixed(rope, none)
        torch.testing.assert_close(set_only(ids)[:, -1], set_only(other)[:, -1], rtol=0, atol=1e-3)
        assert (irope(ids)[:, -1] - irope(other)[:, -1]).abs().max() > 1e-1


@pytest.mark.parametrize("name", ["alibi", "t5", "none", "transformer-xl"])
def test_kinds_without_a_table_go_beyond_the_stated_length(name: str) -> None:
    model = mixed(RELATIVE.get(name, GroupedQuery(4, 2, 8)))
    ids = torch.randint(0, 97, (1, 80), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.isfinite(model(ids)).all()


@pytest.mark.parametrize("wrong", [{"num_kv_heads": 3}, {"num_heads": 0}, {"head_dim": 0}])
def test_impossible_sizes_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(UsageError):
        Biased(**({"num_heads": 4, "num_kv_heads": 2, "head_dim": 8} | wrong))
    with pytest.raises(UsageError, match="buckets"):
        T5Bias(1, 8)
