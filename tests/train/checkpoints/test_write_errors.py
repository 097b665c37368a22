"""A5: the disk refuses at the k-th operation of a save, for every k: the checkpoint before stays, the next save tidies."""

import errno
import os

import pytest
import world
from crashdisk import Disk
from small import state, whole

from ownlm.errors import MachineError
from ownlm.runtime import files
from ownlm.train import checkpoint
from ownlm.train.background import Writer
from ownlm.train.loop import train


@pytest.fixture(autouse=True)
def _quick_disk(monkeypatch):
    monkeypatch.setattr(
        os, "fsync", lambda descriptor: None
    )  # which is most of the time; nothing crashes here


def saved_with_a_fault(folder, writer, code, at, for_good):
    """Save step 3 while operation `at` (and with `for_good` all after it) fails; returns (error, operations tried)."""

    def fail(number):
        if number == at or (for_good and number > at):
            return OSError(code, "injected", str(folder))
        return None

    with pytest.MonkeyPatch.context() as patch:
        disk = Disk(patch, folder, fail=fail)
        try:
            writer.start(lambda: checkpoint.write(folder, state(3)))
            writer.wait()
            return None, disk.count
        except MachineError as error:
            return error, disk.count


QUICK = [(errno.ENOSPC, False, True), (errno.EIO, True, False)]
ALL = [
    (c, b, f) for c in (errno.ENOSPC, errno.EIO, errno.EDQUOT) for b in (False, True) for f in (False, True)
]
SLOW = [pytest.param(*case, marks=pytest.mark.slow) for case in ALL if case not in QUICK]


@pytest.mark.parametrize("code, background, for_good", [*QUICK, *SLOW])
def test_at_every_operation_of_a_save_the_checkpoint_before_stays(tmp_path, code, background, for_good):
    writer, raised, tried, at = Writer(background), 0, 0, 0
    for step in (1, 2):
        checkpoint.write(tmp_path, state(step))
    while True:
        at += 1
        error, count = saved_with_a_fault(tmp_path, writer, code, at, for_good)
        if count < at:
            break
        tried += 1
        found = checkpoint.newest(tmp_path, pytest.fail)
        if error is None:  # the fault hit a removal of what is old already: the save itself is good
            assert whole(found) == 3
        else:
            raised += 1
            assert whole(found) in (2, 3) and error.exit_code == 5 and "injected" not in error.what
        assert writer.num_failed == raised
        checkpoint.write(tmp_path, state(4))
        assert sorted(path.name for path in tmp_path.iterdir())[-1] == "step-000004"
        assert len(list(tmp_path.iterdir())) == 2  # no leftovers
        for path in tmp_path.iterdir():
            assert checkpoint.problems(path) == []
        for path in list(tmp_path.iterdir()):
            for file in path.iterdir():
                file.unlink()
            path.rmdir()
        for step in (1, 2):
            checkpoint.write(tmp_path, state(step))
    assert tried > 30 and raised > 25


@pytest.mark.parametrize("background", [False, True])
def test_a_run_on_a_full_disk_ends_with_the_documented_code_and_goes_on_later(tmp_path, monkeypatch, background):  # fmt: skip
    settings = world.settings(num_steps=6, checkpoint_steps=2, background_saves=background, on_spike="stop")

    def run():
        trained = world.model()
        return trained, [record.step for record in train(trained, world.batches(), settings, tmp_path, str)]

    monkeypatch.setenv("OWNLM_FAULT", f"ENOSPC@{files._writes + 7}-")  # the second save
    with pytest.raises(MachineError, match="No space left") as caught:
        run()
    assert caught.value.exit_code == 5 and "free some space" in caught.value.fix
    monkeypatch.delenv("OWNLM_FAULT")
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-000002"]
    trained, steps = run()
    assert steps == [3, 4, 5, 6]
    calm = world.model()
    list(train(calm, world.batches(), settings, tmp_path / "calm", str))
    assert world.weights_digest(trained) == world.weights_digest(calm)
