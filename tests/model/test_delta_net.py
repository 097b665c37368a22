"""The delta rule, with and without decay: loops from the papers, transformers' Qwen3-Next, and exact recall."""

import pytest
import torch
import torch.nn.functional as F
from portions import built, place_at, random, whole

from ownlm.errors import UsageError
from ownlm.model.recurrent import chunked
from ownlm.model.recurrent.convolution import ShortConvolution
from ownlm.model.recurrent.delta_net import DeltaNet, unit
from ownlm.model.recurrent.gated_delta_net import GatedDeltaNet


@pytest.fixture(scope="module")
def qwen():  # type: ignore[no-untyped-def]
    """transformers' own delta rules and layer, where this version has them."""
    return pytest.importorskip("transformers.models.qwen3_next.modeling_qwen3_next")


def recurrence(q, k, v, b, g, state):  # type: ignore[no-untyped-def]
    """Equation 10 of Gated DeltaNet, as matrices: S_t = a S (1 - b k k^T) + b v k^T, with S the paper's [C', C]."""
    S, out = state.transpose(-1, -2), []
    for t in range(q.shape[2]):
        kt, vt, bt = k[:, :, t, :, None], v[:, :, t, :, None], b[:, :, t, None, None]
        forget = torch.eye(k.shape[-1], dtype=k.dtype) - bt * kt @ kt.transpose(-1, -2)
        S = g[:, :, t, None, None].exp() * S @ forget + bt * vt @ kt.transpose(-1, -2)
        out.append((S @ q[:, :, t, :, None])[..., 0])
    return torch.stack(out, dim=2), S.transpose(-1, -2)


def values(time: int, seed: int = 0, strong: float = 1.0, dtype: torch.dtype = torch.float64):  # type: ignore[no-untyped-def]
    q, k = random(2, 3, time, 4, seed=seed), unit(random(2, 3, time, 4, seed=seed + 1))
    v, b = random(2, 3, time, 5, seed=seed + 2), random(2, 3, time, seed=seed + 3).sigmoid()
    g = -strong * random(2, 3, time, seed=seed + 4).exp()
    return tuple(x.to(dtype) for x in (q, k, v, b, g, random(2, 3, 4, 5, seed=seed + 5)))


@pytest.mark.parametrize("chunk", [1, 3, 8, 64])
@pytest.mark.parametrize("time", [1, 2, 15, 16])
@pytest.mark.parametrize("strong", [0.0, 1.0, 100.0], ids=["no-decay", "decay", "strong-decay"])
def test_the_chunked_form_is_the_recurrence(chunk: int, time: int, strong: float) -> None:
    given = values(time, seed=chunk + time, strong=strong)
    found, last = chunked.delta(*given, chunk)
    expected, state = recurrence(*given)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)
    torch.testing.assert_close(last, state, rtol=0, atol=1e-10)


def test_float32_stays_near_over_a_long_text() -> None:
    given = values(500, strong=0.01)
    found, _ = chunked.delta(*(x.float() for x in given), 64)
    expected, _ = recurrence(*given)
    assert (found - expected).abs().max() < 1e-5 * expected.abs().max()


def test_gradients_of_both_forms_agree() -> None:
    grads = []
    for rule in (lambda *a: chunked.delta(*a, 4)[0], lambda *a: recurrence(*a)[0]):
        given = [x.requires_grad_() for x in values(11)]
        grads.append(torch.autograd.grad(rule(*given).sin().sum(), given))
    for a, b in zip(*grads, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-9)


@pytest.mark.parametrize("time", [1, 5, 64, 70])
def test_equal_to_transformers_chunked_and_recurrent_rules(qwen, time: int) -> None:  # type: ignore[no-untyped-def]
    q, k, v, b, g, state = values(time, dtype=torch.float32)
    theirs = [x.transpose(1, 2) for x in (q, k, v, g, b)]
    found, last = chunked.delta(unit(q) * 4**-0.5, unit(k), v, b, g, state, 32)
    for rule in (qwen.torch_chunk_gated_delta_rule, qwen.torch_recurrent_gated_delta_rule):
        out, end = rule(*theirs, initial_state=state, output_final_state=True, use_qk_l2norm_in_kernel=True)
        torch.testing.assert_close(found, out.transpose(1, 2), rtol=0, atol=1e-5)
        torch.testing.assert_close(last, end, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("H", "K", "C", "V"), [(4, 2, 6, 5), (3, 3, 4, 8), (4, 1, 5, 5)])
