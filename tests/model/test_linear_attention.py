"""Linear attention and retention: the papers' formulas as loops, three equal forms, and a state that does not grow."""

import dataclasses
from typing import Any

import pytest
import torch
from portions import PORTIONS, built, in_portions, place_at, random, whole

from ownlm.errors import UsageError
from ownlm.model.position import Rope, rotate
from ownlm.model.recurrent import chunked
from ownlm.model.recurrent.delta_net import DeltaNet
from ownlm.model.recurrent.gated_delta_net import GatedDeltaNet
from ownlm.model.recurrent.infini_attention import InfiniAttention
from ownlm.model.recurrent.linear_attention import LinearAttention, features
from ownlm.model.recurrent.neural_memory import NeuralMemory
from ownlm.model.recurrent.retnet import Retention, log_decays
from ownlm.model.recurrent.rwkv import ChannelMix, TimeMix
from ownlm.model.recurrent.rwkv7 import GooseTimeMix
from ownlm.model.recurrent.rwkv_matrix import MatrixTimeMix
from ownlm.model.recurrent.test_time_training import TestTimeTraining

EVERY: dict[str, Any] = {
    "linear": LinearAttention(3, 5, chunk=8, bias=True),
    "retention": Retention(2, 6, value_dim=7, chunk=8),
    "retention-one": Retention(1, 4, rope=None, chunk=1),
    "delta": DeltaNet(3, 5, chunk=8),
    "delta-one-tap": DeltaNet(1, 5, taps=1, chunk=64),
    "gated-delta": GatedDeltaNet(4, 5, num_key_heads=2, value_dim=3, taps=3, chunk=8),
    "infini": InfiniAttention(2, 6, segment=9),
    "infini-one": InfiniAttention(1, 6, segment=1, rope=None, delta=False),
    "memory": NeuralMemory(2, 5, chunk=8),
    "memory-deep": NeuralMemory(2, 5, hidden=7, chunk=5, taps=1),
    "ttt-linear": TestTimeTraining(2, 6, chunk=8, rope=Rope()),
    "ttt-mlp": TestTimeTraining(2, 5, hidden=9, chunk=8),
    "rwkv-4": TimeMix(13, chunk=8),
    "channel-mix": ChannelMix(13),
    "rwkv-5": MatrixTimeMix(2, 5, mix_rank=None, chunk=8),
    "rwkv-6": MatrixTimeMix(2, 5, mix_rank=3, decay_rank=4, chunk=8),
    "rwkv-7": GooseTimeMix(2, 5, rank=3, gate_rank=4, chunk=8),
}
every = pytest.mark.parametrize("name", EVERY)


@every
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["f64", "f32"])
def test_every_recurrent_mixer_is_the_same_in_any_portions(name: str, dtype: torch.dtype) -> None:
    module, x = built(EVERY[name], 12, dtype), random(2, 37, 12, dtype=dtype)
    expected, sizes = whole(module, x), set()
    assert expected.dtype == dtype
    bound = 1e-10 if dtype == torch.float64 else 1e-5
    for portions in PORTIONS:
        found, num_bytes = in_portions(module, x, portions)
        assert (found - expected).abs().max() <= bound * max(1.0, float(expected.abs().max())), portions
        sizes.add(num_bytes)
    if dtype == torch.float32:
        assert sizes == {2 * EVERY[name].state_bytes(12)}, "state of two rows, whatever came before"


@every
def test_the_state_after_one_token_is_as_large_as_after_many(name: str) -> None:
    module, x = built(EVERY[name], 12, torch.float32), random(1, 300, 12, dtype=torch.float32)
    for length in (1, 2, 300):
        out, num_bytes = in_portions(module, x[:, :length], [length])
        assert torch.isfinite(out).all() and num_bytes == EVERY[name].state_bytes(12)


@every
def test_impossible_sizes_are_refused_by_name(name: str) -> None:
    """0 is no way to say None, True is no count, 2.5 no number of heads."""
    spec, sizes = EVERY[name], 0
    for field in dataclasses.fields(spec):
        if field.type in ("int", "int | None"):
            sizes += 1
            for wrong in (0, -1, True, 2.5):
                with pytest.raises(UsageError, match=f"{field.name} = {wrong}"):
                    dataclasses.replace(spec, **{field.name: wrong})
        if field.name == "depth":
            with pytest.raises(UsageError, match="depth"):
                dataclasses.replace(spec, depth=1.5)
    assert sizes


