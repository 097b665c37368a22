"""Memories beyond the window: the papers' rules as loops with autograd's own gradients, and recall from afar."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from portions import built, in_portions, place_at, random, whole
from torch import Tensor

from ownlm.errors import UsageError
from ownlm.model.position import Rope, rotate
from ownlm.model.recurrent.delta_net import unit
from ownlm.model.recurrent.fast_weights import gelu_slope, momentum_steps
from ownlm.model.recurrent.infini_attention import InfiniAttention
from ownlm.model.recurrent.neural_memory import NeuralMemory
from ownlm.model.recurrent.test_time_training import InnerNorm, TestTimeTraining


def heads(x: Tensor, num_heads: int) -> Tensor:
    return x.unflatten(-1, (num_heads, -1)).transpose(1, 2)


# Infini-attention


def infini(module: Any, x: Tensor) -> Tensor:
    """Equations 2 to 10 segment by segment; row and head one at a time."""
    spec = module.spec
    H, N, C = spec.num_heads, spec.segment, spec.head_dim
    q, k, v = (heads(x @ w.weight.T, H) for w in (module.q, module.k, module.v))
    place = place_at(spec, 0, x.shape[1])
    turned_q, turned_k = (rotate(y, place.cos, place.sin) if place.cos is not None else y for y in (q, k))
    out = torch.zeros_like(q)
    for row in range(x.shape[0]):
        for h in range(H):
            M, z = torch.zeros(C, C, dtype=x.dtype), torch.zeros(C, dtype=x.dtype)
            beta = module.memory_gate[h].sigmoid()
            for a in range(0, x.shape[1], N):
                at = (row, h, slice(a, a + N))
                sq, sk = F.elu(q[at]) + 1, F.elu(k[at]) + 1
                far = torch.zeros_like(v[at]) if a == 0 else (sq @ M) / (sq @ z)[:, None]
                scores = turned_q[at] @ turned_k[at].T / C**0.5
                scores = scores.masked_fill(torch.ones_like(scores).triu(1).bool(), float("-inf"))
                out[at] = beta * far + (1 - beta) * scores.softmax(-1) @ v[at]
                known = (sk @ M) / (sk @ z)[:, None] if spec.delta and a else 0
                M, z = M + sk.T @ (v[at] - known), z + sk.sum(0)
    return out.transpose(1, 2).flatten(2) @ module.o.weight.T


@pytest.mark.parametrize("spec", [
    InfiniAttention(2, 6, segment=7), InfiniAttention(3, 4, segment=5, rope=None, delta=False),
    InfiniAttention(1, 4, segment=1), InfiniAttention(1, 4, segment=100),
])  # fmt: skip
def test_infini_attention_is_the_paper_segment_by_segment(spec: InfiniAttention) -> None:
    module, x = built(spec, 12), random(2, 24, 12)
    with torch.no_grad():
        torch.testing.assert_close(whole(module, x), infini(module, x), rtol=0, atol=1e-10)


def test_infini_attention_recalls_a_pair_beyond_its_window() -> None:
    """Key and value stand side by side in the input; the query comes 40 segments later."""
    C = 8
    module = InfiniAttention(1, C, segment=5, rope=None).build(2 * C, 0).double()
    with torch.no_grad():
        for weight in module.parameters():
            weight.zero_()
        module.q.weight[:, :C], module.k.weight[:, :C] = torch.eye(C), torch.eye(C)
        module.v.weight[:, C:] = torch.eye(C)
        module.o.weight[:C] = torch.eye(C)
        module.memory_gate.fill_(30.0)  # memory only
    x = torch.full((1, 204, 2 * C), -20.0, dtype=torch.float64)  # f(-20) = 2e-9: keys that write nothing
    x[..., C:] = random(1, 204, C)
    for at, key in ((1, 2), (3, 5)):
        x[0, at, key] = 20.0
    x[0, 200, 2], x[0, 202, 5] = 20.0, 20.0
    out = whole(module, x)[0, :, :C]
    torch.testing.assert_close(out[200], x[0, 1, C:], rtol=0, atol=1e-5)
    torch.testing.assert_close(out[202], x[0, 3, C:], rtol=0, atol=1e-5)


# Titans


def titans(module: Any, x: Tensor) -> Tensor:
    """Equations 8 to 15 token by token: autograd differentiates the loss, S and M are updated one at a time."""
    spec, H = module.spec, module.spec.num_heads
    q, k, v = (
        heads(_convolved(x @ getattr(module, n).weight.T, getattr(module, f"{n}_convolution").weight), H)
        for n in "qkv"
    )
    q, k = unit(q), unit(k)
    raw = heads(x @ module.rules.weight.T + module.rule_start, 3)  # [B,3,T,H]
    rate, momentum, forget = ((spec.rate or 1 / spec.chunk) * raw[:, 0].sigmoid(), raw[:, 1].sigmoid(), raw[:, 2].sigmoid())  # fmt: skip
    out = torch.zeros_like(q)
    for row in range(x.shape[0]):
        for h in range(H):
            now = [w[h].detach().clone() for w in module.memory]
            S = [torch.zeros_like(w) for w in now]
            for t in range(x.shape[1]):
                if t % spec.chunk == 0:
                    frozen = [w.clone().requires_grad_() for w in now]
                with torch.enable_grad():
                    loss = 0.5 * (_network(frozen, k[row, h, t]) - v[row, h, t]).square().sum()
                    grads = torch.autograd.grad(loss, frozen)
                S = [momentum[row, t, h] * s - rate[row, t, h] * g for s, g in zip(S, grads, strict=True)]
                now = [(1 - forget[row, t, h]) * w + s for w, s in zip(now, S, strict=True)]
                out[row, h, t] = _network(now, q[row, h, t])
    out = out / (out.square().mean(-1, keepdim=True) + spec.eps).sqrt() * module.recall_norm.weight
    return (out.transpose(1, 2).flatten(2) * F.silu(x @ module.gate.weight.T)) @ module.o.weight.T


def _network(weights: list[Tensor], x: Tensor) -> Tensor:
    for n, weight in enumerate(weights):
        x = (F.gelu(x) if n else x) @ weight
    return x


def _convolved(x: Tensor, weight: Tensor) -> Tensor:
    W = weight.shape[1]
    padded = torch.cat((x.new_zeros(x.shape[0], W - 1, x.shape[2]), x), dim=1)
    return F.silu(sum(weight[:, j] * padded[:, j : j + x.shape[1]] for j in range(W)))


@pytest.mark.parametrize("spec", [
    NeuralMemory(2, 5, chunk=4), NeuralMemory(1, 4, chunk=1, rate=0.7), NeuralMemory(2, 4, hidden=6, chunk=5, taps=2),
    NeuralMemory(1, 3, hidden=1, chunk=1), NeuralMemory(1, 4, chunk=100),
])  # fmt: skip
def test_neural_memory_is_gradient_descent_with_momentum_and_forgetting(spec: NeuralMemory) -> None:
    module, x = built(spec, 12), random(2, 14, 12)
    with torch.no_grad():
        torch.testing.assert_close(whole(module, x), titans(module, x), rtol=0, atol=1e-10)


def test_momentum_weights_are_the_two_recurrences() -> None:
    r, m, f = (random(1, 1, 6, seed=s).sigmoid() for s in range(3))
    steps = momentum_steps(r, m.log(), f.log())
    for i in range(6):  # the trace of one unit gradient at token i
        W = S = 0.0
        for t in range(6):
            S = float(m[0, 0, t]) * S + (float(r[0, 0, t]) if t == i else 0.0)
            W = float(f[0, 0, t]) * W + S
            assert float(steps.written[0, 0, t, i]) == pytest.approx(W, abs=1e-12)
        assert float(steps.momentum_written[0, 0, i]) == pytest.approx(S, abs=1e-12)


def test_neural_memory_recalls_a_pair_beyond_any_window() -> None:
    """One full step on a unit key stores its value; 300 other keys later it is still there, unless forgotten."""
    spec = NeuralMemory(1, 8, chunk=1, rate=1.0, taps=1)
    module = spec.build(8, 0).double()
    with torch.no_grad():
        for weight in module.memory:
            weight.zero_()
    keys, values = torch.eye(8, dtype=torch.float64), random(8, 8)
    order = torch.tensor([0, 1, 2] + [3, 4, 5, 6, 7] * 60)
    k, v = keys[order][None, None], values[order][None, None]
    rate = torch.ones(1, 1, 303, dtype=torch.float64)

    def after(forgetting: float) -> Tensor:
        rules = (rate, torch.full_like(rate, -60.0), torch.full_like(rate, forgetting))
        _, state = module.learn(k, k, v, rules, module.start(1, k))
        return state.now[0][0, 0]

    with torch.no_grad():
        kept, forgotten = after(0.0), after(-0.1)
    torch.testing.assert_close(keys[:3] @ kept, values[:3], rtol=0, atol=1e-9)
    assert (keys[:3] @ forgotten).abs().max() < 1e-9


def test_the_layer_of_neural_memory_answers_a_question_200_tokens_later() -> None:
    """The whole layer, its projections set by hand: the input has slots for a query, a key, a value, and a one."""
    C, place = 8, {"q": 0, "k": 8, "v": 16}
    module = NeuralMemory(1, C, chunk=1, rate=1.0, taps=1).build(3 * C + 1, 0).double()
    with torch.no_grad():
        for weight in module.parameters():
            weight.zero_()
        for name, first in place.items():
            getattr(module, name).weight[:, first : first + C] = torch.eye(C)
            getattr(module, f"{name}_convolution").weight.fill_(1.0)
        module.rule_start.copy_(torch.tensor([60.0, -60.0, -60.0]))  # whole steps, no momentum, no forgetting
        module.gate.weight[:, -1], module.recall_norm.weight[:] = 1.0, 1.0
        module.o.weight[:C] = torch.eye(C)
    x = torch.zeros(1, 204, 3 * C + 1, dtype=torch.float64)
    x[..., -1] = 1.0
    values = random(204, C)
    for t in range(200):  # keys 0 and 1 once, then the six others again and again
        x[0, t, C + (t if t < 2 else 2 + t % 6)] = 1.0
        x[0, t, 2 * C : 3 * C] = values[t]
    x[0, 200, 1], x[0, 201, 0] = 1.0, 1.0
    out, _ = in_portions(module, x, [150, 50, 1, 3])
    for at, asked in ((200, 1), (201, 0)):
        stored = F.silu(values[asked])
        expected = stored / stored.square().mean().sqrt() * F.silu(torch.tensor(1.0))
        torch.testing.assert_close(out[0, at, :C], expected, rtol=0, atol=1e-4)


def test_a_text_that_repeats_itself_does_not_blow_the_memory_up() -> None:
    for spec in (
        NeuralMemory(1, 8),
        NeuralMemory(1, 8, hidden=16),
        TestTimeTraining(1, 8),
        TestTimeTraining(1, 8, hidden=16),
    ):
        module = built(spec, 12, torch.float32)
        out = whole(module, random(1, 1, 12, dtype=torch.float32).expand(1, 1000, 12))
        assert torch.isfinite(out).all() and out.abs().max() < 100


# Test-time training


def primal(module: Any, x: Tensor) -> Tensor:
    """Every token's weights formed and every gradient taken by autograd: what the dual form avoids."""
    spec, H = module.spec, module.spec.num_heads
    q, k, v = (heads(x @ w.weight.T, H) for w in (module.q, module.k, module.v))
    if spec.rope is not None:
        place = place_at(spec, 0, x.shape[1])
        q, k = rotate(q, place.cos, place.sin), rotate(k, place.cos, place.sin)
    rate = spec.base / spec.head_dim * (x @ module.rate.weight.T + module.rate.bias).sigmoid()
    gamma, beta = module.inner_norm.weight.view(H, -1), module.inner_norm.bias.view(H, -1)

    def f(weights: list[Tensor], h: int, y: Tensor) -> Tensor:
        z = y
        for n, weight in enumerate(weights):
            z = (F.gelu(z) if n else z) @ weight[:-1] + weight[-1]
        return y + F.layer_norm(z, (spec.head_dim,), gamma[h], beta[h], spec.eps)

    out = torch.zeros_like(q)
    for row in range(x.shape[0]):
        for h in range(H):
            now = [w[h].detach().clone() for w in module.inner]
            for t in range(x.shape[1]):
                if t % spec.chunk == 0:
                    frozen = [w.clone().requires_grad_() for w in now]
                with torch.enable_grad():
                    loss = 0.5 * (f(frozen, h, k[row, h, t]) - v[row, h, t]).square().sum()
                    grads = torch.autograd.grad(loss, frozen)
                now = [w - rate[row, t, h] * g for w, g in zip(now, grads, strict=True)]
                out[row, h, t] = f(now, h, q[row, h, t])
    out = out / (out.square().mean(-1, keepdim=True) + spec.eps).sqrt() * module.read_norm.weight
    return (out.transpose(1, 2).flatten(2) * F.gelu(x @ module.gate.weight.T)) @ module.o.weight.T