def test_the_whole_layer_is_the_one_of_qwen3_next(qwen, H: int, K: int, C: int, V: int) -> None:  # type: ignore[no-untyped-def]
    from transformers.models.qwen3_next.configuration_qwen3_next import Qwen3NextConfig

    config = Qwen3NextConfig(
        hidden_size=20, linear_num_value_heads=H, linear_num_key_heads=K, linear_key_head_dim=C,
        linear_value_head_dim=V, linear_conv_kernel_dim=4, num_hidden_layers=1, layer_types=["linear_attention"],
        rms_norm_eps=1e-6,
    )  # fmt: skip
    torch.manual_seed(0)
    theirs = qwen.Qwen3NextGatedDeltaNet(config, 0)
    ours = GatedDeltaNet(H, C, num_key_heads=K, value_dim=V, taps=4, chunk=8).build(20, 0)
    with torch.no_grad():
        for weight in theirs.parameters():
            weight.normal_(0, 0.4)
        # Theirs: for each key head, rows of q, k, its value heads' v and z one after the other.
        rows = theirs.in_proj_qkvz.weight.view(K, -1, 20).split((C, C, H // K * V, H // K * V), dim=1)
        small = theirs.in_proj_ba.weight.view(K, -1, 20).split((H // K, H // K), dim=1)
        for name, weight in zip(("q", "k", "v", "gate", "beta", "alpha"), (*rows, *small), strict=True):
            getattr(ours, name).weight.copy_(weight.reshape(-1, 20))
        taps = theirs.conv1d.weight[:, 0].split((K * C, K * C, H * V))
        for name, weight in zip("qkv", taps, strict=True):
            getattr(ours, f"{name}_convolution").weight.copy_(weight)
        ours.log_rate.copy_(theirs.A_log)
        ours.step_bias.copy_(theirs.dt_bias)
        ours.head_norm.weight.copy_(theirs.norm.weight)
        ours.o.weight.copy_(theirs.out_proj.weight)
        x = random(2, 37, 20, dtype=torch.float32)
        expected = theirs(x)
    assert expected.abs().max() > 0.5
    torch.testing.assert_close(whole(ours, x), expected, rtol=0, atol=1e-5)


def test_delta_net_is_the_paper_layer_token_by_token() -> None:
    spec = DeltaNet(2, 5, taps=3, chunk=8)
    module, x = built(spec, 12), random(2, 19, 12)
    with torch.no_grad():
        q, k, v = (
            _convolved(x @ getattr(module, n).weight.T, getattr(module, f"{n}_convolution").weight).unflatten(-1, (2, 5)).transpose(1, 2)
            for n in "qkv"
        )  # fmt: skip
        q, k = (y / (y.square().sum(-1, keepdim=True) + 1e-6).sqrt() for y in (q, k))
        b = (x @ module.beta.weight.T).sigmoid().transpose(1, 2)
        out, _ = recurrence(q, k, v, b, torch.zeros_like(b), torch.zeros(2, 2, 5, 5, dtype=x.dtype))
        out = out / (out.square().mean(-1, keepdim=True) + spec.eps).sqrt() * module.head_norm.weight
        expected = out.transpose(1, 2).flatten(2) @ module.o.weight.T
    torch.testing.assert_close(whole(module, x), expected, rtol=0, atol=1e-10)


def _convolved(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    out = torch.zeros_like(x)
    for t in range(x.shape[1]):
        for j in range(weight.shape[1]):
            i = t - weight.shape[1] + 1 + j
            if i >= 0:
                out[:, t] += weight[:, j] * x[:, i]
    return F.silu(out)


def test_short_convolution_in_portions_shorter_than_its_reach() -> None:
    convolution, x = ShortConvolution(6, 5).double(), random(2, 9, 6)
    convolution.initialize(torch.Generator().manual_seed(0))
    with torch.no_grad():
        tail, parts = None, []
        for at, size in ((0, 1), (1, 2), (3, 6)):
            out, tail = convolution(x[:, at : at + size], tail)
            parts.append(out)
        torch.testing.assert_close(torch.cat(parts, 1), _convolved(x, convolution.weight), rtol=0, atol=1e-12)


def test_orthogonal_keys_are_recalled_exactly_and_overwritten() -> None:
    """With strength one a key holds its last value, however many others were written in between."""
    keys = torch.eye(8, dtype=torch.float64)
    order = torch.tensor([0, 1, 2, 3, 4, 5, 6, 7, 2, 5] + [1] * 300)
    k, v = keys[order][None, None], random(1, 1, 310, 6)
    b = torch.ones(1, 1, 310, dtype=torch.float64)
    _, state = chunked.delta(k, k, v, b, torch.zeros_like(b), None, 64)
    for key in range(8):
        last = int((order == key).nonzero().max())
        torch.testing.assert_close(keys[key] @ state[0, 0], v[0, 0, last], rtol=0, atol=1e-10)


def test_first_decays_cover_short_and_long_memories() -> None:
    module = GatedDeltaNet(8, 4).build(16, 0)
    step = F.softplus(module.step_bias.detach())
    assert float(step[0]) == pytest.approx(1e-3, rel=1e-3) and float(step[-1]) == pytest.approx(0.1, rel=1e-3)
    assert module.log_rate.exp()[[0, -1]].tolist() == pytest.approx([1.0, 16.0])


@pytest.mark.parametrize("spec", [lambda: GatedDeltaNet(4, 4, num_key_heads=3), lambda: GatedDeltaNet(0, 4), lambda: DeltaNet(2, 4, taps=0)])  # fmt: skip
def test_impossible_sizes_are_refused(spec) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(UsageError):
        spec()


def test_hook_points_see_the_state_and_the_decay() -> None:
    module, seen = built(GatedDeltaNet(2, 4), 8), {}
    module.taps = {name: (lambda value, name=name: seen.__setitem__(name, value)) for name in module.POINTS}
    module(random(1, 6, 8), place_at(module.spec, 0, 6))
    assert seen["state"].shape == (1, 2, 4, 4) and bool((seen["log_decay"] < 0).all())
    assert bool(((seen["strength"] > 0) & (seen["strength"] < 1)).all())