@every
def test_costs_do_not_depend_on_the_length(name: str) -> None:
    spec = EVERY[name]
    assert spec.cache_bytes_per_token() == 0
    assert spec.mixing_flops(1000) == spec.mixing_flops(10**6) >= 0


@every
def test_a_module_made_without_memory_takes_weights(name: str) -> None:
    """As loaders do: build on the meta device, then assign; nothing may be made in the constructor but weights."""
    module, x = built(EVERY[name], 12), random(1, 9, 12)
    with torch.device("meta"):
        empty = EVERY[name].build(12, 0)
    empty.load_state_dict(module.state_dict(), strict=True, assign=True)
    assert torch.equal(whole(empty, x), whole(module, x))


@every
def test_a_text_that_repeats_one_large_token_stays_finite(name: str) -> None:
    module = built(EVERY[name], 12, torch.float32)
    x = (30 * random(1, 1, 12, dtype=torch.float32)).expand(1, 200, 12).clone().requires_grad_()
    out = module(x, place_at(EVERY[name], 0, 200))
    grads = torch.autograd.grad(out.mean(), [x, *module.parameters()])
    assert torch.isfinite(out).all() and all(torch.isfinite(grad).all() for grad in grads)


@every
def test_a_cache_of_keys_and_values_is_refused(name: str) -> None:
    class Engine:
        def update(self, layer: int, k: torch.Tensor, v: torch.Tensor) -> Any: ...
        def mask(self, window: int | None = None) -> Any: ...
        def keys(self, window: int | None = None) -> Any: ...

    with pytest.raises(UsageError, match="new_cache"):
        built(EVERY[name], 12)(random(1, 3, 12), place_at(EVERY[name], 0, 3), Engine())


def heads(x: torch.Tensor, weight: torch.Tensor, num_heads: int) -> torch.Tensor:
    return (x @ weight.T).unflatten(-1, (num_heads, -1)).transpose(1, 2)


def test_linear_attention_is_the_quadratic_formula_of_the_paper() -> None:
    spec = LinearAttention(3, 5, chunk=8)
    module, x = built(spec, 12), random(2, 21, 12)
    q, k, v = (heads(x, w.weight, 3) for w in (module.q, module.k, module.v))
    phi = torch.nn.functional.elu
    expected = torch.zeros(2, 3, 21, 5, dtype=torch.float64)
    for t in range(21):  # equation 7, weight by weight
        weights = [
            ((phi(q[:, :, t]) + 1) * (phi(k[:, :, i]) + 1)).sum(-1, keepdim=True) for i in range(t + 1)
        ]
        total = sum(w * v[:, :, i] for i, w in enumerate(weights))
        expected[:, :, t] = total / sum(weights)
    expected = expected.transpose(1, 2).flatten(2) @ module.o.weight.T
    torch.testing.assert_close(whole(module, x), expected, rtol=0, atol=1e-10)


def test_features_are_elu_plus_one_and_keep_small_values() -> None:
    x = torch.linspace(-6, 6, 200, dtype=torch.float64)
    torch.testing.assert_close(features(x), torch.nn.functional.elu(x) + 1, rtol=0, atol=1e-15)
    assert features(torch.tensor(-30.0)) > 0, "elu(x) + 1 is 0 in float32 from -17 on"


def test_features_that_all_underflow_give_zero_and_finite_gradients() -> None:
    module = built(LinearAttention(1, 4), 4, torch.float32)
    with torch.no_grad():
        module.k.weight.copy_(-1e4 * torch.eye(4))
    x = torch.ones(1, 5, 4, requires_grad=True)
    out = module(x, place_at(module.spec, 0, 5))
    (1e3 * out).sum().backward()
    assert torch.equal(out, torch.zeros_like(out))
    assert x.grad is not None and torch.isfinite(x.grad).all()
    assert all(torch.isfinite(p.grad).all() for p in module.parameters())