@pytest.mark.parametrize("spec", [
    TestTimeTraining(2, 6, chunk=5, rope=Rope()), TestTimeTraining(1, 5, chunk=1), TestTimeTraining(1, 5, chunk=100),
    TestTimeTraining(2, 5, hidden=7, chunk=4, base=0.3),
])  # fmt: skip
def test_the_dual_form_is_the_primal_form(spec: TestTimeTraining) -> None:
    module, x = built(spec, 12), random(2, 13, 12)
    with torch.no_grad():
        torch.testing.assert_close(whole(module, x), primal(module, x), rtol=0, atol=1e-10)


def test_test_time_training_recalls_a_pair_beyond_its_mini_batch() -> None:
    """Pairs seen ten times fit the inner model; 200 tokens of other text that fits already move nothing."""
    C = 8
    module = TestTimeTraining(1, C, chunk=4, base=float(C)).build(C, 0).double()
    with torch.no_grad():
        module.inner[0].normal_(0, 0.3, generator=torch.Generator().manual_seed(0))
    k = random(1, 1, 3, C).repeat(1, 1, 100, 1)
    target = F.layer_norm(random(1, 1, 3, C, seed=1), (C,)).repeat(1, 1, 100, 1)  # what a LayerNorm can give
    v, rate = k + target, torch.full((1, 1, 300), 0.3, dtype=torch.float64)
    with torch.no_grad():
        _, state = module.train_and_read(k, k, v, rate, module.start(1, k))
        filler = random(1, 1, 200, C, seed=2)
        fits, _ = module.train_and_read(filler, filler, filler, 0 * rate[..., :200], state)
        _, state = module.train_and_read(filler, filler, fits, 0.01 * rate[..., :200], state)
        found, _ = module.train_and_read(k[:, :, :3], k[:, :, :3], v[:, :, :3], 0 * rate[..., :3], state)
    assert (found - v[:, :, :3]).abs().max() < 0.1 < 0.5 < (target[:, :, :3]).abs().max()


