"""A6: what is saved in the background is the state of the step that asked, saves never interleave, errors come out."""

import threading
import time
import types
from contextlib import nullcontext

import pytest
import torch
import world

from ownlm.errors import MachineError
from ownlm.train import checkpoint
from ownlm.train.background import Copies, Writer
from ownlm.train.loop import train
from ownlm.train.parallel.layout import Alone
from ownlm.train.setup import prepare
from ownlm.train.state import Keeper


def silent(text):
    pass


class Slow(Alone):
    """Writes when it is told to, and notes what runs at the same time."""

    def __init__(self):
        self.go, self.now, self.most, self.begun = threading.Event(), 0, 0, []

    def write(self, folder, made, keep, keep_every):
        self.now += 1
        self.most, self.begun = max(self.most, self.now), [*self.begun, made.step]
        assert self.go.wait(20)
        super().write(folder, made, keep, keep_every)
        self.now -= 1


def keeper_of(tmp_path, layout=None, **changes):
    model, config = world.model(), world.settings(**changes)
    return Keeper(model, prepare(model, config, silent, layout=layout), config, tmp_path, silent)


def history(step):
    return types.SimpleNamespace(tensor=lambda: torch.zeros(step, 4))


def scramble(keeper, dice):
    """Change every weight and moment in place, as the next steps would."""
    with torch.no_grad():
        for tensor in [*keeper.model.parameters(), *keeper.setup.optimizer_state().values()]:
            if tensor.is_floating_point():
                tensor.copy_(torch.rand(tensor.shape, generator=dice))


def image(model, optimizer):
    return {name: value.clone() for name, value in [*model.items(), *optimizer.items()]}


def saved_is_what_was_asked(tmp_path, saves):
    keeper = keeper_of(tmp_path, background_saves=True, keep_checkpoints=saves)
    dice, expected = torch.Generator().manual_seed(1), {}
    for step in range(1, saves + 1):
        scramble(keeper, dice)
        expected[step] = image(dict(keeper.model.named_parameters()), keeper.setup.optimizer_state())
        keeper.save(step, history(step))
        scramble(keeper, dice)  # at once: the writer is still at work
    keeper.close()
    for step, tensors in expected.items():
        found = checkpoint.read(tmp_path / "checkpoints" / f"step-{step:06d}")
        read = image(found.model, found.optimizer)
        assert read.keys() == tensors.keys()
        assert all(torch.equal(read[name], tensors[name]) for name in tensors), step


def test_what_is_saved_is_the_state_of_the_step_that_asked(tmp_path):
    saved_is_what_was_asked(tmp_path, saves=10)


@pytest.mark.slow
def test_a_hundred_saves_of_changing_weights(tmp_path):
    saved_is_what_was_asked(tmp_path, saves=100)


def test_sabotage_without_the_copy_it_is_caught(tmp_path, monkeypatch):
    monkeypatch.setattr(Copies, "take", lambda self, live: dict(live))
    with pytest.raises(AssertionError):
        saved_is_what_was_asked(tmp_path, saves=10)


def test_a_second_save_waits_and_a_restore_waits(tmp_path):
    layout = Slow()
    keeper = keeper_of(tmp_path, layout, background_saves=True)
    keeper.save(1, history(1))
    done = []
    second = threading.Thread(target=lambda: (keeper.save(2, history(2)), done.append(2)))
    second.start()
    time.sleep(0.05)
    assert layout.begun == [1] and done == []  # the loop's first save returned, the second is held
    layout.go.set()
    second.join()
    assert keeper.restore()[0] == 2  # not 1: it waited for what was still being written
    keeper.close()
    assert layout.begun == [1, 2] and layout.most == 1


def test_killed_while_the_copy_is_taken_the_checkpoint_before_is_there(tmp_path, monkeypatch):
    class Killed(BaseException):
        pass

    def dies(self, live):
        raise Killed

    keeper = keeper_of(tmp_path, background_saves=True)
    keeper.save(1, history(1))
    monkeypatch.setattr(Copies, "take", dies)
    with pytest.raises(Killed):
        keeper.save(2, history(2))
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-000001"]
    assert checkpoint.newest(tmp_path / "checkpoints", pytest.fail).step == 1


def test_there_is_one_copy_and_its_memory_is_used_again(tmp_path):
    copies, live = Copies(), {"a": torch.ones(5, 3), "b": torch.arange(4)}
    first = copies.take(live)
    places = {name: value.data_ptr() for name, value in first.items()}
    live["a"] += 1
    second = copies.take(live)
    assert {name: value.data_ptr() for name, value in second.items()} == places
    assert torch.equal(second["a"], torch.full((5, 3), 2.0))
    assert copies.take({"a": torch.ones(2)}).keys() == copies.buffers.keys() == {"a"}


@pytest.mark.parametrize("background", [True, False])
def test_an_error_of_the_writer_is_raised_once_by_the_next_call(background):
    writer = Writer(background)

    def fails():
        raise MachineError("No space.", "", "")

    if background:
        writer.start(fails)
    else:
        with pytest.raises(MachineError):
            writer.start(fails)
    with pytest.raises(MachineError) if background else nullcontext():
        writer.start(list)
    writer.wait()
    assert writer.num_failed == 1


def test_with_several_processes_it_is_written_in_the_foreground_and_told(tmp_path):
    layout, told = Slow(), []
    layout.num_processes = 2
    model, config = world.model(), world.settings(background_saves=True)
    keeper = Keeper(model, prepare(model, config, silent, layout=layout), config, tmp_path, told.append)
    assert not keeper.writer.in_background and "foreground" in told[0]


def test_the_loop_never_waits_for_a_write_but_at_the_next_save_and_at_the_end(tmp_path):
    layout = Slow()
    settings = world.settings(num_steps=5, checkpoint_steps=3, background_saves=True, on_spike="stop")
    records = train(world.model(), world.batches(), settings, tmp_path, silent, layout=layout)
    steps = [next(records).step for _ in range(4)]
    assert steps == [1, 2, 3, 4] and layout.begun == [3]
    assert not (tmp_path / "checkpoints").exists()  # step 3 is still being written
    layout.go.set()
    assert [record.step for record in records] == [5]
    assert checkpoint.newest(tmp_path / "checkpoints", pytest.fail).step == 5


@pytest.mark.parametrize("background", [True, False])
def test_background_or_not_the_bits_are_the_same(tmp_path, background):
    made = []
    for name, on in (("calm", False), ("saving", background)):
        trained = world.model()
        settings = world.settings(
            num_steps=5, checkpoint_steps=1 if name == "saving" else 5, background_saves=on
        )
        list(train(trained, world.batches(), settings, tmp_path / name, silent))
        found = checkpoint.newest(tmp_path / name / "checkpoints", pytest.fail)
        made.append((world.weights_digest(trained), image(found.model, found.optimizer)))
    assert made[0][0] == made[1][0]
    assert all(torch.equal(value, made[1][1][name]) for name, value in made[0][1].items())
