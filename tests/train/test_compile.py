"""Compiled blocks compute what eager ones do; where nothing can be compiled the reason is told."""

import os
import shutil
import subprocess
import sys

import pytest
import torch
import world

from ownlm.train import compile
from ownlm.train.loop import forward_backward, train
from ownlm.train.setup import prepare


def test_without_a_compiler_the_run_is_eager_and_says_why(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    told = []
    records = list(
        train(
            world.model(), world.batches(), world.settings(compile=True, num_steps=2), tmp_path, told.append
        )
    )
    assert len(records) == 2 and any("no C++ compiler" in text for text in told)


def test_the_model_is_compiled_inside_the_step_only():
    model, calls = world.model(), []
    fakes = [lambda *a, n=n, **k: calls.append(n) or a[0] for n in range(2)]
    x = torch.zeros(1, 8, dtype=torch.int64)
    with compile.compiled(model, fakes):
        model(x)
    assert calls == [0, 1]
    model(x)
    assert calls == [0, 1]


@pytest.mark.slow
def test_compiled_gradients_equal_eager_ones():
    found = []
    for wanted in (False, True):
        model, config = world.model(), world.settings(compile=wanted)
        setup = prepare(model, config, lambda text: None)
        assert bool(setup.compiled) is wanted
        loss = forward_backward(model, world.batches()(0), setup, config)
        found.append((loss, [weight.grad for weight in model.parameters()]))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-5)
    for a, b in zip(found[0][1], found[1][1], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-6)


@pytest.mark.slow
def test_a_compiler_that_does_not_work_is_told_and_the_run_is_eager(tmp_path):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "CXX": "/bin/false",
                   "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache")}  # fmt: skip
    command = [sys.executable, world.__file__, str(tmp_path), '{"compile": true, "num_steps": 2}']
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0 and "digest" in done.stdout
    assert "not compiled: the compiler does not work here" in done.stderr
