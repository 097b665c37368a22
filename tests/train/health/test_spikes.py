"""A bad batch is passed over, damaged weights lead back to a checkpoint, an ordinary run is left alone."""

import math

import pytest
import torch
import world
from safetensors.torch import load_file

from ownlm.errors import UsageError
from ownlm.model.config import ModelConfig
from ownlm.model.decoder import Decoder
from ownlm.train import checkpoint
from ownlm.train.batches import Batch
from ownlm.train.health.spikes import FEWEST, IN_A_ROW, SpikeGuard, centre
from ownlm.train.loop import train
from ownlm.train.setup import Setup

STEPS, VOCAB, T = 40, 64, 16


def small_model():
    return Decoder(ModelConfig(VOCAB, 32, 64, 1, 2, 1, 16, T), 1)


def ordinary(number):
    """x -> 5 x + 7, which a step or two of Muon learns; one token in ten is drawn."""
    random = torch.Generator().manual_seed(number)
    rows = torch.randint(VOCAB // 2, (4, T + 1), generator=random)
    for t in range(T):
        follows = (rows[:, t] * 5 + 7) % (VOCAB // 2)
        rows[:, t + 1] = torch.where(torch.rand(4, generator=random) < 0.1, rows[:, t + 1], follows)
    return Batch(rows[:, :-1].contiguous(), rows[:, 1:].contiguous())


def poisoned(*bad, kind="random"):
    """The tiny world's batches, those of these numbers replaced by one that can only do harm."""

    def batch_at(number):
        batch = ordinary(number)
        if number not in bad:
            return batch
        if kind == "repeated":
            return Batch(torch.full_like(batch.inputs, 7), torch.randint(VOCAB, batch.targets.shape, generator=torch.Generator().manual_seed(number)))  # fmt: skip
        random = torch.Generator().manual_seed(number)
        return Batch(*(torch.randint(VOCAB // 2, VOCAB, (4, T), generator=random) for _ in range(2)))

    return batch_at


def run(folder, batch_at=None, told=None, damage=None, stop_after=None, **changes):
    """damage: {step: function of the model}, called after that step, once."""
    model, records, left = small_model(), [], dict(damage or {})
    settings = world.settings(**({"num_steps": STEPS, "checkpoint_steps": 10} | changes))
    told = [] if told is None else told
    for record in train(model, batch_at or ordinary, settings, folder, told.append):
        records.append(record)
        if record.step in left:
            left.pop(record.step)(model)
        if len(records) == stop_after:
            break
    return model, records, told


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    return run(tmp_path_factory.mktemp("undisturbed"))[1]


def test_a_poisoned_batch_is_passed_over_named_and_saved_and_the_run_converges(tmp_path, undisturbed):
    _, records, told = run(tmp_path, poisoned(30))
    assert [record.step for record in records] == list(range(1, STEPS + 1))
    (line,) = [text for text in told if "passed over" in text]
    assert "step 31" in line and "batch 30 is passed over" in line
    assert "ids that the ordinary batches lack" in line or "neighbouring pairs are new" in line
    assert records[30].event == "after passing over batch 30"
    assert records[-1].loss == pytest.approx(undisturbed[-1].loss, abs=0.25)
    saved = load_file(tmp_path / "checkpoints" / f"step-{STEPS:06d}" / "run.safetensors")
    assert saved["guard.passed"].tolist() == [30]


def test_training_on_the_same_batch_shows_why_it_is_passed_over(tmp_path, undisturbed):
    _, records, told = run(tmp_path, poisoned(30), on_spike="ignore")
    assert records[30].loss > undisturbed[30].loss + 0.5 and not any("passed" in text for text in told)


def test_stop_ends_the_run_and_names_the_batch(tmp_path):
    with pytest.raises(UsageError, match=r"step 31: loss .* batch 30: .*repeat") as caught:
        run(tmp_path, poisoned(30, kind="repeated"), on_spike="stop")
    assert "the same id" in str(caught.value) or "one and the same id" in str(caught.value)


def test_weights_damaged_by_an_update_lead_back_to_the_checkpoint(tmp_path, undisturbed):
    def damage(model):
        model.blocks[0].mixer.v.weight.data[3, 3] = float("nan")

    model, records, told = run(tmp_path, damage={25: damage})
    assert any("blocks.0.mixer.v.weight" in text for text in told)
    assert any("goes back to its last checkpoint, at 0.5 of the rate" in text for text in told)
    steps = [record.step for record in records]
    assert steps == [*range(1, 26), *range(21, STEPS + 1)]
    assert all(torch.isfinite(weight).all() for weight in model.parameters())
    assert records[-1].loss < undisturbed[25].loss
    assert [row["step"] for row in world.losses(tmp_path)] == list(range(1, STEPS + 1))
    saved = load_file(tmp_path / "checkpoints" / f"step-{STEPS:06d}" / "run.safetensors")
    assert saved["guard.passed"].tolist() == [25, 26, 27] and saved["guard.factor"] == 0.5


def test_damage_before_the_first_checkpoint_leads_back_to_the_start_weights(tmp_path):
    def damage(model):
        model.embedding.weight.data.fill_(float("inf"))

    first = run(tmp_path / "a", num_steps=4, checkpoint_steps=None)[1]
    _, records, _ = run(tmp_path / "b", damage={3: damage}, num_steps=8, checkpoint_steps=None)
    assert [record.step for record in records] == [1, 2, 3, *range(1, 9)]
    assert records[3].loss == first[0].loss  # the weights of the start, and the first batch again


@pytest.mark.parametrize("at", [20, STEPS])
def test_weights_that_an_update_damages_are_never_saved(tmp_path, monkeypatch, at):
    """Step `at` is to be saved, and its update, which nobody judged, leaves a NaN."""
    plain, left = Setup.update, [at]

    def update(self, rate):
        plain(self, rate)
        if left and self.groups[0].optimizer.num_updates == left[0]:
            left.pop()
            self.groups[0].optimizer.parameters[0][1].data[0, 0] = float("nan")

    monkeypatch.setattr(Setup, "update", update)
    if at == STEPS:
        with pytest.raises(UsageError, match="step 40: 1 weights are not finite"):
            run(tmp_path)
        assert checkpoint.newest(tmp_path / "checkpoints", pytest.fail).step == 30
        return
    _, records, told = run(tmp_path)
    assert any("step 20: 1 weights are not finite" in text and "not saved" in text for text in told)
    assert [r.step for r in records] == [*range(1, 21), *range(11, STEPS + 1)]


def test_recoveries_are_bounded(tmp_path):
    def damage(model):
        model.norm.weight.data[0] = float("nan")

    with pytest.raises(UsageError, match="after 3 roll-backs"):
        run(tmp_path, damage=dict.fromkeys((21, 22, 23, 24), damage))


def test_a_recovery_that_is_killed_ends_in_the_same_bits(tmp_path):
    batches = poisoned(24, 33, 34, 35)
    whole = run(tmp_path / "whole", batches)[0]
    for stop in (27, 9):
        run(tmp_path / "cut", batches, stop_after=stop)
    again = run(tmp_path / "cut", batches)[0]
    assert world.weights_digest(again) == world.weights_digest(whole)
    files = [(tmp_path / name / "losses.jsonl").read_bytes() for name in ("whole", "cut")]
    assert files[0] == files[1]


@pytest.mark.parametrize("changes", [{}, {"optimizer": "adamw", "learning_rate": 3e-3}, {"seed": 5, "schedule": "cosine"},
                                     {"learning_rate": 0.1}, {"clip": None, "warmup_fraction": 0.0}])  # fmt: skip
def test_an_ordinary_run_raises_no_alarm(tmp_path, changes):
    _, records, told = run(tmp_path, **changes)
    assert len(records) == STEPS and not any("passed over" in text for text in told)


def test_positions_skip_what_was_passed_over():
    guard = SpikeGuard(world.settings())
    guard.passed = [3, 4, 9]
    assert [guard.position(step) for step in range(9)] == [0, 1, 2, 5, 6, 7, 8, 10, 11]


def test_the_limits_are_those_of_the_docstring():
    guard = SpikeGuard(world.settings())
    for n in range(FEWEST - 1):
        assert guard.judge(n, 2.0 + 0.01 * (n % 3), 1.0).action == "train"
    assert guard.judge(20, 50.0, 1.0).action == "train"  # one too few to compare with
    for loss, norm, action in ((2.5, 1.0, "train"), (2.52, 1.0, "pass over"), (2.0, 19.0, "train"), (2.0, 21.0, "pass over"),
                               (math.nan, 1.0, "pass over"), (2.0, math.inf, "roll back")):  # fmt: skip
        assert guard.judge(30, loss, norm).action == action, (loss, norm)
    assert guard.num_recoveries == 1 and IN_A_ROW == 3


def test_an_outlier_moves_neither_centre_nor_spread():
    assert centre([1, 2, 3, 4, 5]) == (3, pytest.approx(1.4826))
    assert centre([1, 2, 3, 4, 5e9]) == (3, pytest.approx(1.4826))
