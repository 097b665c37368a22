"""Fill in the middle: both orders rebuild the file, rows keep their text, and it pays: a tiny model infills better."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import world
from hypothesis import given, settings
from hypothesis import strategies as st

from ownlm.errors import DataError, UsageError
from ownlm.model.config import ModelConfig
from ownlm.model.decoder import Decoder
from ownlm.train.batches import Batch, ShardBatches
from ownlm.train.corruption import infill
from ownlm.train.corruption.documents import DocumentBatches
from ownlm.train.corruption.infill import InfillBatches, Sentinels
from ownlm.train.loop import train
from ownlm.train.objectives.cross_entropy import IGNORE

MARKS, BOS, PAD = Sentinels(90, 91, 92, 93), 94, 95


def test_the_drawn_orders():
    assert infill.arrange([1, 2], [3], [4], "psm", MARKS) == [90, 1, 2, 91, 4, 92, 3, 93]
    assert infill.arrange([1, 2], [3], [4], "spm", MARKS) == [90, 91, 4, 92, 1, 2, 3, 93]
    assert infill.prompt([1, 2], [4], "psm", MARKS) == [90, 1, 2, 91, 4, 92]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, 89) | st.just(93), min_size=1, max_size=30), st.sampled_from(["psm", "spm"]),
       st.integers(0, 1000))  # fmt: skip
def test_either_order_rebuilds_the_file(ids, order, seed):
    prefix, middle, suffix = infill.cut(ids, np.random.default_rng(seed))
    assert prefix + middle + suffix == ids and middle
    made = infill.arrange(prefix, middle, suffix, order, MARKS)
    assert infill.rebuild(made, MARKS) == ids and len(made) == len(ids) + infill.ADDED
    with pytest.raises(DataError, match="middle last"):
        infill.rebuild(made[:-1] + [5], MARKS)


def test_all_cuts_are_alike():
    found = [tuple(map(len, infill.cut([1, 2], np.random.default_rng(n)))) for n in range(3000)]
    assert {kind: round(found.count(kind) / 1000) for kind in set(found)} == {
        (0, 1, 1): 1,
        (0, 2, 0): 1,
        (1, 1, 0): 1,
    }


def source(starts=(0, 3, 4, 40, 60, 61, 100, 170), length=200, context=16):
    tokens = np.random.default_rng(1).integers(0, 90, length).astype(np.uint16)
    tokens[list(starts)] = BOS
    return ShardBatches(tokens, context, 4, seed=2), np.array(starts)


def wrapped(plain, **options):
    return InfillBatches(plain, sentinels=MARKS, bos_id=BOS, pad_id=PAD, seed=6, **options)


@pytest.mark.parametrize("documents_per_row", [1, 3])
@pytest.mark.parametrize("rate", [0.0, 0.5, 1.0])
def test_rows_hold_their_text_and_no_more_is_trained_on(documents_per_row, rate):
    (plain, starts), arranged = source(), 0
    made = wrapped(DocumentBatches(plain, starts), rate=rate, documents_per_row=documents_per_row)
    for step in range(30):
        batch, before = made(step), plain(step)
        assert batch.inputs.shape == batch.targets.shape == (4, 16 + 4 * documents_per_row)
        for row in range(4):
            whole = torch.cat((batch.inputs[row], batch.targets[row, -1:]))
            length = 1 + int((batch.targets[row] != IGNORE).sum())
            assert torch.equal(batch.targets[row, : length - 1], whole[1:length])
            assert (batch.targets[row, length - 1 :] == IGNORE).all()
            text, parts = (
                whole[:length],
                torch.cat((batch.extra["documents"][row], torch.tensor([-1])))[:length],
            )
            parts[-1] = parts[-2] if text[-1] != BOS else parts[-2] + 1
            found = []
            for number in parts.unique().tolist():
                part = text[parts == number].tolist()
                head = part[:1] if part[0] == BOS else []
                changed = MARKS.prefix_id in part
                arranged += changed
                found += head + infill.rebuild(part[len(head) :], MARKS) if changed else part
            assert found == [*before.inputs[row].tolist(), int(before.targets[row, -1])]
            assert sum(token == MARKS.prefix_id for token in text) <= documents_per_row
    assert (arranged == 0) == (rate == 0)
    assert rate < 1 or arranged > 110


def test_half_are_drawn_and_half_of_these_in_either_order():
    (plain, _), found = source(), {"plain": 0, "psm": 0, "spm": 0}
    made, random = wrapped(plain), np.random.default_rng(0)
    for _ in range(2000):
        (part,) = made.row(np.array([BOS, 1, 2, 3]), random)
        order = "plain" if len(part) == 4 else "spm" if part[2] == MARKS.suffix_id else "psm"
        found[order] += 1  # PSM with an empty prefix, half of it here, looks like SPM
    assert found["plain"] / 2000 == pytest.approx(0.5, abs=0.05)
    assert found["psm"] / 2000 == pytest.approx(0.25 * 0.5, abs=0.03)


def test_one_text_is_cut_otherwise_at_every_step_and_in_every_row():
    one = torch.arange(64).expand(2, 64)
    made = wrapped(lambda step: Batch(one, one + 1), rate=1.0)
    assert len({tuple(row.tolist()) for step in range(3) for row in made(step).inputs}) == 6


def test_what_cannot_be_is_refused():
    plain, _ = source()
    with pytest.raises(UsageError, match="not different"):
        InfillBatches(plain, sentinels=Sentinels(1, 1, 2, 3), bos_id=BOS, pad_id=PAD, seed=0)
    with pytest.raises(UsageError, match="rates"):
        wrapped(plain, rate=1.5)
    with pytest.raises(DataError, match="holds infilling's sentinels"):
        wrapped(lambda step: Batch(torch.full((1, 4), 91), torch.full((1, 4), 91)))(0)


# Letters 0 .. 15: after x comes 4 x + r mod 16, r free. One neighbour leaves four choices of a token, both leave one.
LETTERS = 16
SMALL = Sentinels(16, 17, 18, 19)


def chains(rows, length, random):
    found = np.zeros((rows, length + 1), np.int64)
    found[:, 0] = 20
    found[:, 1] = random.integers(LETTERS, size=rows)
    for n in range(2, length + 1):
        found[:, n] = (4 * found[:, n - 1] + random.integers(4, size=rows)) % LETTERS
    return torch.from_numpy(found)


def chain_batches(step):
    rows = chains(32, 13, np.random.default_rng(step))
    return Batch(rows[:, :-1].contiguous(), rows[:, 1:].contiguous())


def trained(batch_at, folder, steps):
    config = ModelConfig(32, 64, 128, 2, 4, 2, 16, 32)
    model = Decoder(config, seed=1)
    chosen = world.settings(num_steps=steps, optimizer="adamw", learning_rate=3e-3, micro_tokens=4096)
    list(train(model, batch_at, chosen, folder, lambda _: None))
    return model


@torch.no_grad()
def nats(model, prompts, answers):
    """Mean -log p of the token that follows each prompt."""
    logits = model(torch.tensor(prompts))[:, -1]
    return float(F.cross_entropy(logits, torch.tensor(answers)))


@pytest.mark.slow
def test_a_trained_model_infills_better_than_left_to_right(tmp_path):
    small = InfillBatches(chain_batches, sentinels=SMALL, bos_id=20, pad_id=21, seed=3, rate=0.9)
    filling, plain = trained(small, tmp_path / "fim", 500), trained(chain_batches, tmp_path / "plain", 300)
    held = chains(400, 13, np.random.default_rng(10**6)).tolist()
    answers = [row[7] for row in held]
    left = nats(plain, [row[:7] for row in held], answers)
    for order in ("psm", "spm"):
        prompts = [[20, *infill.prompt(row[1:7], row[8:], order, SMALL)] for row in held]
        assert nats(filling, prompts, answers) < 0.35 < 1.2 < left, order
    assert left == pytest.approx(math.log(4), abs=0.15)
    # And it pays with nothing: left to right it is as good ("FIM for free").
    assert nats(filling, [row[:7] for row in held], answers) < left + 0.1
