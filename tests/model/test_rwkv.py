"""RWKV-4 to 7: the papers' recurrences as loops, stable under extreme keys, and transformers' RWKV both ways."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from portions import built, random, whole
from torch import Tensor

from ownlm.errors import ArtifactError, UsageError
from ownlm.model.architecture import Architecture
from ownlm.model.blocks import Layer
from ownlm.model.decoder import Decoder
from ownlm.model.layers import Norm
from ownlm.model.recurrent import chunked
from ownlm.model.recurrent.rwkv import ChannelMix, TimeMix, wkv
from ownlm.model.recurrent.rwkv7 import GooseTimeMix
from ownlm.model.recurrent.rwkv_matrix import MatrixTimeMix


def before(x: Tensor) -> Tensor:
    return torch.cat((torch.zeros_like(x[:, :1]), x[:, :-1]), dim=1)


def heads(x: Tensor, num_heads: int) -> Tensor:
    return x.unflatten(-1, (num_heads, -1)).transpose(1, 2)


def group_norm(x: Tensor, norm: Any, num_heads: int, eps: float) -> Tensor:
    """[B, H, T, C] -> [B, T, H*C], each head of each token on its own."""
    white = (x - x.mean(-1, keepdim=True)) / (x.var(-1, unbiased=False, keepdim=True) + eps).sqrt()
    return white.transpose(1, 2).flatten(2) * norm.weight + norm.bias


# Version 4


def wkv_of_the_paper(k: Tensor, v: Tensor, w: Tensor, u: Tensor) -> Tensor:
    """Equation 16 as it stands: no recurrence, no maximum."""
    out = torch.zeros_like(v)
    for t in range(k.shape[1]):
        above, below = (u + k[:, t]).exp() * v[:, t], (u + k[:, t]).exp()
        for i in range(t):
            weight = (-(t - 1 - i) * w + k[:, i]).exp()
            above, below = above + weight * v[:, i], below + weight
        out[:, t] = above / below
    return out


@pytest.mark.parametrize("chunk", [1, 4, 7, 64])
@pytest.mark.parametrize("time", [1, 2, 15])
def test_wkv_is_the_formula_of_the_paper(chunk: int, time: int) -> None:
    k, v = random(2, time, 5, seed=1), random(2, time, 5, seed=2)
    w, u = random(5, seed=3).exp(), random(5, seed=4)
    found, _ = wkv(k, v, w, u, None, chunk)
    torch.testing.assert_close(found, wkv_of_the_paper(k, v, w, u), rtol=0, atol=1e-10)


@pytest.mark.parametrize("size", [500.0, -500.0, 1e30])
def test_wkv_survives_keys_whose_exponentials_do_not_fit(size: float) -> None:
    k = size * random(1, 20, 3, seed=1, dtype=torch.float32).requires_grad_()
    v = random(1, 20, 3, seed=2, dtype=torch.float32)
    w, u = torch.tensor([1e-3, 1.0, 50.0]), torch.zeros(3)
    found, sums = wkv(k, v, w, u, None, 8)
    assert torch.isfinite(found).all() and all(torch.isfinite(s).all() for s in sums)
    assert found.abs().max() <= v.abs().max() + 1e-5, "an average of values"
    (grad,) = torch.autograd.grad(found.sum(), k)
    assert torch.isfinite(grad).all()


def test_time_mix_and_channel_mix_are_the_paper() -> None:
    x = random(2, 11, 8)
    time, channel = built(TimeMix(6, chunk=4), 8), built(ChannelMix(10), 8)
    with torch.no_grad():
        inputs = {
            n: getattr(time, f"mix_{n}") * x + (1 - getattr(time, f"mix_{n}")) * before(x) for n in "kvr"
        }
        k, v, r = (inputs[n] @ getattr(time, n).weight.T for n in "kvr")
        expected = (r.sigmoid() * wkv_of_the_paper(k, v, time.log_rate.exp(), time.first)) @ time.o.weight.T
        torch.testing.assert_close(whole(time, x), expected, rtol=0, atol=1e-10)
        up = channel.mix_up * x + (1 - channel.mix_up) * before(x)
        gate = channel.mix_gate * x + (1 - channel.mix_gate) * before(x)
        expected = (gate @ channel.gate.weight.T).sigmoid() * (F.relu(up @ channel.up.weight.T) ** 2 @ channel.down.weight.T)  # fmt: skip
        torch.testing.assert_close(whole(channel, x), expected, rtol=0, atol=1e-10)


# Versions 5 and 6


def matrix_wkv(r: Tensor, k: Tensor, v: Tensor, a: Tensor, u: Tensor) -> Tensor:
    """[B, H, T, C] each, a the decay, u [H, C]: state after state."""
    S = torch.zeros(*k.shape[:2], k.shape[-1], v.shape[-1], dtype=k.dtype)
    out = []
    for t in range(k.shape[2]):
        kv = k[:, :, t, :, None] * v[:, :, t, None]
        out.append((r[:, :, t, :, None] * (S + u[..., None] * kv)).sum(2))
        S = a[:, :, t, :, None] * S + kv
    return torch.stack(out, dim=2)


@pytest.mark.parametrize("mix_rank", [None, 3], ids=["eagle", "finch"])
@pytest.mark.parametrize("H", [1, 3])
def test_matrix_time_mix_is_the_paper(mix_rank: int | None, H: int) -> None:
    spec = MatrixTimeMix(H, 4, mix_rank=mix_rank, decay_rank=5, chunk=4)
    m, x = built(spec, 8), random(2, 13, 8)
    shift = before(x) - x
    with torch.no_grad():
        mixes: Any = m.mixes.view(-1, 8)
        if mix_rank is not None:
            base = x + shift * m.mix_all
            low = torch.tanh(base @ m.mix_down.weight.T).split(mix_rank, dim=-1)
            mixes = [mixes[n] + low[n] @ m.mix_up[n] for n in range(5)]
        inputs = [x + shift * mix for mix in mixes]
        r, k, v = (heads(inputs[n] @ w.weight.T, H) for n, w in enumerate((m.r, m.k, m.v)))
        d = m.decay.expand(2, 13, -1)
        if mix_rank is not None:
            d = m.decay + torch.tanh(inputs[4] @ m.decay_down.weight.T) @ m.decay_up.weight.T
        out = matrix_wkv(r, k, v, heads((-d.exp()).exp(), H), m.first.view(H, -1))
        out = group_norm(out, m.head_norm, H, spec.eps) * F.silu(inputs[3] @ m.gate.weight.T)
        torch.testing.assert_close(whole(m, x), out @ m.o.weight.T, rtol=0, atol=1e-10)


@pytest.mark.parametrize("chunk", [1, 3, 16])
@pytest.mark.parametrize("strong", [0.01, 1.0, 300.0])
def test_decay_per_channel_is_the_recurrence_however_strong(chunk: int, strong: float) -> None:
    q, k, v = random(2, 2, 17, 4), random(2, 2, 17, 4, seed=1), random(2, 2, 17, 3, seed=2)
    g = -strong * random(2, 2, 17, 4, seed=3).exp()
    expected = matrix_wkv(q, k, v, g.exp(), torch.zeros(2, 4, dtype=q.dtype))
    torch.testing.assert_close(chunked.channels(q, k, v, g, None, chunk)[0], expected, rtol=0, atol=1e-10)
    found = chunked.channels(*(y.float() for y in (q, k, v, g)), None, chunk)[0]
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=1e-4)


# Version 7


@pytest.mark.parametrize("H", [1, 2])
def test_goose_is_the_paper_token_by_token(H: int) -> None:
    C = 4
    spec = GooseTimeMix(H, C, rank=3, gate_rank=5, chunk=4)
    m, x = built(spec, 8), random(2, 14, 8)
    with torch.no_grad():
        to_r, to_d, to_k, to_v, to_a, to_g = (x + (before(x) - x) * mix for mix in m.mixes.view(6, 8))
        r, raw, v = to_r @ m.r.weight.T, to_k @ m.k.weight.T, heads(to_v @ m.v.weight.T, H)
        d = m.decay + torch.tanh(to_d @ m.decay_down.weight.T) @ m.decay_up.weight.T
        w = heads(torch.exp(-math.exp(-0.5) * d.sigmoid()), H)
        a = (m.removal + to_a @ m.removal_down.weight.T @ m.removal_up.weight.T).sigmoid()
        g = (to_g @ m.gate_down.weight.T).sigmoid() @ m.gate_up.weight.T
        k, n, r, a = (
            heads(raw * (1 + (a - 1) * m.blend), H),
            heads(raw * m.removal_key, H),
            heads(r, H),
            heads(a, H),
        )
        n = n / n.norm(dim=-1, keepdim=True)
        S, out = torch.zeros(2, H, C, C, dtype=x.dtype), []  # the paper's [value, key]
        for t in range(14):
            change = torch.diag_embed(w[:, :, t]) - n[:, :, t, :, None] * (a * n)[:, :, t, None]
            S = S @ change + v[:, :, t, :, None] * k[:, :, t, None]
            out.append((S @ r[:, :, t, :, None])[..., 0])
        normed = group_norm(torch.stack(out, dim=2), m.head_norm, H, spec.eps)
        bonus = (r * m.bonus.view(H, 1, C) * k).sum(-1, keepdim=True) * v
        expected = (g * (normed + bonus.transpose(1, 2).flatten(2))) @ m.o.weight.T
    torch.testing.assert_close(whole(m, x), expected, rtol=0, atol=1e-10)


# Hugging Face

CONFIGS = {
    "plain": {},
    "odd": {"hidden_size": 20, "intermediate_size": 50, "layer_norm_epsilon": 1e-3},
    "narrow": {"hidden_size": 20, "attention_hidden_size": 12},  # transformers itself cannot cache this one
    "tied": {"tie_word_embeddings": True},
    "rescaled": {"num_hidden_layers": 5, "rescale_every": 2},
    "not-rescaled": {"num_hidden_layers": 2, "rescale_every": 0},
}


@pytest.fixture(scope="module")
def transformers() -> Any:
    return pytest.importorskip("transformers")


def theirs_of(transformers: Any, options: dict[str, Any]) -> Any:
    config = transformers.RwkvConfig(
        **{"vocab_size": 97, "context_length": 64, "hidden_size": 24, "num_hidden_layers": 3} | options
    )
    model = transformers.RwkvForCausalLM(config)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for weight in model.parameters():
            scale = 0.3 if weight.ndim != 2 else 2 * weight.shape[1] ** -0.5
            weight += scale * torch.randn(weight.shape, generator=generator)
    return model.eval()


@pytest.mark.parametrize("name", CONFIGS)
def test_logits_of_transformers_rwkv_in_both_directions(transformers: Any, name: str, tmp_path: Path) -> None:
    from ownlm.model.adapters import hf

    theirs = theirs_of(transformers, CONFIGS[name])
    theirs.save_pretrained(tmp_path / "theirs")
    ours = hf.load(tmp_path / "theirs")
    ids = torch.randint(0, 97, (2, 21), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = theirs(ids, use_cache=False).logits
        torch.testing.assert_close(ours(ids), expected, rtol=0, atol=1e-4)
        assert expected.abs().max() > 1
        cache, state = ours.new_cache(), None
        for t in range(0 if name == "narrow" else 21):
            answer = theirs(
                ids[:1, t : t + 1], state=state, use_cache=True
            )  # it mixes rows of a larger batch
            state = answer.state
            torch.testing.assert_close(ours(ids[:1, t : t + 1], cache), answer.logits, rtol=0, atol=1e-4)
            torch.testing.assert_close(answer.logits, expected[:1, t : t + 1], rtol=0, atol=1e-4)
        hf.save(ours, tmp_path / "ours", eos_ids=[0], bos_id=0, pad_id=None)
        again = transformers.RwkvForCausalLM.from_pretrained(tmp_path / "ours").eval()
        torch.testing.assert_close(again(ids, use_cache=False).logits, expected, rtol=0, atol=1e-4)


def test_rules_cover_every_tensor_of_transformers(transformers: Any) -> None:
    """And the conversion alone, without files."""
    rwkv = pytest.importorskip("ownlm.model.adapters.families.rwkv")
    theirs = theirs_of(transformers, CONFIGS["narrow"])
    plan = rwkv.read(theirs.config.to_dict() | {"architectures": ["RwkvForCausalLM"]}, "here")
    ours, state = Decoder(plan), theirs.state_dict()
    rules = rwkv.rules(plan)
    assert {rule.theirs for rule in rules} == set(state)
    converted = {}
    for rule in rules:
        converted |= dict(zip(rule.ours, rule.split(state[rule.theirs]), strict=True))
        torch.testing.assert_close(
            rule.join(list(rule.split(state[rule.theirs]))), state[rule.theirs], rtol=0, atol=0
        )
    ours.load_state_dict(converted, strict=True)
    ids = torch.randint(0, 97, (1, 9), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        torch.testing.assert_close(ours(ids), theirs(ids, use_cache=False).logits, rtol=0, atol=1e-4)


@pytest.mark.parametrize("wrong", [
    {"hidden_size": 0}, {"num_hidden_layers": 10**9}, {"intermediate_size": "64"}, {"layer_norm_epsilon": 0.0},
    {"tie_word_embeddings": "yes"}, {"vocab_size": 2.5}, {"num_experts": 4}, {"architectures": ["RwkvModel"]},
])  # fmt: skip
def test_a_config_that_is_no_rwkv_is_refused(wrong: dict[str, Any]) -> None:
    rwkv = pytest.importorskip("ownlm.model.adapters.families.rwkv")
    plain = {
        "model_type": "rwkv",
        "architectures": ["RwkvForCausalLM"],
        "hidden_size": 8,
        "num_hidden_layers": 2,
    }
    assert rwkv.read(plain, "here").num_layers == 4
    with pytest.raises(ArtifactError):
        rwkv.read(plain | wrong, "here")


def test_what_is_no_rwkv_is_not_written_as_one() -> None:
    rwkv = pytest.importorskip("ownlm.model.adapters.families.rwkv")
    norm = Norm("layer", bias=True)

    def plan(*layers: Layer, **options: Any) -> Architecture:
        return Architecture(
            97, 8, layers, 64, options.pop("norm", norm), False, **{"embedding_norm": norm} | options
        )

    time, channel = Layer(TimeMix(8), None, norm), Layer(ChannelMix(12), None, norm)
    assert rwkv.write(plan(time, channel))["intermediate_size"] == 12
    wrong = [
        plan(time, channel, time), plan(channel, time), plan(time, channel, embedding_norm=None),
        plan(time, channel, norm=Norm("layer", 1e-3, bias=True)), plan(time, channel, logit_softcap=3.0),
        plan(time, Layer(ChannelMix(12, gated=False), None, norm)),
        plan(time, channel, Layer(TimeMix(4), None, norm), channel),
        plan(time, channel, embedding_scale=2.0),
    ]  # fmt: skip
    for model in wrong:
        with pytest.raises(UsageError, match="rwkv"):
            rwkv.write(model)


@pytest.mark.parametrize("spec", [lambda: TimeMix(0), lambda: TimeMix(4, depth=2.0), lambda: MatrixTimeMix(1, 4, mix_rank=0), lambda: GooseTimeMix(1, 4, rank=0)])  # fmt: skip
def test_impossible_sizes_are_refused(spec: Any) -> None:
    with pytest.raises(UsageError):
        spec()
