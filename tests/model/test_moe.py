"""Mixtures of experts: every router as its formula over all experts, capacity, balancing, counts."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from ownlm.errors import UsageError
from ownlm.model.architecture import Architecture
from ownlm.model.attention.grouped import GroupedQuery
from ownlm.model.blocks import Layer
from ownlm.model.decoder import Decoder
from ownlm.model.layers import FeedForward
from ownlm.model.moe import (
    Experts,
    MixtureOfExperts,
    auxiliary_loss,
    balance_loss,
    expert_layers,
    update_bias,
    z_loss,
)
from ownlm.model.position import Rope
from ownlm.model.routing import BiasedSigmoid, ExpertChoice, GroupLimited, RouterSpec, TopK


def layer(router: RouterSpec, num_experts: int, seed: int = 0, **options: object) -> Experts:
    """In float64, with weights large enough that routing is decided."""
    made = MixtureOfExperts(num_experts, FeedForward(7), router, **options).build(12).double().eval()  # type: ignore[arg-type]
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in (*made.parameters(), *made.buffers()):
            weight.copy_(0.5 * torch.randn(weight.shape, generator=generator))
    return made


def text(batch: int, time: int, seed: int = 1) -> Tensor:
    return torch.randn(batch, time, 12, generator=torch.Generator().manual_seed(seed)).double()


def best(values: list[float], k: int) -> list[int]:
    return sorted(range(len(values)), key=lambda i: -values[i])[:k]


def naive_weights(made: Experts, x: Tensor) -> Tensor:
    """[T, E] of one row x [T, D]: token by token as the papers write it."""
    spec, E = made.spec.router, made.spec.num_experts
    rows = torch.zeros(len(x), E, dtype=torch.float64)
    all_logits = x.float() @ made.router.weight.float().T
    if isinstance(spec, ExpertChoice):
        scores = all_logits.softmax(-1)
        seats = min(len(x), max(1, math.ceil(len(x) * spec.capacity / E)))
        for e in range(E):
            for t in best(scores[:, e].tolist(), seats):
                rows[t, e] = scores[t, e]
        return rows
    for t, logits in enumerate(all_logits):
        if isinstance(spec, BiasedSigmoid):
            score, bias = logits.sigmoid(), made.router.bias
        else:
            score, bias = logits.softmax(-1), torch.zeros(E)
        biased = (score + bias).tolist()
        allowed = list(range(E))
        if isinstance(spec, GroupLimited | BiasedSigmoid):
            size = E // spec.num_groups
            groups = [sorted(biased[g * size : (g + 1) * size], reverse=True) for g in range(spec.num_groups)]
            value = [g[0] if isinstance(spec, GroupLimited) else sum(g[:2]) for g in groups]
            allowed = [e for e in range(E) if e // size in best(value, spec.groups_per_token)]
        for place in best([biased[e] for e in allowed], spec.k):
            rows[t, allowed[place]] = score[allowed[place]]
        if getattr(spec, "normalize", False):
            rows[t] /= rows[t].sum()
        rows[t] *= getattr(spec, "scale", 1.0)
    return rows


ROUTERS: dict[str, tuple[RouterSpec, int]] = {
    "top-2": (TopK(2), 5),
    "top-3-plain": (TopK(3, normalize=False), 6),
    "switch": (TopK(1, normalize=False), 4),
    "all": (TopK(3), 3),
    "one-expert": (TopK(1), 1),
    "expert-choice": (ExpertChoice(2.0), 4),
    "expert-choice-half": (ExpertChoice(0.5), 3),
    "groups": (GroupLimited(3, 4, 2, 16.0), 8),
    "groups-of-one": (GroupLimited(2, 3, 3), 3),
    "sigmoid": (BiasedSigmoid(3, 4, 2, scale=2.5), 12),
    "sigmoid-plain": (BiasedSigmoid(2, normalize=False), 5),
}


@pytest.mark.parametrize("name", ROUTERS)
@pytest.mark.parametrize(("batch", "time"), [(2, 11), (1, 1)])
def test_routed_is_the_weighted_sum_over_all_experts(name: str, batch: int, time: int) -> None:
    made = layer(*ROUTERS[name], shared=FeedForward(5), shared_gate=True)
    x = text(batch, time)
    with torch.no_grad():
        found = made(x)
        for b in range(batch):
            weights = naive_weights(made, x[b])
            dense = torch.stack([expert(x[b]) for expert in made.experts], dim=1)  # [T,E,D]
            expected = (weights[:, :, None] * dense).sum(1)
            expected = expected + made.shared_gate(x[b]).sigmoid() * made.shared(x[b])
            torch.testing.assert_close(found[b], expected, rtol=1e-5, atol=1e-6)
    assert made.routing is not None and made.routing.dropped == 0
    assert int(made.routing.load.sum()) == len(made.routing.token)


def test_only_used_experts_compute() -> None:
    made = layer(TopK(1, normalize=False), 6)
    rows: list[int] = []
    for expert in made.experts:
        expert.register_forward_hook(lambda module, args, out: rows.append(len(args[0])))
    made(text(1, 3))
    assert sum(rows) == 3 and 0 not in rows


@pytest.mark.parametrize("factor", [0.5, 1.0, 8.0])
def test_capacity_drops_the_last_tokens_of_a_row_and_counts_them(factor: float) -> None:
    made = layer(TopK(2), 4, capacity_factor=factor)
    x = text(3, 13)
    with torch.no_grad():
        kept_all = made(x)
        assert made.routing is not None and made.routing.dropped == 0, "eval mode drops nothing"
        found = made.train()(x)
    routing = made.routing
    seats, expected, dropped = math.ceil(13 * 2 / 4 * factor), torch.zeros_like(x), 0
    with torch.no_grad():
        for b in range(3):
            weights, taken = naive_weights(made, x[b]), [0] * 4
            for t in range(13):
                for e in range(4):
                    if weights[t, e] and taken[e] < seats:
                        taken[e] += 1
                        expected[b, t] += weights[t, e] * made.experts[e](x[b, t])
                    elif weights[t, e]:
                        dropped += 1
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    assert routing.dropped == dropped == int((routing.wanted - routing.load).sum())
    assert (dropped > 0) == (factor < 8) and torch.allclose(found, kept_all) == (dropped == 0)


def test_losses_equal_transformers_and_their_formulas() -> None:
    pytest.importorskip("transformers")
    from transformers.models.mixtral.modeling_mixtral import load_balancing_loss_func

    made = layer(TopK(2), 6)
    made(text(2, 17))
    routing = made.routing
    assert routing is not None
    expected = load_balancing_loss_func((routing.logits.flatten(0, 1),), 6, 2)
    torch.testing.assert_close(balance_loss(routing, 0.3), 0.3 * expected)
    naive = (
        sum(math.log(sum(math.exp(v) for v in row)) ** 2 for row in routing.logits.flatten(0, 1).tolist())
        / 34
    )
    assert float(z_loss(routing, 0.1)) == pytest.approx(0.1 * naive, rel=1e-5)
    even = routing._replace(
        scores=torch.full_like(routing.scores, 1 / 6), wanted=torch.full_like(routing.wanted, 34)
    )
    assert float(balance_loss(even, 0.5)) == pytest.approx(0.5 * 6), "alpha * k * E * (1/E), k = 6 here"


def test_the_bias_brings_the_load_together_without_touching_the_weights() -> None:
    made = layer(BiasedSigmoid(2), 8, seed=3)
    x, spread = text(4, 64), []
    with torch.no_grad():
        for _ in range(400):
            made(x)
            assert made.routing is not None
            spread.append(float(made.routing.wanted.max() / made.routing.wanted.double().mean()))
            update_bias(made, 0.005)
    assert spread[0] > 1.5 and max(spread[-20:]) < 1.25, (spread[0], spread[-20:])
    before = made.router.bias.clone()
    made(x[:1, :1])
    update_bias(made, 0.01)
    assert torch.equal((made.router.bias - before).sign() < 0, made.routing.wanted > 0)
    with pytest.raises(UsageError, match="BiasedSigmoid"):
        update_bias(layer(TopK(2), 4))


def test_expert_choice_is_refused_with_a_cache() -> None:
    plan = Architecture(
        97, 32, (Layer(GroupedQuery(2, 2, 8), MixtureOfExperts(4, FeedForward(8), ExpertChoice())),), 64
    )
    model = Decoder(plan)
    assert not plan.causal
    model(torch.zeros(1, 3, dtype=torch.int64))
    with pytest.raises(UsageError, match="cache"):
        model(torch.zeros(1, 3, dtype=torch.int64), model.new_cache())


@pytest.mark.parametrize(
    ("router", "experts"),
    [(TopK(5), 4), (TopK(0), 4), (GroupLimited(2, 3, 1), 8), (GroupLimited(3, 4, 1), 8), (BiasedSigmoid(2, 4, 5), 8),
     (BiasedSigmoid(1, 8, 2), 8), (TopK(1), 0)],
)  # fmt: skip
def test_impossible_layers_are_refused(router: RouterSpec, experts: int) -> None:
    with pytest.raises(UsageError):
        MixtureOfExperts(experts, FeedForward(8), router)
    with pytest.raises(UsageError):
        ExpertChoice(0.0)
    with pytest.raises(UsageError, match="shared"):
        MixtureOfExperts(4, FeedForward(8), shared_gate=True)
    with pytest.raises(UsageError, match="capacity"):
        MixtureOfExperts(4, FeedForward(8), capacity_factor=-1.0)


def mixtral(vocab: int, width: int, inner: int, layers: int, heads: int, kv: int) -> Architecture:
    """Eight experts of which two work (arXiv:2401.04088)."""
    attention = GroupedQuery(heads, kv, width // heads, rope=Rope(1e6))
    block = Layer(attention, MixtureOfExperts(8, FeedForward(inner)))
    return Architecture(vocab, width, (block,) * layers, 64, tie_embeddings=False)


def test_mixtral_has_47_billion_parameters_of_which_13_work() -> None:
    plan = mixtral(32000, 4096, 14336, 32, 32, 8)
    with torch.device("meta"):
        counted = sum(weight.numel() for weight in Decoder(plan).parameters())
    assert plan.num_parameters() == counted == 46_702_792_704
    assert (plan.active_parameters() + 32000 * 4096) / 1e9 == pytest.approx(12.9, abs=0.05)


def test_a_model_can_be_copied_after_a_forward_and_has_an_auxiliary_loss() -> None:
    model = Decoder(mixtral(97, 32, 24, 2, 4, 2))
    with pytest.raises(UsageError, match="nothing yet"):
        auxiliary_loss(model)
    model(torch.arange(20)[None])
    loss = auxiliary_loss(model, 1.0, z=0.1)
    loss.backward()
    assert float(loss.detach()) > 4 and all(e.router.weight.grad is not None for e in expert_layers(model))
    model(torch.arange(20)[None])
    twin = copy.deepcopy(model)
    assert [e.routing for e in expert_layers(twin)] == [None, None]
    assert torch.equal(twin(torch.arange(9)[None]), model(torch.arange(9)[None]))


def markov(batch: int, time: int, seed: int) -> Tensor:
    """Texts in which one of 64 words follows each with 3/4 probability, one of 4 otherwise."""
    rule = torch.randint(0, 64, (64, 4), generator=torch.Generator().manual_seed(9))
    draw = torch.Generator().manual_seed(seed)
    texts = [torch.randint(0, 64, (batch,), generator=draw)]
    for _ in range(time - 1):
        way = (torch.rand(batch, generator=draw) * 16 - 12).clamp(min=0).long()
        texts.append(rule[texts[-1], way])
    return torch.stack(texts, dim=1)


def test_a_small_mixtral_learns_and_no_expert_starves() -> None:
    model = Decoder(mixtral(64, 32, 32, 2, 4, 2), seed=1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    losses: list[float] = []
    for step in range(120):
        ids = markov(8, 33, step)
        loss = F.cross_entropy(model(ids[:, :-1]).flatten(0, 1), ids[:, 1:].flatten())
        optimizer.zero_grad()
        (loss + auxiliary_loss(model, 0.01, 0.001)).backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[0] > 3.9 and sum(losses[-10:]) / 10 < 1.6, losses[-10:]
    with torch.no_grad():
        model.eval()(markov(16, 60, 12345))
    for experts in expert_layers(model):
        assert experts.routing is not None
        share = experts.routing.load / experts.routing.load.sum()
        assert share.min() > 0.02, f"an expert starves: {share.tolist()}"
