"""A2: whatever disk a crash leaves at any operation of a save, the old checkpoint or the new one loads whole."""

import random
import shutil

import pytest
from crashdisk import Disk, folders_of, lay, states
from small import state, whole

from ownlm.train import checkpoint, tensorfile


class Violation(AssertionError):
    pass


def refused(text):
    raise Violation(f"a checkpoint under its own name is not whole: {text}")


def recorded(folder, patch, old=(1, 2), new=3, size=15, keep=2, omit=()):
    """The operations of saving `new` where `old` are."""
    for step in old:
        checkpoint.write(folder, state(step, size), keep)
    disk = Disk(patch, folder, omit)
    checkpoint.write(folder, state(new, size), keep)
    return disk


def judge(disk, scratch, old, new, dice, at_random, keep=2, again_every=25):
    """Check every state; returns how many there were, and which steps were loaded."""
    count, seen, made = 0, set(), folders_of(disk)
    for what, end, tree in states(disk, dice, at_random):
        shutil.rmtree(scratch, ignore_errors=True)
        lay(tree, scratch, made)
        found = checkpoint.newest(scratch, refused)
        step = 0 if found is None else whole(found)
        if step not in (old, new) or (end == len(disk.operations) and step != new):
            raise Violation(f"step {step} after {end} operations, {what}")
        for path in checkpoint.all_of(scratch):
            if wrong := checkpoint.problems(path):
                raise Violation(f"{wrong} after {end} operations, {what}")
        count += 1
        seen.add(step)
        if count % again_every == 0:  # whatever the crash left, the next save works and tidies up
            checkpoint.write(scratch, state(new + 1), keep)
            assert whole(checkpoint.newest(scratch, refused)) == new + 1
            assert len(list(scratch.iterdir())) <= keep
    return count, seen


def test_every_crash_state_of_a_save_loads_the_old_or_the_new_one(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        disk = recorded(tmp_path / "run", patch)
    count, seen = judge(disk, tmp_path / "state", 2, 3, random.Random(1), at_random=0)
    assert count >= 40 and seen == {2, 3}


def test_the_first_save_of_a_run_too(tmp_path, monkeypatch):
    (tmp_path / "run").mkdir()
    with monkeypatch.context() as patch:
        disk = Disk(patch, tmp_path / "run")
        checkpoint.write(tmp_path / "run" / "checkpoints", state(1))
    made = folders_of(disk)
    for what, end, tree in states(disk, random.Random(2), 0):
        shutil.rmtree(tmp_path / "state", ignore_errors=True)
        lay(tree, tmp_path / "state", made)
        found = checkpoint.newest(tmp_path / "state" / "checkpoints", refused)
        assert found is None or whole(found) == 1
        assert found is not None or end < len(disk.operations), what


@pytest.mark.parametrize("omit", ["syncfile", "syncdir"])
def test_sabotage_a_save_without_its_fsyncs_is_caught(tmp_path, monkeypatch, omit):
    with monkeypatch.context() as patch:
        disk = recorded(tmp_path / "run", patch, omit=(omit,))
    with pytest.raises(Violation):
        judge(disk, tmp_path / "state", 2, 3, random.Random(1), at_random=0)


@pytest.mark.slow
@pytest.mark.parametrize(
    "keep, shard, size", [(2, 5 * 10**9, 20_000), (1, 40_000, 20_000), (2, 9000, 20_000)]
)
def test_two_thousand_crash_states_torn_and_in_any_order(tmp_path, monkeypatch, keep, shard, size):
    monkeypatch.setattr(checkpoint, "MAX_SHARD_BYTES", shard)
    monkeypatch.setattr(tensorfile, "CHUNK_BYTES", 13_000)
    with monkeypatch.context() as patch:
        disk = recorded(tmp_path / "run", patch, size=size, keep=keep)
    count, seen = judge(disk, tmp_path / "state", 2, 3, random.Random(3), at_random=70, keep=keep)
    assert count >= 1000 and seen == {2, 3}, count  # more than 2,000 in the three together
