"""Gradient norms by layer: equal to autograd's own, sampled, the same after a resume, and free of charge otherwise."""

import pytest
import torch
import world

from ownlm.train.health.gradients import FILE, layer_norms, layer_of, report
from ownlm.train.health.steplog import StepLog, read
from ownlm.train.loop import train
from ownlm.train.optimizers.clip import global_norm


def run(folder, stop_after=None, **changes):
    records = []
    for record in train(world.model(), world.batches(), world.settings(**changes), folder, lambda text: None):
        records.append(record)
        if len(records) == stop_after:
            break
    return records


def test_layers_by_name():
    assert layer_of("blocks.3.mixer.q.weight") == "blocks.3" and layer_of("embedding.weight") == "embedding"
    assert layer_of("encoder.blocks.0.norm.weight") == "encoder.blocks.0"


def test_norms_are_those_of_the_gradient():
    model = world.model()
    model(torch.zeros(1, 8, dtype=torch.int64)).square().sum().backward()
    norms = layer_norms(model, global_norm)
    expected = torch.cat([p.grad.flatten() for p in model.blocks[1].parameters()]).norm()
    assert norms["blocks.1"] == pytest.approx(float(expected), rel=1e-5)
    assert list(norms) == ["embedding", "blocks.0", "blocks.1", "norm"]


def test_sampled_norms_add_up_to_the_records_and_survive_a_resume(tmp_path):
    records = run(tmp_path / "whole", gradient_steps=3)
    rows = read(tmp_path / "whole" / FILE)
    assert [row["step"] for row in rows] == [3, 6, 9, 12]
    for row in rows:
        whole = sum(norm**2 for norm in row["norms"].values()) ** 0.5
        assert whole == pytest.approx(records[row["step"] - 1].grad_norm, rel=1e-5)
    run(tmp_path / "cut", stop_after=10, checkpoint_steps=5, gradient_steps=3)
    run(tmp_path / "cut", gradient_steps=3)
    assert read(tmp_path / "cut" / FILE) == rows
    plain = run(tmp_path / "plain")
    assert [r.loss for r in plain] == [r.loss for r in records] and not (tmp_path / "plain" / FILE).exists()
    text = report(tmp_path / "whole")
    assert "blocks.1" in text and "from 3 to 12" in text


def test_the_report_names_what_stands_out(tmp_path):
    log = StepLog(tmp_path / FILE)
    for step in range(1, 30):
        norms = {
            "embedding": 1.0,
            "blocks.0": 1e-6,
            "blocks.1": 1.0,
            "blocks.2": 90.0 if step == 9 else 1.0,
            "head": 0.0,
        }
        log.append(step, {"norms": norms})
    lines = {line.split()[0]: line for line in report(tmp_path).splitlines()}
    assert (
        "vanishing" in lines["blocks.0"] and "spikes" in lines["blocks.2"] and "no gradient" in lines["head"]
    )
    assert lines["blocks.1"].rstrip().endswith("1") and report(tmp_path / "none") == ""


def test_a_log_has_one_line_per_step_whatever_happened(tmp_path):
    log = StepLog(tmp_path / "log.jsonl")
    for step in (1, 2, 3, 3, 2):
        log.append(step, {"n": step})
    with open(log.path, "a") as file:
        file.write('{"step": 9, "n')  # a kill
    StepLog(log.path).append(4, {"n": 4})
    assert [row["step"] for row in read(log.path)] == [1, 2, 4]
