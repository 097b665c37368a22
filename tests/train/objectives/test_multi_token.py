"""Several tokens ahead: gradients and losses of each head, one head held at a time, drafts that a verifier accepts."""

import weakref

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import world

from ownlm.errors import UsageError
from ownlm.model.config import ModelConfig
from ownlm.model.decoder import Decoder
from ownlm.model.hybrid import hybrid
from ownlm.model.multi_token import MultiToken, decode_with_drafts
from ownlm.train.batches import Batch
from ownlm.train.loop import train
from ownlm.train.objectives.causal import Causal
from ownlm.train.objectives.cross_entropy import IGNORE
from ownlm.train.objectives.multi_token import MultiTokenPrediction, head_losses, targets_of
from ownlm.train.optimizers.optimizer import split

CONFIG = ModelConfig(64, 32, 48, 2, 2, 1, 16, 64)


def model(num_heads=3, **changes):
    return MultiToken(Decoder(CONFIG, seed=1), num_heads, seed=2)


def batch(rows=2, tokens=12, seed=0):
    ids = torch.randint(64, (rows, tokens + 1), generator=torch.Generator().manual_seed(seed))
    targets = ids[:, 1:].clone()
    targets[0, 3] = IGNORE
    return Batch(ids[:, :-1].clone(), targets)


def plainly(made, given, weight):
    """Every head's logits held, one backward by autograd."""
    hidden = made.hidden(given.inputs)
    place = made.place(given.inputs.shape[1], hidden.device)
    losses = []
    for number in range(1, made.num_heads + 1):
        logits = made.trunk.logits(made.head(number, hidden, place)).flatten(0, 1)
        targets = targets_of(given.targets, number).flatten()
        losses.append(F.cross_entropy(logits, targets, ignore_index=IGNORE, reduction="sum"))
    return losses, losses[0] + weight * sum(losses[1:])


def test_the_targets_of_a_head_are_further_ahead():
    targets = torch.tensor([[1, 2, IGNORE, 4]])
    assert targets_of(targets, 1).tolist() == [[1, 2, IGNORE, 4]]
    assert targets_of(targets, 2).tolist() == [[2, IGNORE, 4, IGNORE]]
    assert targets_of(targets, 6).tolist() == [[IGNORE] * 4]


@pytest.mark.parametrize("weight", [1.0, 0.3])
@pytest.mark.parametrize("frozen", ["", "trunk"])
def test_loss_and_gradients_are_those_of_plain_autograd(weight, frozen):
    given, mine, plain = batch(), model(), model()
    for made in (mine, plain):
        for name, parameter in made.named_parameters():
            parameter.requires_grad_(not frozen or not name.startswith(frozen))
    loss = MultiTokenPrediction(weight)(mine, given, 23)
    (loss * 3).backward()
    losses, total = plainly(plain, given, weight)
    (total * 3 / 23).backward()
    torch.testing.assert_close(loss.detach(), total.detach() / 23)
    for (name, a), b in zip(mine.named_parameters(), plain.parameters(), strict=True):
        assert (a.grad is None) == (b.grad is None), name
        if a.grad is not None:
            torch.testing.assert_close(a.grad, b.grad, rtol=1e-3, atol=1e-6, msg=name)
    each = [float(loss.detach()) / n for loss, n in zip(losses, (23, 21, 19), strict=True)]
    assert mine.meter.read() == pytest.approx(each, rel=1e-5)
    assert head_losses(mine, given) == pytest.approx(each, rel=1e-5)
    with torch.no_grad():
        torch.testing.assert_close(MultiTokenPrediction(weight)(mine, given, 23), loss.detach())
    assert np.isnan(mine.meter.read()).all()  # looking without gradients is no training


def test_one_head_is_held_at_a_time():
    made, alive = model(5), []

    def enter(module, inputs):
        assert not any(output() is not None for output in alive), (
            "an earlier head's activations are still held"
        )

    for block in made.heads.blocks:
        block.register_forward_pre_hook(enter)
        block.register_forward_hook(lambda module, inputs, output: alive.append(weakref.ref(output)))
    loss = MultiTokenPrediction()(made, batch(), 23)
    assert len(alive) == 4
    loss.backward()


