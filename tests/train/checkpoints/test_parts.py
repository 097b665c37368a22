"""A3: after a resume every part is what it was; each part that is not restored shows in the training that follows."""

import dataclasses
import random
import shutil

import numpy as np
import pytest
import torch
import world

from ownlm.train import checkpoint, setup
from ownlm.train.health.spikes import TRAIN, SpikeGuard, Verdict
from ownlm.train.loop import train
from ownlm.train.objectives.causal import Causal
from ownlm.train.scaling import LossScaler
from ownlm.train.state import Keeper, weights

STEPS, STOP = 9, 6
TEXT = world.batches()


def batch_at(step):
    return TEXT(step).rows(0, 1)  # float16 products are slow on most processors


@dataclasses.dataclass(frozen=True)
class Noisy:
    """Draws from all three global generators, as a user's objective may."""

    def __call__(self, model, batch, divisor):
        noise = float(torch.rand(())) + float(np.random.rand()) + random.random()
        noise += random.gauss(0, 1) + float(np.random.randn())
        return Causal()(model, batch, divisor) * (1 + 0.01 * noise)


@pytest.fixture(scope="module", autouse=True)
def _eventful():
    """Batches 1 and 3 are passed over; float16 with a scale that first has to come down."""

    def judge(self, step, loss, norm):
        place = self.position(step)
        if place in (1, 3):
            self.passed = sorted([*self.passed, place])
            return Verdict("pass over", "planted")
        return TRAIN

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SpikeGuard, "judge", judge)
        patch.setattr(setup, "LossScaler", lambda: LossScaler(start=2.0**22))
        yield


def seed_all(seed):
    torch.manual_seed(seed)
    np.random.seed(seed)
    random.seed(seed)


def settings():
    return world.settings(num_steps=STEPS, checkpoint_steps=STOP, precision="float16", background_saves=True)


def run(folder, stop_after=None, seed=3):
    trained = world.model()
    records = train(trained, batch_at, settings(), folder, str, objective=Noisy())
    seed_all(seed)
    told = []
    for record in records:
        told.append((record.step, record.loss, record.tokens, record.learning_rate, record.event))
        if len(told) == stop_after:
            break
    records.close()
    return world.weights_digest(trained), told


@pytest.fixture(scope="module")
def once(tmp_path_factory, _eventful):
    """A run without a stop, and the checkpoint of its step STOP: (digest, records, lines, folder of a stopped run)."""
    folder = tmp_path_factory.mktemp("parts")
    digest, told = run(folder / "calm")
    run(folder / "stopped", stop_after=STOP)
    return digest, told, (folder / "calm" / "losses.jsonl").read_bytes(), folder / "stopped"


@pytest.fixture
def calm(once, tmp_path):
    """The same with a copy of that folder."""
    shutil.copytree(once[3], tmp_path / "stopped")
    return *once[:3], tmp_path / "stopped"


def keeper_of(folder, model):
    return Keeper(model, setup.prepare(model, settings(), str, Noisy()), settings(), folder, str)


def everything(keeper, step, history):
    tensors = {
        **weights(keeper.model),
        **keeper.setup.optimizer_state(),
        **keeper._run(),
        "history": history.tensor(),
    }
    return {name: value.detach().clone() for name, value in tensors.items()} | {"step": torch.tensor(step)}


def test_the_run_has_something_of_every_part_and_resumes_to_the_same_bits(calm):
    digest, told, lines, folder = calm
    found = checkpoint.newest(folder / "checkpoints", pytest.fail)
    assert 3 in found.run["guard.passed"].tolist()
    assert found.run["scaler.scaler"][2] >= 1 and found.run["scaler.scaler"][0] < 2**22
    again = run(folder, seed=99)  # the generators of the new process stand elsewhere
    assert again == (digest, told[STOP:]) and (folder / "losses.jsonl").read_bytes() == lines


def test_after_a_load_everything_equals_what_was_saved(calm):
    folder = calm[3]
    saved = checkpoint.newest(folder / "checkpoints", pytest.fail)
    keeper = keeper_of(folder, world.model(seed=8))
    seed_all(1234)
    step, history = keeper.restore()
    here = everything(keeper, step, history)
    assert step == STOP and int(here["history"][-1, 3]) == STOP * world.CONTEXT
    expected = {**saved.model, **saved.optimizer, **saved.run}
    assert here.keys() == expected.keys() | {"step"}
    same = {name: torch.equal(here[name].nan_to_num(), expected[name].nan_to_num()) for name in expected}
    assert all(same.values()), same
    assert saved.config == {**dataclasses.asdict(settings()), "objective": "Noisy()"}
    drawn = float(torch.rand(())), np.random.rand(), random.random(), random.gauss(0, 1)
    keeper.restore()
    assert drawn == (float(torch.rand(())), np.random.rand(), random.random(), random.gauss(0, 1))
    history.close()


def test_stored_buffers_belong_to_the_weights_and_shared_weights_count_once():
    class Router(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2, bias=False)
            self.second.weight = self.first.weight
            self.register_buffer("bias", torch.zeros(3))  # changes in training without being a parameter
            self.register_buffer("table", torch.zeros(4), persistent=False)

    assert list(weights(Router())) == ["first.weight", "first.bias", "bias"]


def without(found, part):
    """The checkpoint as it would be if `part` had been left as a fresh run has it."""
    run_state, optimizer = dict(found.run), dict(found.optimizer)
    if part == "weights":
        return dataclasses.replace(found, model=weights(world.model()))
    if part == "schedule and step":
        run_state["history"] = run_state["history"][: STOP - 1]
        return dataclasses.replace(found, step=STOP - 1, run=run_state)
    if part.startswith("optimizer"):
        for name, value in optimizer.items():
            if name.startswith(part.split()[1]):
                optimizer[name] = torch.ones_like(value) if "num_updates" in name else torch.zeros_like(value)
    elif part == "scaler":
        run_state["scaler.scaler"] = LossScaler(start=2.0**22).state()["scaler"]
    elif part == "position":
        run_state["guard.passed"] = torch.zeros(0, dtype=torch.int64)
    elif part == "token count":
        run_state["history"] = run_state["history"] * torch.tensor([1.0, 1.0, 1.0, 0.0])
    else:
        seed_all(77)
        from ownlm.train import randomness

        run_state[part] = randomness.state(torch.device("cpu"))[part]
    return dataclasses.replace(found, run=run_state, optimizer=optimizer)


PARTS = ("weights", "optimizer blocks.momentum", "optimizer rest.mean", "optimizer rest.square",
         "optimizer rest.num_updates", "schedule and step", "scaler", "torch_rng", "numpy_rng", "python_rng",
         "position", "token count")  # fmt: skip


def test_each_part_left_out_shows_in_later_training(calm):
    digest, told, lines, folder = calm
    found = checkpoint.newest(folder / "checkpoints", pytest.fail)
    for part in PARTS:
        shutil.rmtree(folder / "checkpoints")
        left = without(found, part)
        checkpoint.write(folder / "checkpoints", left)
        end, records = run(folder)
        assert records[-2:] != told[-2:], f"{part} was left out and nobody noticed"
        assert (end != digest) == (part != "token count"), part
        assert (folder / "losses.jsonl").read_bytes() != lines, part
