"""float16 with loss scaling and emulated bfloat16 track float32; an overflow skips the step."""

import math

import pytest
import torch
import world
from safetensors.torch import load_file

from ownlm.train.loop import train
from ownlm.train.scaling import LossScaler


def run(folder, stop_after=None, **changes):
    model, found = world.model(), []
    for record in train(model, world.batches(), world.settings(**changes), folder, lambda text: None):
        found.append(record)
        if len(found) == stop_after:
            break
    return model, found


def test_half_precision_tracks_float32(tmp_path):
    plain = [record.loss for record in run(tmp_path / "float32")[1]]
    for precision in ("bfloat16", "float16"):
        found = [record.loss for record in run(tmp_path / precision, precision=precision)[1]]
        assert found != plain and max(abs(a - b) for a, b in zip(found, plain, strict=True)) < 0.02


def test_an_overflow_skips_the_step_halves_the_scale_and_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(LossScaler.__init__, "__defaults__", (2.0**40, 3, 1.0))  # float16 ends at 65,504
    trained = world.model()
    start = {name: weight.clone() for name, weight in trained.named_parameters()}
    records = []
    settings = world.settings(precision="float16", num_steps=40, checkpoint_steps=5)
    for record in train(trained, world.batches(), settings, tmp_path, lambda text: None):
        records.append(record)
        if record.event:
            assert not math.isfinite(record.grad_norm) and f"{2.0 ** (40 - len(records)):g}" in record.event
            assert all(torch.equal(weight, start[name]) for name, weight in trained.named_parameters())
        else:
            break
    assert len(records) > 3 and records[-1].step == len(records)  # a skipped step counts
    assert any(not torch.equal(weight, start[name]) for name, weight in trained.named_parameters())


def test_the_scale_resumes_in_the_same_bits(tmp_path, monkeypatch):
    monkeypatch.setattr(LossScaler.__init__, "__defaults__", (2.0**30, 3, 1.0))
    few = {"precision": "float16", "num_steps": 16}
    whole, records = run(tmp_path / "whole", **few)
    assert sum(bool(record.event) for record in records) > 3
    run(tmp_path / "cut", stop_after=9, checkpoint_steps=4, **few)
    again, rest = run(tmp_path / "cut", **few)
    assert [r.loss for r in rest] == [r.loss for r in records[8:]]
    assert world.weights_digest(again) == world.weights_digest(whole)
    paths = [tmp_path / name / "checkpoints" / "step-000016" / "run.safetensors" for name in ("whole", "cut")]
    saved = [load_file(path)["scaler.scaler"] for path in paths]
    assert torch.equal(*saved) and saved[0][0] < 2.0**30


def test_the_scale_grows_after_so_many_good_steps_and_never_falls_below_one():
    scaler = LossScaler(start=4.0, growth_steps=2)
    assert [scaler.overflowed(1.0) or scaler.scale for _ in range(4)] == [4.0, 8.0, 8.0, 16.0]
    assert [scaler.overflowed(math.inf) and scaler.scale for _ in range(5)] == [8.0, 4.0, 2.0, 1.0, False]
    other = LossScaler()
    other.load(scaler.state())
    assert (other.scale, other.good_steps, other.num_overflows) == (1.0, 0, 4)


def test_unscaling_is_exact():
    weight = torch.nn.Parameter(torch.zeros(100))
    gradient = torch.randn(100)
    weight.grad = gradient * 65536
    LossScaler().unscale([weight])
    assert torch.equal(weight.grad, gradient)


@pytest.mark.parametrize("norm", [math.nan, math.inf])
def test_a_norm_that_is_not_finite_is_an_overflow(norm):
    assert LossScaler().overflowed(norm)
