"""A checkpoint is whole or refused: killed at every file operation, every byte flipped, every length cut."""

import json
import os
import random
import shutil

import pytest
import torch

from ownlm.errors import ArtifactError, MachineError
from ownlm.train import checkpoint
from ownlm.train.checkpoint import Checkpoint


class Killed(BaseException):
    """The process ends here: nothing of ours may run afterwards, so nothing of ours may catch it."""


def state(step):
    tensors = {"a": torch.full((3, 5), float(step)), "b": torch.arange(7) + step}
    return Checkpoint(
        step, {"num_steps": 9}, tensors, {"m": torch.ones(4) * step}, {"history": torch.zeros(step, 4)}
    )


def whole(found):
    """The step of a checkpoint, after checking that all of its parts are of that step."""
    assert torch.equal(found.model["a"], torch.full((3, 5), float(found.step)))
    assert torch.equal(found.model["b"], torch.arange(7) + found.step)
    assert torch.equal(found.optimizer["m"], torch.ones(4) * found.step)
    assert len(found.run["history"]) == found.step
    return found.step


def test_what_is_written_is_read_and_only_two_are_kept(tmp_path):
    for step in (1, 2, 3):
        checkpoint.write(tmp_path, state(step))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-000002", "step-000003"]
    assert whole(checkpoint.newest(tmp_path, pytest.fail)) == 3


def operations(monkeypatch, stop_at):
    """Count every operation that changes the disk; at number `stop_at` the process dies just before it."""
    count = [0]

    def wrap(module, name):
        real = getattr(module, name)

        def operation(*arguments, **options):
            if count[0] == stop_at:
                raise Killed
            count[0] += 1
            return real(*arguments, **options)

        monkeypatch.setattr(module, name, operation)

    for name in ("replace", "rename", "fsync", "mkdir", "rmdir", "unlink", "chmod"):
        wrap(os, name)
    wrap(shutil, "rmtree")
    return count


def test_killed_before_every_file_operation_of_a_save_the_old_or_the_new_one_loads(tmp_path, monkeypatch):
    seen = []
    for stop in range(10_000):
        folder = tmp_path / str(stop)
        checkpoint.write(folder, state(1))
        checkpoint.write(folder, state(2))
        with monkeypatch.context() as patch:
            count = operations(patch, stop)
            try:
                checkpoint.write(folder, state(3))
                finished = True
            except Killed:
                finished = False
        seen.append(whole(checkpoint.newest(folder, pytest.fail)))
        checkpoint.write(folder, state(4))  # and the next save works whatever the kill left behind
        assert whole(checkpoint.newest(folder, pytest.fail)) == 4
        assert len(list(folder.iterdir())) == 2
        if finished:
            break
    assert stop > 20 and count[0] == stop  # operations were really counted, and all of them tried
    assert seen == sorted(seen) and set(seen) == {2, 3}


def test_a_torn_partial_folder_is_never_taken_for_a_checkpoint(tmp_path):
    good = checkpoint.write(tmp_path, state(5))
    for name in (*checkpoint.TENSOR_FILES, checkpoint.MANIFEST):
        torn = tmp_path / "step-000006.partial"
        shutil.copytree(good, torn)
        (torn / name).write_bytes((torn / name).read_bytes()[:20])
        assert whole(checkpoint.newest(tmp_path, pytest.fail)) == 5
        shutil.rmtree(torn)


def damaged(path, harm):
    """Every whole checkpoint under `path` after `harm(file)` is refused by naming that file."""
    original = path.read_bytes()
    harm(path)
    with pytest.raises(ArtifactError) as caught:
        checkpoint.read(path.parent)
    assert str(path) in caught.value.values
    path.write_bytes(original)


@pytest.mark.parametrize("name", [*checkpoint.TENSOR_FILES, checkpoint.MANIFEST])
@pytest.mark.parametrize(
    "flips, cuts", [(40, 10), pytest.param(250, 50, marks=pytest.mark.slow)]
)  # of each file
def test_every_flipped_bit_and_every_cut_is_refused_with_the_file_named(tmp_path, name, flips, cuts):
    path = checkpoint.write(tmp_path, state(2)) / name
    content = path.read_bytes()
    dice = random.Random(name)
    for _ in range(flips):
        place, bit = dice.randrange(len(content)), dice.randrange(8)
        flipped = bytearray(content)
        flipped[place] ^= 1 << bit
        damaged(path, lambda file, flipped=flipped: file.write_bytes(flipped))
    for length in {0, 1, len(content) - 1, *(dice.randrange(len(content)) for _ in range(cuts))}:
        damaged(path, lambda file, length=length: file.write_bytes(content[:length]))
    damaged(path, lambda file: file.write_bytes(content + b" "))
    damaged(path, lambda file: file.unlink())


def test_a_damaged_one_is_passed_over_told_and_replaced_by_the_next_save(tmp_path):
    checkpoint.write(tmp_path, state(2))
    path = checkpoint.write(tmp_path, state(4)) / "optimizer.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    told = []
    assert whole(checkpoint.newest(tmp_path, told.append)) == 2
    assert len(told) == 1 and "step-000004" in told[0] and "optimizer.safetensors" in told[0]
    checkpoint.write(tmp_path, state(3))
    assert whole(checkpoint.newest(tmp_path, pytest.fail)) == 3  # the damaged later one is gone
    checkpoint.write(tmp_path, state(4))
    assert whole(checkpoint.newest(tmp_path, pytest.fail)) == 4


def test_files_of_two_checkpoints_mixed_are_refused(tmp_path):
    old, new = checkpoint.write(tmp_path, state(1)), checkpoint.write(tmp_path, state(2))
    shutil.copy(old / "model.safetensors", new / "model.safetensors")
    with pytest.raises(ArtifactError, match=r"model\.safetensors"):
        checkpoint.read(new)
    os.rename(old, tmp_path / "step-000009")
    with pytest.raises(ArtifactError, match="step 1"):
        checkpoint.read(tmp_path / "step-000009")


def test_a_full_disk_leaves_the_old_one_and_says_so(tmp_path, monkeypatch):
    checkpoint.write(tmp_path, state(1))
    from ownlm.runtime import files

    for write in range(1, 5):
        monkeypatch.setenv("OWNLM_FAULT", f"ENOSPC@{files._writes + write}")
        with pytest.raises(MachineError, match="No space left"):
            checkpoint.write(tmp_path, state(2))
        assert whole(checkpoint.newest(tmp_path, pytest.fail)) == 1
    monkeypatch.delenv("OWNLM_FAULT")
    checkpoint.write(tmp_path, state(2))
    assert whole(checkpoint.newest(tmp_path, pytest.fail)) == 2


def test_no_checkpoint_file_can_carry_code(tmp_path):
    path = checkpoint.write(tmp_path, state(1))
    assert sorted(file.suffix for file in path.iterdir()) == [".json", *[".safetensors"] * 3]
    json.loads((path / checkpoint.MANIFEST).read_text())
