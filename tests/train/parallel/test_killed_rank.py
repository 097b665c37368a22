"""A process of a run is killed: the others stop by themselves, no half checkpoint bears a name, and the run goes on
to the same bits. `python -m torch.distributed.run` is not used here: nobody supervises these processes."""

import json
import os
import random
import signal
import time
from pathlib import Path

import pytest
import torch
import worlds
from safetensors.torch import load_file

from ownlm.errors import UsageError
from ownlm.train import checkpoint
from ownlm.train.parallel import dist

PATIENCE = 60  # seconds within which the others must have stopped


def world(place, folder):
    """A run that tells each step, and keeps its weights at the end."""
    import sharded_runs

    from ownlm.train.loop import train
    from ownlm.train.parallel import launch

    import world as tiny  # isort: skip

    settings = json.loads(os.environ["OWNLM_TEST_SETTINGS"])
    model, config = tiny.model(), tiny.settings(**settings)
    layout = launch.layout_from(os.environ["OWNLM_TEST_LAYOUT"], model, config, lambda _: None)
    for record in train(model, tiny.batches(), config, folder / "run", lambda _: None, layout=layout):
        print("step", record.step, flush=True)
    sharded_runs.keep(model, place, folder / "end.safetensors")
    return {"steps": config.num_steps}


def start(folder, layout, settings, num_processes):
    return worlds.start(num_processes, folder, "test_killed_rank:world", OWNLM_TEST_LAYOUT=layout,
                        OWNLM_TEST_SETTINGS=json.dumps(settings))  # fmt: skip


def finish(folder, layout, settings, num_processes):
    """Undisturbed to the end: its weights."""
    processes = start(folder, layout, settings, num_processes)
    for process in processes:
        _, written = process.communicate(timeout=240)
        assert process.returncode == 0, written[-2000:]
    return load_file(folder / "end.safetensors")


def kill_one(folder, layout, settings, num_processes, dice, sign=signal.SIGKILL):
    """Kill one process some moment after some step; seconds until the last of the others has stopped."""
    processes = start(folder, layout, settings, num_processes)
    victim = dice.randrange(num_processes)
    try:
        for _ in range(dice.randint(3, 8)):
            processes[victim].stdout.readline()
        time.sleep(dice.random() * 0.1)
        processes[victim].send_signal(sign)
        began = time.monotonic()
        for rank, process in enumerate(processes):
            if rank != victim:
                _, written = process.communicate(timeout=PATIENCE)
                assert process.returncode not in (0, None), f"process {rank} ended as if nothing had happened"
                assert "Another process of this run is gone" in written, written[-2000:]
        return time.monotonic() - began
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def nothing_half(folder):
    """Whatever bears a checkpoint's name is whole; returns how many there are."""
    found = checkpoint.all_of(folder / "run" / "checkpoints")
    for path in found:
        assert checkpoint.problems(path) == []
    return len(found)


def quick(place, folder):
    """The undisturbed run of the quick test, in the world that all tests share."""
    os.environ |= {"OWNLM_TEST_LAYOUT": "zero1", "OWNLM_TEST_SETTINGS": json.dumps(settings_of(1))}
    (folder / "calm").mkdir(exist_ok=True)
    return world(place, folder / "calm")


def settings_of(kills):
    # So many steps that the run is not through before a busy machine lets the killer act.
    return {"num_steps": 60 + 4 * kills, "checkpoint_steps": 4}


def stormy_equals_calm(
    tmp_path: Path, layout: str, num_processes: int, kills: int, seed: int, calm_folder: Path | None = None
) -> None:
    settings = settings_of(kills)
    (tmp_path / "stormy").mkdir()
    dice = random.Random(seed)
    for _ in range(kills):
        assert kill_one(tmp_path / "stormy", layout, settings, num_processes, dice) < PATIENCE
        nothing_half(tmp_path / "stormy")
    stormy = finish(tmp_path / "stormy", layout, settings, num_processes)
    assert nothing_half(tmp_path / "stormy") >= 1
    if calm_folder is None:
        calm_folder = tmp_path / "calm"
        calm_folder.mkdir()
        finish(calm_folder, layout, settings, num_processes)
    calm = load_file(calm_folder / "end.safetensors")
    assert all(torch.equal(calm[name], stormy[name]) for name in calm)
    lines = [(folder / "run" / "losses.jsonl").read_bytes() for folder in (calm_folder, tmp_path / "stormy")]
    assert lines[0] == lines[1]


