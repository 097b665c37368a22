"""The loop: it learns, pieces and saves do not change the numbers, an interrupted run ends in the same bits."""

import dataclasses
import math

import pytest
import torch
import world
from safetensors.torch import load_file

from ownlm.errors import ArtifactError, DataError, UsageError
from ownlm.train import checkpoint
from ownlm.train.batches import Batch
from ownlm.train.loop import forward_backward, train
from ownlm.train.objectives.cross_entropy import IGNORE
from ownlm.train.setup import prepare
from ownlm.train.state import Keeper


def silent(text):
    pass


def run(folder, stop_after=None, notice=silent, seed=1, **changes):
    """Train in the tiny world; `stop_after` abandons the run there, as a kill between two steps would."""
    trained = world.model(seed)
    records = []
    for record in train(trained, world.batches(), world.settings(**changes), folder, notice):
        records.append(record)
        if len(records) == stop_after:
            break
    return trained, records


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    trained, records = run(folder)
    return world.weights_digest(trained), (folder / "losses.jsonl").read_bytes(), records


def test_it_learns_and_every_record_adds_up(undisturbed):
    _, _, records = undisturbed
    assert [record.step for record in records] == list(range(1, 13))
    assert records[0].loss == pytest.approx(math.log(512), rel=0.02)
    assert records[-1].loss < records[0].loss - 0.5
    assert all(record.tokens == record.step * 256 and record.mfu > 0 for record in records)


def test_two_fresh_runs_and_any_rhythm_of_saving_give_the_same_bits(undisturbed, tmp_path):
    trained, _ = run(tmp_path, checkpoint_steps=1, checkpoint_seconds=1e-9)
    assert world.weights_digest(trained) == undisturbed[0]
    assert (tmp_path / "losses.jsonl").read_bytes() == undisturbed[1]


@pytest.mark.parametrize("every, stops", [(1, (3, 1, 4)), (5, (7, 2, 3)), (4, (4, 4))])
def test_interrupted_runs_end_in_the_same_bits(undisturbed, tmp_path, every, stops):
    for stop in stops:
        run(tmp_path, stop_after=stop, checkpoint_steps=every)
    with open(tmp_path / "losses.jsonl", "a") as file:
        file.write('{"step": 99, "lo')  # a line that a kill cut short
    trained, records = run(tmp_path, checkpoint_steps=every)
    assert records[0].step % every == 1 % every and records[-1].step == 12
    assert world.weights_digest(trained) == undisturbed[0]
    assert (tmp_path / "losses.jsonl").read_bytes() == undisturbed[1]
    again, none = run(tmp_path, checkpoint_steps=every)  # a finished run: nothing to do, same weights
    assert none == [] and world.weights_digest(again) == undisturbed[0]


def test_a_resume_restores_whatever_the_new_process_began_with(undisturbed, tmp_path):
    run(tmp_path, stop_after=6, checkpoint_steps=6)
    trained, _ = run(tmp_path, seed=77)  # other start weights: all of them must come from the checkpoint
    assert world.weights_digest(trained) == undisturbed[0]


def test_a_damaged_checkpoint_is_told_and_the_one_before_leads_to_the_same_bits(undisturbed, tmp_path):
    run(tmp_path, stop_after=9, checkpoint_steps=3)
    path = tmp_path / "checkpoints" / "step-000009" / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    told = []
    trained, records = run(tmp_path, notice=told.append)
    assert records[0].step == 7 and any(
        "step-000009" in text and "model.safetensors" in text for text in told
    )
    assert world.weights_digest(trained) == undisturbed[0]
    assert (tmp_path / "losses.jsonl").read_bytes() == undisturbed[1]


def parts(found):
    """Every saved part with a function that leaves it out or sets it back."""
    for group in ("model", "optimizer", "run"):
        for name in getattr(found, group):
            yield f"{group}: {name}", group, name


def test_every_part_left_out_of_a_checkpoint_is_noticed(tmp_path):
    run(tmp_path, stop_after=6, checkpoint_steps=6)
    folder = tmp_path / "checkpoints"
    good = checkpoint.newest(folder, pytest.fail)
    model, config = world.model(), world.settings()
    keeper = Keeper(model, prepare(model, config, silent), config, tmp_path, silent)
    for label, group, name in parts(good):
        tensors = {key: value for key, value in getattr(good, group).items() if key != name}
        checkpoint.write(folder, dataclasses.replace(good, **{group: tensors}))
        with pytest.raises(ArtifactError):
            keeper.restore()
            pytest.fail(f"{label} was left out and nobody noticed")
    checkpoint.write(folder, good)
    assert run(tmp_path)[1][0].step == 7


