"""The masked-diffusion language model: its bound, its schedules, and its ways of filling masks."""

import itertools
import math

import pytest
import torch
import torch.nn.functional as F

from ownlm.errors import UsageError
from ownlm.model.diffusion_lm import DiffusionLM, diffusion
from ownlm.model.diffusion_loss import Schedule, elbo_loss, exact_count_loss, noised, score_entropy, times
from ownlm.model.diffusion_sampling import ancestral, canvas, fill, guesses
from ownlm.model.hooks import points
from ownlm.model.place import DecodeCache

V, T, MASK = 3, 3, 3
SCHEDULES = [Schedule(), Schedule("cosine"), Schedule("polynomial", power=3.0), Schedule("geometric")]


def tiny(seed: int = 0) -> DiffusionLM:
    """Three words, three places: everything about it can be counted out."""
    model, random = DiffusionLM(diffusion(V, 8, 1, 2, 12, T)).eval(), torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn(weight.shape, generator=random) * 0.5)
    return model


def rand(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@torch.no_grad()
def step_nats(model: DiffusionLM, x: tuple[int, ...], standing: frozenset[int]) -> list[float]:
    """-log p of every place of x, given the standing ones."""
    noisy = torch.tensor([[token if n in standing else MASK for n, token in enumerate(x)]])
    return F.cross_entropy(model(noisy)[0], torch.tensor(x), reduction="none").tolist()


def exact(model: DiffusionLM, x: tuple[int, ...]) -> tuple[float, float]:
    """(-log p(x) under one-at-a-time unmasking in random order, the bound: the mean over orders of -log)."""
    nats = []
    for order in itertools.permutations(range(T)):
        nats.append(sum(step_nats(model, x, frozenset(order[:n]))[order[n]] for n in range(T)))
    return -math.log(sum(math.exp(-n) for n in nats) / len(nats)), sum(nats) / len(nats)


def test_counts_and_face() -> None:
    model = DiffusionLM(diffusion(50, 24, 2, 3, 40, 20))
    assert model.num_parameters() == sum(p.numel() for p in model.parameters())
    assert model.flops_per_token(20) > model.flops_per_token(10) > 0 and model.cache_bytes_per_token() == 0
    ids = torch.randint(51, (2, 9), generator=rand())
    assert model(ids).shape == (2, 9, 50) and model(ids[:, :1]).shape == (2, 1, 50)
    assert "stack.blocks.0.attention.pattern" in points(model)
    with pytest.raises(UsageError, match="cache"):
        model(ids, DecodeCache((None,)))
    with torch.device("meta"):
        assert DiffusionLM(model.config).embedding.weight.is_meta
    padded = F.pad(ids, (0, 3), value=7)
    mask = torch.tensor([[1] * 9 + [0] * 3]).expand(2, 12)
    torch.testing.assert_close(model(padded, mask=mask)[:, :9], model(ids), atol=1e-5, rtol=1e-4)


def test_it_looks_both_ways() -> None:
    model, ids = tiny(), torch.tensor([[0, MASK, 1]])
    for place in (0, 2):
        other = ids.clone()
        other[0, place] = 2
        assert (model(other) - model(ids))[0, 1].abs().max() > 1e-3


def test_bound_is_above_the_exact_likelihood() -> None:
    """Over all 27 texts: probabilities sum to one, the bound is never below, and both losses estimate the bound."""
    model, total = tiny(), 0.0
    for x in itertools.product(range(V), repeat=T):
        nll, bound = exact(model, x)
        total += math.exp(-nll)
        assert bound >= nll - 1e-6
    assert total == pytest.approx(1.0, abs=1e-5)
    x = (0, 2, 1)
    nll, bound = exact(model, x)
    assert bound > nll + 1e-3  # this model's orders disagree: the bound is not tight
    ids = torch.tensor([x]).expand(40_000, T)
    assert T * exact_count_loss(model, ids, rand()).item() == pytest.approx(bound, rel=0.01)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: s.kind)
def test_every_schedule_estimates_the_same_bound(schedule: Schedule) -> None:
    model, x = tiny(), (0, 2, 1)
    ids = torch.tensor([x]).expand(60_000, T)
    with torch.no_grad():
        found = T * elbo_loss(model, ids, rand(1), schedule).item()
    assert found == pytest.approx(exact(model, x)[1], rel=0.03)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: s.kind)