def test_written_out_derivatives_are_autograds() -> None:
    x = random(40, seed=3).mul(3).requires_grad_()
    (expected,) = torch.autograd.grad(F.gelu(x).sum(), x)
    torch.testing.assert_close(gelu_slope(x), expected, rtol=0, atol=1e-12)
    norm, y = built(_Spec(InnerNorm(2, 5, 1e-6)), 0), random(1, 2, 3, 5).requires_grad_()
    slope = random(1, 2, 3, 5, seed=1)
    (expected,) = torch.autograd.grad((norm(y) * slope).sum(), y)
    torch.testing.assert_close(norm.backward(y, slope), expected, rtol=0, atol=1e-12)


class _Spec:
    def __init__(self, module: torch.nn.Module) -> None:
        self.module = module

    def build(self, width: int, layer: int) -> torch.nn.Module:
        return self.module


def test_training_reaches_the_first_memory_through_the_inner_steps() -> None:
    """Outer gradients by finite differences: the inner gradient is differentiated too, not held constant."""
    for spec in (NeuralMemory(1, 4, hidden=3, chunk=2), TestTimeTraining(1, 4, hidden=3, chunk=2)):
        module, x = built(spec, 6), random(1, 7, 6)
        names = ["memory.0" if isinstance(spec, NeuralMemory) else "inner.0", "k.weight", "v.weight"]
        for name in names:
            weight = module.get_parameter(name)
            (grad,) = torch.autograd.grad(module(x, place_at(spec, 0, 7)).sin().sum(), weight)
            direction = random(*weight.shape, seed=5)
            with torch.no_grad():
                ends = []
                for sign in (1, -1):
                    weight += sign * 1e-5 * direction
                    ends.append(float(module(x, place_at(spec, 0, 7)).sin().sum()))
                    weight -= sign * 1e-5 * direction
            assert float((grad * direction).sum()) == pytest.approx(
                (ends[0] - ends[1]) / 2e-5, rel=1e-5, abs=1e-8
            )


@pytest.mark.parametrize(
    "spec", [InfiniAttention(2, 8, segment=16), NeuralMemory(2, 8, hidden=8), TestTimeTraining(2, 8)]
)
def test_memory_is_constant_in_length(spec: Any) -> None:
    module = built(spec, 16, torch.float32)
    sizes = {in_portions(module, random(1, n, 16, dtype=torch.float32), [n])[1] for n in (1, 40, 400)}
    assert sizes == {spec.state_bytes(16)}


@pytest.mark.parametrize("spec", [
    lambda: InfiniAttention(1, 4, segment=0), lambda: NeuralMemory(1, 4, hidden=-1), lambda: NeuralMemory(1, 4, rate=0.0),
    lambda: NeuralMemory(1, 4, rate=-1.0), lambda: TestTimeTraining(1, 4, chunk=0),
])  # fmt: skip
def test_impossible_sizes_are_refused(spec: Any) -> None:
    with pytest.raises(UsageError):
        spec()