def test_one_of_two_is_killed_and_the_run_goes_on_to_the_same_bits(tmp_path):
    worlds.facts_of("test_killed_rank:quick")
    stormy_equals_calm(tmp_path, "zero1", 2, 1, seed=1, calm_folder=worlds.two()[1] / "calm")


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("layout, num_processes, kills", [("ddp", 2, 5), ("zero3", 2, 5), ("zero1", 3, 5), ("zero2", 4, 5)])  # fmt: skip
def test_twenty_kills_at_random_steps(tmp_path, layout, num_processes, kills):
    stormy_equals_calm(tmp_path, layout, num_processes, kills, seed=num_processes)


@pytest.mark.slow
def test_a_process_that_hangs_is_given_up(tmp_path):
    settings = {"num_steps": 40, "checkpoint_steps": 2}
    os.environ["OWNLM_TEST_TIMEOUT"] = "10"
    try:
        assert kill_one(tmp_path, "ddp", settings, 2, random.Random(3), signal.SIGSTOP) < PATIENCE
    finally:
        del os.environ["OWNLM_TEST_TIMEOUT"]
    nothing_half(tmp_path)


@pytest.mark.slow
def test_saved_by_two_goes_on_with_one_and_ends_with_three(tmp_path):
    """The same batches of six rows each: the losses follow those of an undisturbed run."""
    ends = []
    for name, plan in (("calm", [(2, 18)]), ("moved", [(2, 6), (1, 12), (3, 18)])):
        folder = tmp_path / name
        folder.mkdir()
        for processes, stop in plan:
            facts = worlds.launch(processes, folder, "test_killed_rank:part", OWNLM_TEST_STOP=str(stop))
        ends.append(facts[0]["test_killed_rank:part"])
    assert ends[1]["losses"] == pytest.approx(ends[0]["losses"], rel=1e-5)
    assert ends[1]["steps"] == 18


def part(place, folder):
    """Steps until OWNLM_TEST_STOP of a run of 18, in another layout each time."""
    import itertools

    import world as tiny

    from ownlm.train.batches import ShardBatches
    from ownlm.train.loop import train
    from ownlm.train.parallel import launch

    stop = int(os.environ["OWNLM_TEST_STOP"])
    name = {1: "zero3", 2: "zero1", 3: "zero2"}[place.num_processes]
    model, config = tiny.model(), tiny.settings(num_steps=18, checkpoint_steps=6)
    batches = ShardBatches(tiny.batches().tokens, tiny.CONTEXT, 6, 3)
    layout = launch.layout_from(name, model, config, lambda _: None)
    done = len(tiny.losses(folder / "run")) if (folder / "run").exists() else 0
    run = train(model, batches, config, folder / "run", lambda _: None, layout=layout)
    for _ in itertools.islice(run, stop - done):
        pass
    run.close()
    torch.distributed.barrier()
    rows = tiny.losses(folder / "run")
    return {"losses": [row["loss"] for row in rows], "steps": len(rows)}


def test_outside_of_a_launched_run_the_command_is_told(monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    with pytest.raises(UsageError, match=r"torch\.distributed\.run"), dist.joined():
        pass
    monkeypatch.setenv("RANK", "2")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UsageError, match="RANK=2, WORLD_SIZE=2"), dist.joined():
        pass


def test_only_what_another_process_did_is_blamed_on_it():
    assert dist._lost(
        RuntimeError("[gloo/transport/tcp/pair.cc:547] Connection closed by peer [127.0.0.1]:1")
    )
    assert dist._lost(RuntimeError("Timed out waiting 10000ms for recv operation to complete"))
    assert not dist._lost(RuntimeError("mat1 and mat2 shapes cannot be multiplied (1x2 and 3x4)"))