def test_weights_are_the_derivative(schedule: Schedule) -> None:
    t = torch.linspace(0.02, 0.98, 25, dtype=torch.float64).requires_grad_()
    alpha = schedule.alpha(t)
    (slope,) = torch.autograd.grad(alpha.sum(), t)
    torch.testing.assert_close(schedule.weight(t), -slope / (1 - alpha))
    assert bool((alpha.diff() < 0).all())
    ends = schedule.alpha(torch.tensor([0.0, 1.0]))
    assert float(ends[0]) > 0.999 and float(ends[1]) < 0.001


def test_noising() -> None:
    ids = torch.randint(V, (200, 400), generator=rand())
    alpha = torch.linspace(0, 1, 200)
    noisy = noised(ids, alpha, MASK, rand())
    stands = noisy == ids
    assert bool((noisy[~stands] == MASK).all())
    assert (stands.float().mean(1) - alpha).abs().max() < 0.12 and not bool(stands[0].any())
    t = times(10, rand())
    assert torch.equal((t * 10).ceil().clamp(min=1), torch.arange(1, 11.0)) or bool((t.diff() > 0.09).all())


def test_prompts_are_never_masked() -> None:
    model, ids = tiny(), torch.tensor([[0, 2, 1]]).expand(500, 3)
    learnt = torch.tensor([[False, True, True]]).expand(500, 3)
    seen: list[torch.Tensor] = []
    handle = model.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    loss = elbo_loss(model, ids, rand(), learnt=learnt)
    handle.remove()
    assert bool((seen[0][:, 0] == 0).all()) and bool((seen[0][:, 1:] == MASK).any()) and loss.item() > 0


def test_score_entropy_is_least_at_the_ratios() -> None:
    total, rate = torch.tensor([0.3, 2.0]), torch.tensor([0.7, 1.3])
    ids, noisy = torch.tensor([[0, 2], [1, 1]]), torch.tensor([[MASK, 2], [MASK, MASK]])
    ratio = 1 / torch.expm1(total)
    true = torch.where(F.one_hot(ids, V).bool(), ratio[:, None, None].log(), -40.0)
    torch.testing.assert_close(
        score_entropy(true, noisy, ids, total, rate, MASK), torch.zeros(2), atol=1e-5, rtol=0
    )
    for seed in range(5):
        other = true + torch.randn(true.shape, generator=rand(seed)) * 0.3
        assert bool((score_entropy(other, noisy, ids, total, rate, MASK) > 1e-4).all())


def test_score_entropy_of_a_mean_parameterised_model_is_the_elbo() -> None:
    """With scores = ratio * softmax(logits) SEDD's loss is MDLM's weighted cross-entropy."""
    schedule, t = Schedule("geometric"), torch.tensor([0.35, 0.8])
    alpha = schedule.alpha(t)
    total = -alpha.log()
    rate = schedule.weight(t) * torch.expm1(total)
    ids, noisy = torch.tensor([[0, 2], [1, 1]]), torch.tensor([[MASK, MASK], [MASK, 1]])
    logits = torch.randn(2, 2, V, generator=rand())
    log_score = logits.log_softmax(-1) - torch.expm1(total).log()[:, None, None]
    found = score_entropy(log_score, noisy, ids, total, rate, MASK)
    nats = F.cross_entropy(logits.transpose(1, 2), ids, reduction="none") * (noisy == MASK)
    torch.testing.assert_close(found, schedule.weight(t) * nats.sum(1), atol=1e-5, rtol=1e-4)


def frequencies(ids: torch.Tensor) -> torch.Tensor:
    codes = (ids * torch.tensor([9, 3, 1])).sum(1)
    return torch.bincount(codes, minlength=27) / len(ids)


def distribution(model: DiffusionLM) -> torch.Tensor:
    return torch.tensor([math.exp(-exact(model, x)[0]) for x in itertools.product(range(V), repeat=T)])


def test_one_token_per_step_draws_from_the_models_distribution() -> None:
    model, blank = tiny(2), torch.full((20_000, T), MASK)
    expected = distribution(model)
    one_by_one = frequencies(fill(model, blank, T, rand(), order="random"))
    assert (one_by_one - expected).abs().sum() / 2 < 0.02
    fine = frequencies(ancestral(model, blank[:6000], 100, rand()))  # seldom two at once
    assert (fine - expected).abs().sum() / 2 < 0.035
    at_once = frequencies(fill(model, blank, 1, rand(), order="random"))
    independent = model(blank[:1]).softmax(-1)[0]
    product = torch.einsum("a,b,c->abc", *independent).flatten()
    assert (at_once - product).abs().sum() / 2 < 0.02
    assert (product - expected).abs().sum() / 2 > 0.07, "else the three tests above are one"


