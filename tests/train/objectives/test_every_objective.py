"""Every objective of the table, through the loop: it learns, pieces are the whole, an interrupted run ends in the
same bits, and the batch of a step is a function of the step alone."""

import numpy as np
import pytest
import torch
import world

from ownlm.errors import UsageError
from ownlm.model.config import ModelConfig
from ownlm.train.loop import forward_backward, train
from ownlm.train.objectives.specials import ROLES, Specials
from ownlm.train.objectives.table import OBJECTIVES, Text, find
from ownlm.train.setup import prepare

VOCAB, CONTEXT, ROWS, STEPS = 96, 24, 4, 8
SPECIALS = Specials(
    {"bos": [0], "end": [1], "pad": [2], "mask": [3], "cls": [4], "sep": [5], "stops": [40, 41, 42, 43],
     "infill_prefix": [6], "infill_suffix": [7], "infill_middle": [8], "modes": [9, 10, 11],
     "sentinels": list(range(31, 15, -1))}
)  # fmt: skip


def text(context=CONTEXT, seed=3):
    """Documents of 3 to 60 tokens of 40 .. 95, each token a function of the one before, with noise."""
    random, tokens, starts = np.random.default_rng(0), [], []
    while len(tokens) < 3000:
        starts.append(len(tokens))
        tokens += [0, int(random.integers(40, 96))]
        for _ in range(int(random.integers(1, 59))):
            follows = 40 + (tokens[-1] * 5 + 7) % 56
            tokens.append(follows if random.random() < 0.9 else int(random.integers(40, 96)))
    return Text(np.array(tokens, np.uint16), np.array(starts), context, ROWS, seed, VOCAB)


def model(name, seed=1):
    config = ModelConfig(VOCAB, 32, 48, 2, 2, 1, 16, CONTEXT)
    return find(name).model(config, SPECIALS, seed)


def settings(**changes):
    chosen = {
        "num_steps": STEPS,
        "micro_tokens": 2 * CONTEXT + 10,
        "optimizer": "adamw",
        "learning_rate": 0.01,
    }
    return world.settings(**(chosen | changes))


def run(name, folder, stop_after=None, **changes):
    trained, losses = model(name), []
    batches, objective = find(name).batches(text(), SPECIALS), find(name).objective()
    for record in train(trained, batches, settings(**changes), folder, lambda _: None, objective):
        losses.append(record.loss)
        if len(losses) == stop_after:
            break
    return world.weights_digest(trained), losses


@pytest.mark.parametrize("name", OBJECTIVES)
def test_it_learns_and_an_interrupted_run_ends_in_the_same_bits(name, tmp_path):
    digest, losses = run(name, tmp_path / "whole")
    assert len(losses) == STEPS and np.mean(losses[-2:]) < np.mean(losses[:2])
    run(name, tmp_path / "cut", stop_after=5, checkpoint_steps=3)
    again, rest = run(name, tmp_path / "cut", checkpoint_steps=3)
    assert again == digest and rest == losses[3:]


@pytest.mark.parametrize("name", OBJECTIVES)
def test_pieces_add_up_to_the_whole_batch(name):
    batch, found = find(name).batches(text(), SPECIALS)(0), []
    for micro in (1, 10_000):
        trained, config = model(name), settings(micro_tokens=micro)
        loss = forward_backward(
            trained, batch, prepare(trained, config, lambda _: None, find(name).objective()), config
        )
        found.append((loss, {key: weight.grad for key, weight in trained.named_parameters()}))
    (one, mine), (other, whole) = found
    assert one == pytest.approx(other, rel=1e-5)
    for key, gradient in whole.items():
        if gradient is None:
            assert mine[key] is None, key
        else:
            torch.testing.assert_close(mine[key], gradient, rtol=1e-3, atol=1e-6, msg=key)
    unused = {key for key, gradient in whole.items() if gradient is None}
    assert not unused, f"{name} trains nothing of {unused}"


@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_batch_depends_on_the_step_and_the_seed_alone(name):
    first, second = find(name).batches(text(), SPECIALS), find(name).batches(text(), SPECIALS)
    forward = [first(step) for step in range(6)]
    for step in (5, 0, 3):
        again = second(step)
        assert torch.equal(again.inputs, forward[step].inputs)
        assert torch.equal(again.targets, forward[step].targets)
        assert again.extra.keys() == forward[step].extra.keys()
        assert all(torch.equal(again.extra[key], forward[step].extra[key]) for key in again.extra)
        assert all(len(value) == ROWS for value in again.extra.values())
    other = find(name).batches(text(seed=4), SPECIALS)(0)
    assert not torch.equal(other.inputs, forward[0].inputs)
    assert (
        len({batch.inputs.shape for batch in forward}) == len({batch.targets.shape for batch in forward}) == 1
    )


@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_roles_that_an_entry_names_are_those_it_needs(name, monkeypatch):
    entry = find(name)
    few = Specials({role: SPECIALS.ids[role] for role in entry.roles})
    entry.batches(text(), few)(0)
    config = ModelConfig(VOCAB, 32, 48, 1, 2, 1, 16, CONTEXT)
    entry.model(config, few, 0)
    for role in entry.roles:
        less = Specials({other: ids for other, ids in few.ids.items() if other != role})
        with pytest.raises(UsageError, match=role):
            entry.batches(text(), less)
            entry.model(config, less, 0)


def test_unknown_names_are_told_with_what_is_near():
    with pytest.raises(UsageError, match="did you mean causal"):
        find("casual")
    with pytest.raises(UsageError, match="masks"):
        Specials({"masks": [3]})
    assert set(SPECIALS.ids) == set(ROLES)
