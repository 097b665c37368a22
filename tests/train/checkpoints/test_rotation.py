"""Which checkpoints stay; a roll-back's list of losses; what a reader beside the run sees."""

import json

import pytest
import torch
import world
from small import state, whole

from ownlm.train import checkpoint
from ownlm.train.health.spikes import SpikeGuard, Verdict
from ownlm.train.history import History
from ownlm.train.loop import train


def steps_in(folder):
    return [int(path.name[5:]) for path in checkpoint.all_of(folder)]


@pytest.mark.parametrize("keep, every, left", [
    (1, None, [12]), (2, None, [11, 12]), (3, None, [10, 11, 12]), (1, 5, [5, 10, 12]), (2, 6, [6, 11, 12]), (2, 1, [*range(1, 13)]),
])  # fmt: skip
def test_the_newest_and_those_of_the_rhythm_stay(tmp_path, keep, every, left):
    for step in range(1, 13):
        checkpoint.write(tmp_path, state(step), keep, every)
    assert steps_in(tmp_path) == left and len(list(tmp_path.iterdir())) == len(left)
    assert all(whole(checkpoint.read(path)) == int(path.name[5:]) for path in checkpoint.all_of(tmp_path))


def test_the_settings_of_a_run_decide(tmp_path):
    settings = world.settings(num_steps=8, checkpoint_steps=1, keep_checkpoints=2, keep_every=3)
    list(train(world.model(), world.batches(), settings, tmp_path, str))
    assert [step for step in steps_in(tmp_path / "checkpoints") if step > 0] == [3, 6, 7, 8]


@pytest.mark.parametrize("background", [True, False])
def test_after_a_roll_back_the_list_of_losses_is_of_the_steps_that_count(tmp_path, monkeypatch, background):
    """At step 6 the run goes back to step 4, whose save may still run, and on from there."""
    rolled, seen = [], []

    def judge(self, step, loss, norm):
        if step == 5 and not rolled:
            seen.append(world.losses(tmp_path))
            rolled.append(step)
            return Verdict("roll back", "planted")
        return Verdict("train", "")

    monkeypatch.setattr(SpikeGuard, "judge", judge)
    settings = world.settings(num_steps=8, checkpoint_steps=4, background_saves=background)
    trained = world.model()
    records = list(train(trained, world.batches(), settings, tmp_path, str))
    assert [record.step for record in records] == [1, 2, 3, 4, 5, 5, 6, 7, 8]
    assert [line["step"] for line in seen[0]] == [1, 2, 3, 4, 5]
    lines = world.losses(tmp_path)
    assert [line["step"] for line in lines] == list(range(1, 9))
    assert [line["tokens"] for line in lines] == [256 * step for step in range(1, 9)]
    assert [line["loss"] for line in lines[4:]] == [record.loss for record in records[5:]]
    monkeypatch.undo()
    calm = world.model()
    list(train(calm, world.batches(), settings, tmp_path / "calm", str))
    assert world.weights_digest(calm) == world.weights_digest(trained)
    assert world.losses(tmp_path / "calm") == lines


def test_lines_are_whole_while_the_run_goes_on_and_strict_json(tmp_path):
    def nothing_else(name):
        raise AssertionError(f"{name} is not JSON")

    history = History(tmp_path)
    for step in range(1, 40):
        history.append(1.0 / step, float("inf") if step % 3 == 0 else 2.0, 0.1, 7)
        text = (tmp_path / "losses.jsonl").read_text()
        assert text.endswith("\n") and text.count("\n") == step
        last = json.loads(text.splitlines()[-1], parse_constant=nothing_else)
        assert last["step"] == step and last["tokens"] == 7 * step
        assert last["grad_norm"] == (None if step % 3 == 0 else 2.0)
    history.close()
    again = History(tmp_path, history.tensor()[:20])
    assert torch.equal(again.tensor(), history.tensor()[:20])
    assert len(world.losses(tmp_path)) == 20
    again.append(0.5, 1.0, 0.1, 7)
    assert [line["step"] for line in world.losses(tmp_path)][-2:] == [20, 21]
    again.close()


def test_a_reader_that_has_the_file_open_keeps_whole_lines_through_a_roll_back(tmp_path):
    history = History(tmp_path)
    for _ in range(5):
        history.append(1.0, 1.0, 0.1, 7)
    with open(tmp_path / "losses.jsonl") as reader:
        assert reader.readline().startswith('{"step": 1,')
        again = History(tmp_path, history.tensor()[:2])
        assert [json.loads(line)["step"] for line in reader] == [2, 3, 4, 5]  # the old list, to its end
    history.close()
    again.close()