def test_retention_is_the_parallel_formula_of_the_paper() -> None:
    spec = Retention(3, 6, value_dim=4, chunk=8)
    module, x = built(spec, 12), random(2, 21, 12)
    place = place_at(spec, 0, 21)
    q, k, v = (heads(x, w.weight, 3) for w in (module.q, module.k, module.v))
    q, k = rotate(q, place.cos, place.sin), rotate(k, place.cos, place.sin)
    gamma = 1 - 2.0 ** (-5 - torch.arange(3, dtype=torch.float64))
    distance = torch.arange(21)[:, None] - torch.arange(21)[None]
    D = torch.where(distance >= 0, gamma[:, None, None] ** distance.clamp_min(0), 0.0)  # equation 5
    out = (q @ k.transpose(-1, -2) * 6**-0.5 * D) @ v  # [B,H,T,C']
    norm = torch.nn.GroupNorm(3, 12, eps=1e-5).double()
    with torch.no_grad():
        norm.weight.copy_(module.head_norm.weight)
        norm.bias.copy_(module.head_norm.bias)
        flat = norm(out.transpose(1, 2).flatten(2).flatten(0, 1)).view(2, 21, 12)
        expected = (torch.nn.functional.silu(x @ module.gate.weight.T) * flat) @ module.o.weight.T
    torch.testing.assert_close(whole(module, x), expected, rtol=0, atol=1e-10)


def test_retention_rotation_depends_on_the_distance_only() -> None:
    spec = Retention(1, 6, chunk=8)
    module, x = built(spec, 12), random(1, 9, 12)
    with torch.no_grad():
        late = module(x, place_at(spec, 50, 9))
    torch.testing.assert_close(late, whole(module, x), rtol=0, atol=1e-5)  # the tables of angles are float32


def test_long_texts_with_a_cache_form_no_mask() -> None:
    """A mask of 20,000 x 20,000 would take 400 MB and make the linear layers quadratic."""
    from ownlm.model.architecture import Architecture
    from ownlm.model.blocks import Layer
    from ownlm.model.decoder import Decoder

    model = Decoder(Architecture(7, 8, (Layer(LinearAttention(1, 4)),), 30_000))
    seen: list[Any] = []
    model.blocks[0].mixer.register_forward_pre_hook(lambda module, args: seen.append(args[1].mask))
    with torch.no_grad():
        model(torch.zeros(1, 20_000, dtype=torch.long), model.new_cache())
    assert seen == [None]


def test_decays_are_those_of_the_paper() -> None:
    expected = [1 - 2.0 ** (-5 - h) for h in range(8)]
    assert log_decays(8, torch.zeros(1, dtype=torch.float64)).exp().tolist() == pytest.approx(
        expected, abs=1e-15
    )


@pytest.mark.parametrize("chunk", [1, 2, 7, 64])
@pytest.mark.parametrize("time", [1, 2, 13, 14])
def test_decayed_sums_are_the_recurrence(chunk: int, time: int) -> None:
    q, k = random(2, 2, time, 3, seed=1), random(2, 2, time, 3, seed=2)
    v, g = random(2, 2, time, 5, seed=3), -random(2, 2, time, seed=4).exp() * 30
    state = first = random(2, 2, 3, 5, seed=5)
    expected = torch.zeros(2, 2, time, 5, dtype=torch.float64)
    for t in range(time):
        state = g[:, :, t, None, None].exp() * state + k[:, :, t, :, None] * v[:, :, t, None]
        expected[:, :, t] = (q[:, :, t, :, None] * state).sum(2)
    found, last = chunked.decayed(q, k, v, g, first, chunk)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)
    torch.testing.assert_close(last, state, rtol=0, atol=1e-10)


def test_retention_recalls_a_key_far_behind() -> None:
    """Written at 0, asked at 200: what comes back is gamma^200 v, of v's direction."""
    q = k = torch.zeros(1, 1, 201, 4, dtype=torch.float64)
    k = k.clone()
    k[0, 0, 0, 2] = 1.0
    q = q.clone()
    q[0, 0, 200, 2] = 1.0
    v = random(1, 1, 201, 3)
    g = log_decays(4, v)[3].expand(1, 1, 201)
    found, _ = chunked.decayed(q, k, v, g, None, 64)
    torch.testing.assert_close(found[0, 0, 200], (1 - 2.0**-8) ** 200 * v[0, 0, 0], rtol=1e-9, atol=0)