def test_the_trunk_stays_an_ordinary_decoder():
    made, given = model(), batch()
    own = Decoder(CONFIG, seed=1)
    assert torch.equal(made(given.inputs), own(given.inputs))
    torch.testing.assert_close(Causal()(own, given, 23).detach(), torch.tensor(head_losses(made, given)[0]))
    hidden, rest = split(made)
    assert len(hidden) == 7 * 4 and all("blocks" in name for name, _ in hidden)  # matrices of 2 + 2 layers
    assert made.num_parameters() == sum(weight.numel() for weight in made.parameters())
    assert made.flops_per_token(16) > made.trunk.flops_per_token(16)
    assert not any(weight.grad_fn for weight in made.parameters()) and len(rest) + len(hidden) == len(list(made.parameters()))  # fmt: skip


def test_drafts_come_the_same_with_a_cache():
    made, ids = model(4), batch(2, 12).inputs
    cache = made.new_cache()
    with torch.no_grad():
        hidden = made.hidden(ids)
    made.propose(hidden[:, :5], cache)
    made.propose(hidden[:, 5:6], cache)
    cached = made.propose(hidden[:, 6:], cache)
    assert cached.shape == (2, 4) and torch.equal(cached, made.propose(hidden))
    assert torch.equal(cached[:, 0], made(ids)[:, -1].argmax(-1))


def test_what_cannot_be_is_refused():
    with pytest.raises(UsageError, match="1 heads"):
        model(1)
    with pytest.raises(UsageError, match="Mamba"):
        MultiToken(Decoder(hybrid("AM", 64, 32, 64), seed=0), 2)
    with pytest.raises(UsageError, match="keep documents apart"):
        given = batch()
        MultiTokenPrediction()(
            model(), Batch(given.inputs, given.targets, {"documents": given.inputs * 0}), 1
        )


def greedy(made, ids, num_tokens):
    for _ in range(num_tokens):
        ids = torch.cat((ids, made(ids)[:, -1:].argmax(-1)), dim=1)
    return ids[:, -num_tokens:]


@torch.no_grad()
@pytest.mark.parametrize("seed", range(4))
def test_text_with_drafts_is_the_trunks_own_also_when_no_draft_is_right(seed):
    made, ids = MultiToken(Decoder(CONFIG, seed), 3, seed), batch(1, 5, seed).inputs
    text, forwards = decode_with_drafts(made, ids, 12)
    assert torch.equal(text, greedy(made, ids, 12)) and 4 <= forwards <= 12


@pytest.mark.slow
def test_trained_heads_find_the_further_token_harder_and_save_forwards(tmp_path):
    """Of a chain that goes on as told nine times of ten, k tokens ahead are as told 0.9^k of the time."""
    made = MultiToken(Decoder(CONFIG, seed=1), 4, seed=2)

    def chain(step):
        random = np.random.default_rng(step)
        ids = np.zeros((16, 33), np.int64)
        ids[:, 0] = random.integers(64, size=16)
        for n in range(1, 33):
            told = (ids[:, n - 1] * 5 + 7) % 64
            ids[:, n] = np.where(random.random(16) < 0.9, told, random.integers(64, size=16))
        rows = torch.from_numpy(ids)
        return Batch(rows[:, :-1].contiguous(), rows[:, 1:].contiguous())

    settings = world.settings(num_steps=400, optimizer="adamw", learning_rate=5e-3, micro_tokens=4096)
    for record in train(made, chain, settings, tmp_path, lambda _: None, MultiTokenPrediction()):
        if record.step == 360:
            made.meter.read()
    each = made.meter.read()
    assert len(each) == 4 and each == sorted(each) and each[3] > each[0] + 0.5
    held = head_losses(made, chain(10**6))
    assert held == sorted(held)
    text, forwards = decode_with_drafts(made, chain(10**6 + 1).inputs[:1, :4], 40)
    assert torch.equal(text, greedy(made, chain(10**6 + 1).inputs[:1, :4], 40))
    assert forwards <= 16  # four tokens a forward would be 11