def test_the_random_state_comes_back(tmp_path):
    run(tmp_path, stop_after=6, checkpoint_steps=6)
    saved = load_file(tmp_path / "checkpoints" / "step-000006" / "run.safetensors")["torch_rng"]
    torch.manual_seed(999)
    config = world.settings()
    trained = world.model()
    Keeper(trained, prepare(trained, config, silent), config, tmp_path, silent).restore()
    assert torch.equal(torch.get_rng_state(), saved)


def test_another_configuration_or_model_is_refused_another_machine_is_told(tmp_path):
    run(tmp_path, stop_after=6, checkpoint_steps=6)
    with pytest.raises(ArtifactError, match=r"learning_rate: None in the checkpoint, 0\.01 now"):
        run(tmp_path, learning_rate=0.01)
    other = world.model()
    other.blocks = other.blocks[:1]
    with pytest.raises(ArtifactError, match=r"blocks\.1\."):
        list(train(other, world.batches(), world.settings(), tmp_path, silent))
    found = checkpoint.newest(tmp_path / "checkpoints", pytest.fail)
    elsewhere = {**found.environment, "threads": 96}
    checkpoint.write(tmp_path / "checkpoints", dataclasses.replace(found, environment=elsewhere))
    told = []
    run(tmp_path, notice=told.append)
    assert any("threads 96 -> 1" in text for text in told)


def test_pieces_give_the_gradient_of_the_whole_batch_also_when_their_trained_tokens_differ():
    batch = world.batches()(0)
    batch.targets[0, :60] = IGNORE
    batch.targets[3, :] = IGNORE
    found = []
    for micro in (64, 128, 10_000):
        model, config = world.model(), world.settings(micro_tokens=micro)
        loss = forward_backward(model, batch, prepare(model, config, silent), config)
        found.append((loss, model.blocks[0].mixer.q.weight.grad, model.embedding.weight.grad))
    plain = world.model()
    logits = plain(batch.inputs)
    loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), batch.targets.flatten(), ignore_index=-100)
    loss.backward()
    for total, q, embedding in found:
        assert total == pytest.approx(loss.item(), rel=1e-5)
        torch.testing.assert_close(q, plain.blocks[0].mixer.q.weight.grad, rtol=1e-3, atol=1e-6)
        torch.testing.assert_close(embedding, plain.embedding.weight.grad, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("rows, at_most, taken", [(4, 3, 2), (5, 3, 1), (24, 6, 6), (3, 100, 3)])
def test_all_pieces_of_a_batch_have_one_shape(rows, at_most, taken, monkeypatch):
    model, config = world.model(), world.settings(micro_tokens=at_most * 16)
    ids, shapes = torch.zeros(rows, 16, dtype=torch.int64), []
    plain = model.hidden
    monkeypatch.setattr(model, "hidden", lambda x: shapes.append(tuple(x.shape)) or plain(x))
    forward_backward(model, Batch(ids, ids), prepare(model, config, silent), config)
    assert shapes == [(taken, 16)] * (rows // taken)


def test_a_batch_without_a_trained_token_is_an_error(tmp_path):
    def empty(step):
        batch = world.batches()(step)
        return Batch(batch.inputs, torch.full_like(batch.targets, IGNORE))

    with pytest.raises(DataError, match="no token to train on"):
        next(train(world.model(), empty, world.settings(), tmp_path, silent))


def test_divergence_stops_with_the_last_checkpoint_good(tmp_path):
    trained = world.model()
    settings = world.settings(checkpoint_steps=1, on_spike="stop")
    records = train(trained, world.batches(), settings, tmp_path, silent)
    next(records)
    trained.blocks[0].mixer.q.weight.data[0, 0] = float("inf")
    with pytest.raises(UsageError, match="step 2: loss nan"):
        next(records)
    assert checkpoint.newest(tmp_path / "checkpoints", pytest.fail).step == 1
    assert len(world.losses(tmp_path)) == 1
