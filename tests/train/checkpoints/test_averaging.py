"""Means of checkpoints against numpy; a loss that does not rise; damaged and foreign ones refused."""

import dataclasses
import os

import numpy as np
import pytest
import torch
import world
from typer.testing import CliRunner

from ownlm.cli import checkpoint as command
from ownlm.errors import ArtifactError, UsageError
from ownlm.model.adapters import hf
from ownlm.train import averaging, checkpoint
from ownlm.train.checkpoint import Checkpoint
from ownlm.train.loop import train


def written(folder, weights, step):
    made = Checkpoint(step, {}, weights, {"m": torch.ones(1)}, {"history": torch.zeros(step, 4)})
    return checkpoint.write(folder, made, keep=100)


def some(step, dtype=torch.float32):
    dice = torch.Generator().manual_seed(step)
    return {"w": torch.randn(4, 6, generator=dice).to(dtype), "b": torch.randn(5, generator=dice), "n": torch.tensor(step)}  # fmt: skip


@pytest.mark.parametrize("shard", [10**9, 30])
def test_mean_and_exponential_mean_against_numpy(tmp_path, monkeypatch, shard):
    monkeypatch.setattr(checkpoint, "MAX_SHARD_BYTES", shard)
    paths = [written(tmp_path, some(step), step) for step in (1, 2, 3, 4)]
    stack = np.stack([some(step)["w"].numpy().astype(np.float64) for step in (1, 2, 3, 4)])
    found = dict(averaging.averaged(paths))
    np.testing.assert_array_equal(found["w"].numpy(), stack.mean(0).astype(np.float32))
    assert found["n"] == 4 and found["w"].dtype == torch.float32  # whole numbers come from the newest
    ema = dict(averaging.averaged(paths, decay=0.7))["w"].numpy()
    shares = [0.7**3, 0.3 * 0.7**2, 0.3 * 0.7, 0.3]
    np.testing.assert_allclose(ema, (stack * np.array(shares)[:, None, None]).sum(0), rtol=1e-6, atol=1e-7)
    np.testing.assert_array_equal(dict(averaging.averaged(paths, decay=0.0))["b"].numpy(), some(4)["b"].numpy())  # fmt: skip


def test_what_cannot_be_averaged_is_refused(tmp_path):
    first, second = written(tmp_path, some(1), 1), written(tmp_path, some(2), 2)
    for paths, decay in (([], None), ([first], 1.0), ([first], -0.1)):
        with pytest.raises(UsageError):
            list(averaging.averaged(paths, decay))
    other = written(tmp_path, some(3) | {"more": torch.ones(1)}, 3)
    with pytest.raises(ArtifactError, match="more"):
        list(averaging.averaged([first, other]))
    wide = written(tmp_path, some(4) | {"w": torch.ones(4, 7)}, 4)
    with pytest.raises(ArtifactError, match=r"w: \(4, 7\)|w: \(4, 6\)"):
        list(averaging.averaged([first, wide]))
    content = bytearray((second / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (second / "model.safetensors").write_bytes(content)
    with pytest.raises(ArtifactError, match=r"model\.safetensors"):
        list(averaging.averaged([first, second]))
    with pytest.raises(ArtifactError, match="which architecture"):
        averaging.into_model([first])


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run at a constant, rather high rate: its weights wander around the minimum."""
    folder = tmp_path_factory.mktemp("wandering")
    settings = world.settings(
        num_steps=80, schedule="constant", learning_rate=0.1, embedding_learning_rate=0.05,
        checkpoint_steps=2, keep_checkpoints=6,
    )  # fmt: skip
    last = world.model()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        list(train(last, world.batches(), settings, folder, str))
    return folder, last


def heldout_loss(model):
    batches = world.batches(seed=99)
    with torch.no_grad():
        losses = [torch.nn.functional.cross_entropy(model(b.inputs).flatten(0, 1), b.targets.flatten()) for b in map(batches, range(4))]  # fmt: skip
    return float(torch.stack(losses).mean())


def test_averaging_the_last_checkpoints_lowers_or_keeps_the_loss(finished):
    folder, last = finished
    paths = checkpoint.all_of(folder / "checkpoints")
    assert len(paths) == 6
    mean, exponential = averaging.into_model(paths), averaging.into_model(paths, decay=0.5)
    assert heldout_loss(mean) <= heldout_loss(last)
    assert heldout_loss(exponential) <= heldout_loss(last)
    alone = averaging.into_model(paths[-1:])
    assert world.weights_digest(alone) == world.weights_digest(last)


def test_the_command_lists_shows_verifies_and_averages(finished, tmp_path):
    folder, last = finished
    runner = CliRunner()

    def call(*words, code=0):
        result = runner.invoke(command.app, [*map(str, words)])
        assert result.exit_code == code, (result.output, result.exception)
        return result.stdout

    listed = call("list", folder)
    assert "whole" in listed and "80" in listed and f"{world.losses(folder)[-1]['loss']:.4f}" in listed
    assert "learning_rate" in call("show", folder) and '"whole": 6' in call("verify", folder, "--json")
    call("average", folder, "--last", 1, "--out", tmp_path / "one")
    assert world.weights_digest(hf.load(tmp_path / "one")) == world.weights_digest(last)
    call("average", folder, "--decay", 0.5, "--out", tmp_path / "six", "--json")
    assert heldout_loss(hf.load(tmp_path / "six")) <= heldout_loss(last)
    with pytest.raises(UsageError, match="fewer"):
        runner.invoke(command.app, ["average", str(folder), "--last", "7", "--out", str(tmp_path / "x")], catch_exceptions=False)  # fmt: skip
    with pytest.raises(UsageError, match="not empty"):
        runner.invoke(command.app, ["average", str(folder), "--out", str(tmp_path / "one")], catch_exceptions=False)  # fmt: skip
    with pytest.raises(ArtifactError, match="no checkpoint"):
        runner.invoke(command.app, ["list", str(tmp_path)], catch_exceptions=False)


def test_the_command_names_what_is_damaged(finished, tmp_path):
    found = checkpoint.newest(finished[0] / "checkpoints", pytest.fail)
    checkpoint.write(tmp_path, dataclasses.replace(found, step=1))
    path = checkpoint.write(tmp_path, dataclasses.replace(found, step=2)) / "optimizer.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    result = CliRunner().invoke(command.app, ["verify", str(tmp_path)])
    assert result.exit_code == 4 and "optimizer.safetensors" in result.output
    assert "1 of 2 checkpoints are whole" in result.output
    listed = CliRunner().invoke(command.app, ["list", str(tmp_path), "--json"])
    assert '"damaged"' in listed.stdout and '"whole"' in listed.stdout
