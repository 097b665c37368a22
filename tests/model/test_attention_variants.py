"""Scaled dot-product and multi-head attention against torch; gated and differential attention against their formulas."""

import math

import pytest
import torch
import torch.nn.functional as F

from ownlm.errors import UsageError
from ownlm.model.attention.differential import Differential, lambda_init
from ownlm.model.attention.gated import Gated
from ownlm.model.attention.grouped import GroupedQuery
from ownlm.model.attention.multi_head import MultiHead
from ownlm.model.attention.scaled_dot_product import (
    attention,
    causal,
    entropy,
    padding,
    single_head,
    sink_mass,
)
from ownlm.model.hooks import hooked
from ownlm.model.place import Place, causal_mask


def place(T: int) -> Place:
    positions = torch.arange(T)[None]
    return Place(positions, positions, causal_mask(T, torch.device("cpu")))


def noisy(module: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for w in module.parameters():
            w.copy_(torch.randn(w.shape, generator=g, dtype=torch.float64) * 0.4)
    return module.double()


def draw(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("T", [1, 7])
def test_it_is_torchs_with_causal_and_padding_masks(T: int) -> None:
    q, k, v = draw(3, 2, T, 5), draw(3, 2, T, 5, seed=2), draw(3, 2, T, 4, seed=3)
    for mask in (None, causal(T), padding(torch.tensor([T, 1, max(1, T - 2)]), T), causal(T) & padding(torch.tensor([T, 1, 1]), T)):  # fmt: skip
        found, weights = attention(q, k, v, mask)
        torch.testing.assert_close(
            found, F.scaled_dot_product_attention(q, k, v, attn_mask=mask), rtol=0, atol=1e-12
        )
        torch.testing.assert_close(weights.sum(-1), torch.ones(3, 2, T, dtype=torch.float64))
        if mask is not None:
            assert not weights[~mask.expand_as(weights)].any()
    assert not attention(q, k, v, causal(T))[1].triu(1).any(), "no position attends to the future"


def test_a_row_that_sees_nothing_is_zero_and_has_no_nan_gradient() -> None:
    q, k, v = (draw(1, 1, 4, 3, seed=s).requires_grad_() for s in (1, 2, 3))
    mask = padding(torch.tensor([0]), 4)
    out, _ = attention(q, k, v, mask)
    assert not out.any()
    assert all(torch.isfinite(g).all() for g in torch.autograd.grad(out.sum(), (q, k, v)))
    with pytest.raises(UsageError, match="truth"):
        attention(q, k, v, torch.zeros(4, 4))
    with pytest.raises(UsageError):
        causal(5, 4)


def test_single_head() -> None:
    x, q, k, v = draw(2, 6, 8), draw(8, 4, seed=2), draw(8, 4, seed=3), draw(8, 3, seed=4)
    out, weights = single_head(x, q, k, v, causal(6))
    for i in range(6):
        p = torch.stack([(x[0, i] @ q) @ (x[0, j] @ k) / 2 for j in range(i + 1)]).softmax(0)
        torch.testing.assert_close(weights[0, i, : i + 1], p)
        torch.testing.assert_close(out[0, i], p @ (x[0, : i + 1] @ v))


@pytest.mark.parametrize(("width", "heads", "bias"), [(12, 3, True), (8, 1, False), (6, 6, True)])
def test_multi_head_is_torchs(width: int, heads: int, bias: bool) -> None:
    ours = noisy(MultiHead(width, heads, bias))
    theirs = torch.nn.MultiheadAttention(width, heads, bias=bias, batch_first=True, dtype=torch.float64)
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.cat([m.weight for m in (ours.q, ours.k, ours.v)]))
        theirs.out_proj.weight.copy_(ours.o.weight)
        if bias:
            theirs.in_proj_bias.copy_(torch.cat([m.bias for m in (ours.q, ours.k, ours.v)]))
            theirs.out_proj.bias.copy_(ours.o.bias)
    x = draw(2, 9, width)
    for mask in (None, causal(9)):
        out, weights = theirs(x, x, x, attn_mask=None if mask is None else ~mask, average_attn_weights=False)
        found = ours(x, mask)
        torch.testing.assert_close(found.out, out, rtol=0, atol=1e-12)
        torch.testing.assert_close(found.weights, weights, rtol=0, atol=1e-12)
        torch.testing.assert_close(found.entropy, entropy(weights))
    with pytest.raises(UsageError):
        MultiHead(10, 4)


@pytest.mark.parametrize("gate", ["element", "head"])
def test_gated_attention_is_its_formula(gate: str) -> None:
    H, K, C, D, T = 4, 2, 3, 8, 7
    module = noisy(Gated(H, K, C, gate=gate).build(D, 0))  # type: ignore[arg-type]
    x = draw(1, T, D)
    q, k, v = ((m(x)[0]).view(T, -1, C) for m in (module.q, module.k, module.v))
    gates = 1 / (1 + torch.exp(-module.gate(x)[0]))  # [T, H*C or H]
    gates = gates.view(T, H, C) if gate == "element" else gates[..., None]
    rows = []
    for t in range(T):
        heads = []
        for h in range(H):
            p = torch.stack([q[t, h] @ k[j, h // 2] / math.sqrt(C) for j in range(t + 1)]).softmax(0)
            heads.append(gates[t, h] * (p @ v[: t + 1, h // 2]))
        rows.append(module.o(torch.cat(heads)))
    torch.testing.assert_close(module(x, place(T)), torch.stack(rows)[None], rtol=0, atol=1e-12)


@pytest.mark.parametrize("layer", [0, 3])
def test_differential_attention_is_its_formula(layer: int) -> None:
    H, K, C, D, T = 4, 2, 3, 8, 7
    module = noisy(Differential(H, K, C).build(D, layer))
    x = draw(1, T, D)
    q, k, v = (
        module.q(x)[0].view(T, H, 2, C),
        module.k(x)[0].view(T, K, 2, C),
        module.v(x)[0].view(T, K, 2 * C),
    )
    start = 0.8 - 0.6 * math.exp(-0.3 * ((layer + 1) - 1))
    w = module.weight_of_second
    lam = math.exp(float(w.q1 @ w.k1)) - math.exp(float(w.q2 @ w.k2)) + start
    rows = []
    for t in range(T):
        heads = []
        for h in range(H):
            p1, p2 = (torch.stack([q[t, h, s] @ k[j, h // 2, s] / math.sqrt(C) for j in range(t + 1)]).softmax(0) for s in (0, 1))  # fmt: skip
            head = (p1 - lam * p2) @ v[: t + 1, h // 2]
            head = head / torch.sqrt(head.square().mean() + 1e-5) * module.head_norm.weight
            heads.append((1 - start) * head)
        rows.append(module.o(torch.cat(heads)))
    torch.testing.assert_close(module(x, place(T)), torch.stack(rows)[None], rtol=0, atol=1e-12)
    assert lambda_init(0) == pytest.approx(0.2)


def test_what_both_softmaxes_agree_on_cancels_and_the_sink_is_measured() -> None:
    """Equal halves with lambda 0.5: half the mass of the plain baseline on every key, the first among them."""
    T, D, C = 12, 8, 4
    plain, module = noisy(GroupedQuery(2, 2, C).build(D, 0)), noisy(Differential(2, 2, C).build(D, 0))
    with torch.no_grad():
        for name in ("q", "k"):
            half = getattr(plain, name).weight.view(2, 1, C, D)
            getattr(module, name).weight.copy_(half.expand(2, 2, C, D).reshape(-1, D))
        for w in module.weight_of_second.parameters():
            w.zero_()
    module.weight_of_second.start = 0.5
    seen: dict[str, torch.Tensor] = {}
    x = draw(1, T, D)
    for name, mixer in (("plain", plain), ("differential", module)):
        with hooked(mixer, {"pattern": lambda p, name=name: seen.__setitem__(name, p)}):
            mixer(x, place(T))
    torch.testing.assert_close(sink_mass(seen["differential"]), 0.5 * sink_mass(seen["plain"]))
    torch.testing.assert_close(sink_mass(seen["plain"]), seen["plain"][..., 1:, 0].mean(-1))
    with pytest.raises(UsageError):
        sink_mass(torch.ones(1, 1, 1))
