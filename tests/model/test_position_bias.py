"""Position biases equal their formulas and transformers'."""

import math
import os

import pytest
import torch

from ownlm.errors import UsageError
from ownlm.model.absolute import Sinusoidal
from ownlm.model.attention.biased import Alibi, Biased, T5Bias, alibi_slopes
from ownlm.model.attention.transformer_xl import TransformerXL, sinusoids
from ownlm.model.place import Place, causal_mask
from ownlm.model.t5 import RelativeBuckets, buckets

os.environ.setdefault("HF_HUB_OFFLINE", "1")


def place(T: int) -> Place:
    positions = torch.arange(T)[None]
    return Place(positions, positions, causal_mask(T, torch.device("cpu")))


def noisy(module: torch.nn.Module) -> torch.nn.Module:
    g = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for w in module.parameters():
            w.copy_(torch.randn(w.shape, generator=g) * 0.4)
    return module.double()


def draw(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def test_the_sinusoidal_table_is_the_formula() -> None:
    found = Sinusoidal(64).build(10)(torch.arange(50)[None])[0]
    for pos in range(50):
        for i in range(5):
            angle = pos / 10000 ** (2 * i / 10)
            assert float(found[pos, 2 * i]) == pytest.approx(math.sin(angle), abs=1e-5)
            assert float(found[pos, 2 * i + 1]) == pytest.approx(math.cos(angle), abs=1e-5)
    torch.testing.assert_close(sinusoids(50, 10, found), found, rtol=0, atol=1e-5)


def test_alibi_slopes() -> None:
    assert alibi_slopes(8) == [2.0**-h for h in range(1, 9)]
    assert alibi_slopes(1) == [2.0**-8]
    assert alibi_slopes(6) == [2**-2, 2**-4, 2**-6, 2**-8, 2**-1, 2**-3]


@pytest.mark.parametrize("heads", [1, 2, 3, 4, 6, 7, 8, 12, 16, 20])
def test_alibi_is_transformers_up_to_a_constant_per_row(heads: int) -> None:
    from transformers.models.bloom.modeling_bloom import build_alibi_tensor

    T, at = 13, torch.arange(13)[None]
    theirs = build_alibi_tensor(torch.ones(1, T), heads, torch.float32).view(heads, 1, T)
    ours = Alibi().build(heads)(at, at)[0]
    lower = torch.ones(T, T).tril().bool()
    rest = (ours - theirs).masked_fill(~lower, float("nan"))
    torch.testing.assert_close(rest.nan_to_num(0), (rest[..., :1] * lower).nan_to_num(0), rtol=0, atol=1e-5)
    torch.testing.assert_close(ours[0, 5, 2], torch.tensor(-3 * alibi_slopes(heads)[0]))


@pytest.mark.parametrize(("number", "farthest"), [(32, 128), (8, 20), (7, 11), (64, 1000)])
@pytest.mark.parametrize("both", [True, False])
def test_t5_buckets_are_transformers(number: int, farthest: int, both: bool) -> None:
    from transformers.models.t5.modeling_t5 import T5Attention

    ahead = torch.arange(-1500, 1500)
    theirs = T5Attention._relative_position_bucket(ahead, both, number, farthest)
    assert torch.equal(buckets(ahead, RelativeBuckets(1, number, farthest, both)), theirs)


@pytest.mark.parametrize("kind", ["alibi", "t5"])
def test_biased_attention_is_its_formula(kind: str) -> None:
    H, K, C, D, T = 6, 2, 3, 8, 9
    spec = RelativeBuckets(H, 4, 7, bidirectional=False)
    module = noisy(Biased(H, K, C, Alibi() if kind == "alibi" else T5Bias(4, 7), scale=0.7).build(D, 0))
    x = draw(1, T, D)
    q, k, v = (m(x)[0].view(T, -1, C) for m in (module.q, module.k, module.v))
    rows = []
    for t in range(T):
        heads = []
        for h in range(H):
            bias = [-alibi_slopes(H)[h] * (t - j) if kind == "alibi" else module.position_bias.weight[int(buckets(torch.tensor(j - t), spec)), h] for j in range(t + 1)]  # fmt: skip
            p = torch.stack([0.7 * (q[t, h] @ k[j, h // 3]) + bias[j] for j in range(t + 1)]).softmax(0)
            heads.append(p @ v[: t + 1, h // 3])
        rows.append(module.o(torch.cat(heads)))
    torch.testing.assert_close(module(x, place(T)), torch.stack(rows)[None], rtol=0, atol=1e-12)
    with pytest.raises(UsageError, match="multiple"):
        Biased(4, 3, 8)


def test_transformer_xl_is_its_formula() -> None:
    H, C, D, T = 3, 4, 6, 8
    module = noisy(TransformerXL(H, C).build(D, 0))
    x = draw(1, T, D)
    q, k, v = (m(x)[0].view(T, H, C) for m in (module.q, module.k, module.v))
    rows = []
    for t in range(T):
        heads = []
        for h in range(H):
            scores = []
            for j in range(t + 1):
                d = torch.tensor([f((t - j) / 10000 ** (2 * i / D)) for i in range(D // 2) for f in (math.sin, math.cos)], dtype=torch.float64)  # fmt: skip
                r = module.r(d).view(H, C)[h]
                scores.append(((q[t, h] + module.content_bias[h]) @ k[j, h] + (q[t, h] + module.position_bias[h]) @ r) / 2)  # fmt: skip
            heads.append(torch.stack(scores).softmax(0) @ v[: t + 1, h])
        rows.append(module.o(torch.cat(heads)))
    torch.testing.assert_close(module(x, place(T)), torch.stack(rows)[None], rtol=0, atol=1e-12)