@pytest.mark.parametrize("order", ["confidence", "random"])
@pytest.mark.parametrize(
    ("steps", "block"), [(1, None), (3, None), (11, None), (40, None), (4, 3), (11, 1), (5, 50)]
)
def test_all_masks_are_filled_and_nothing_else_changes(order: str, steps: int, block: int | None) -> None:
    model = DiffusionLM(diffusion(20, 16, 1, 2, 24, 30))
    ids = torch.randint(20, (3, 11), generator=rand())
    ids[0, 2:9], ids[1], ids[2, ::2] = 20, 20, 20
    calls: list[int] = []
    handle = model.register_forward_hook(lambda *_: calls.append(1))
    found = fill(model, ids, steps, rand(), order=order, block=block)
    handle.remove()
    assert bool((found < 20).all()) and len(calls) <= steps
    assert torch.equal(found[ids != 20], ids[ids != 20])
    assert torch.equal(found, fill(model, ids, steps, rand(), order=order, block=block))
    assert bool((ancestral(model, ids, steps, rand()) < 20).all())


def test_the_surest_guess_is_kept_first() -> None:
    model = DiffusionLM(diffusion(20, 16, 1, 2, 24, 30), seed=3)
    blank, seen = torch.full((1, 6), 20), []
    handle = model.register_forward_hook(lambda _, args, out: seen.append((args[0].clone(), out)))
    fill(model, blank, 6, rand(), temperature=0)
    handle.remove()
    for (before, logits), (after, _) in itertools.pairwise(seen):
        sure = torch.where(before == 20, logits.softmax(-1).amax(-1), -1.0)
        (kept,) = ((before == 20) & (after != 20)).nonzero()[:, 1].tolist()
        assert kept == int(sure.argmax()) and int(after[0, kept]) == int(logits[0, kept].argmax())


def test_blocks_are_filled_from_left_to_right() -> None:
    model, seen = DiffusionLM(diffusion(20, 16, 1, 2, 24, 30)), []
    handle = model.register_forward_hook(lambda _, args, __: seen.append(args[0].clone()))
    fill(model, canvas(torch.tensor([[1, 2]]), 8, 20), 8, rand(), block=5)
    handle.remove()
    for ids in seen:
        masked = (ids == 20)[0]
        assert bool(masked[5:].all()) or not bool(masked[:5].any())


def test_guesses_and_mistakes() -> None:
    logits = torch.tensor([[[0.0, 2.0, 1.0]]])
    best, sure = guesses(logits, rand(), 0.0)
    assert best.item() == 1 and sure.item() == pytest.approx(float(logits.softmax(-1)[0, 0, 1]))
    model, ids = tiny(), torch.full((1, 3), MASK)
    for wrong in ({"num_steps": 0}, {"num_steps": 1, "temperature": -1.0}, {"num_steps": 1, "order": "best"}, {"num_steps": 1, "block": 0}, {"num_steps": 1, "block": 1}):  # fmt: skip
        with pytest.raises(UsageError):
            fill(model, ids, random=rand(), **wrong)
    with pytest.raises(UsageError):
        Schedule("steep")
    with pytest.raises(UsageError, match="longer"):
        model(torch.zeros(1, 4, dtype=torch.int64))
    assert fill(model, ids[:, :0], 3, rand()).shape == (1, 0)


def test_denoises_after_a_short_training() -> None:
    """Four texts by heart: any half of a text brings the other half back, in few parallel steps."""
    model = DiffusionLM(diffusion(20, 32, 2, 4, 64, 12))
    texts, random = torch.randint(20, (4, 12), generator=rand(5)), rand(1)
    optimizer, first, last = torch.optim.AdamW(model.parameters(), 3e-3), 0.0, 0.0
    for step in range(250):
        loss = exact_count_loss(model, texts.repeat(4, 1), random)
        optimizer.zero_grad()
        loss.backward()
        if not step:
            first = loss.item()
            assert all(p.grad is not None and bool(p.grad.abs().sum() > 0) for p in model.parameters())
        optimizer.step()
        last = 0.9 * last + 0.1 * loss.item()
    assert first > 2.0 and last < first / 5
    holed = texts.clone()
    holed[:, 1::2] = 20
    for steps in (1, 2, 6):
        found = fill(model, holed, steps, rand(), temperature=0)
        assert float((found == texts).float().mean()) > 0.95
