"""Shards on disk: whole only when every process's part is there, and read by any number of processes."""

import shutil

import pytest
import sharded_runs
import torch
import worlds
from safetensors.torch import load_file

from ownlm.errors import ArtifactError
from ownlm.train import checkpoint, pieces
from ownlm.train.parallel import sharded, shards


def world(place, folder):
    """One process cannot write: what do all do, and what is left."""
    from ownlm.errors import MachineError
    from ownlm.train.checkpoint import Checkpoint

    made = Checkpoint(5, {}, {}, {}, {"history": torch.zeros(5, 4)})
    facts = {}
    target = folder / "refused"
    bad = torch.ones(2, dtype=torch.complex64)  # no safetensors type: fails on the second process only
    part = {"w": pieces.Piece(torch.ones(2) if place.rank == 0 else bad, 2 * place.rank, 4)}
    try:
        sharded.write(target, made, part, {}, 2, None)
    except Exception as error:
        facts["refused"] = [type(error).__name__, str(error), isinstance(error, MachineError)]
    facts["left"] = sorted(path.name for path in target.iterdir())
    return facts


def test_the_folder_of_a_sharded_run_is_an_ordinary_checkpoint():
    _, folder = worlds.two()
    worlds.facts_of("test_fully_sharded:world")
    path = folder / "zero3" / "checkpoints" / "step-000020"
    assert {f.name for f in path.iterdir()} == {
        "checkpoint.json", "run.safetensors", "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors",
        "optimizer-00001-of-00002.safetensors", "optimizer-00002-of-00002.safetensors"}  # fmt: skip
    assert checkpoint.problems(path) == []
    found, expected = checkpoint.read(path), load_file(folder / "zero3.safetensors")
    assert found.model.keys() == expected.keys()
    assert all(torch.equal(found.model[name], expected[name]) for name in expected)


def test_any_number_of_processes_reads_its_rows_of_it():
    _, folder = worlds.two()
    worlds.facts_of("test_fully_sharded:world")
    path = folder / "zero2 adamw" / "checkpoints" / "step-000020"
    whole = checkpoint.read(path)
    for size in (1, 3, 5):
        parts = [sharded.read(path, lambda _, __, rows, at=at, size=size: shards.span(rows, at, size)) for at in range(size)]  # fmt: skip
        for name, tensor in {**whole.model}.items():
            assert torch.equal(torch.cat([part.model[name] for part in parts]), tensor)
        for name, tensor in whole.optimizer.items():
            if tensor.ndim:
                assert torch.equal(torch.cat([part.optimizer[name] for part in parts]), tensor)
            else:
                assert torch.equal(parts[0].optimizer[name], tensor)


def test_one_process_goes_on_from_what_two_have_sharded(tmp_path):
    facts = worlds.facts_of("test_fully_sharded:world")[0]["zero3"]
    saved = worlds.two()[1] / "zero3" / "checkpoints" / "step-000010"
    shutil.copytree(saved, tmp_path / "checkpoints" / saved.name)
    _, _, records = sharded_runs.run("alone", tmp_path, "muon")
    assert [record.step for record in records] == list(range(11, 21))
    assert sharded_runs.losses(records) == pytest.approx(facts["losses"][10:], rel=1e-5)


def test_a_shard_that_is_gone_or_changed_is_noticed(tmp_path):
    _, folder = worlds.two()
    worlds.facts_of("test_fully_sharded:world")
    path = tmp_path / "step-000020"
    shutil.copytree(folder / "zero3" / "checkpoints" / "step-000020", path)
    victim = path / "model-00002-of-00002.safetensors"
    victim.write_bytes(victim.read_bytes()[:-1] + b"\x55")
    assert "SHA-256" in checkpoint.damaged(path, 1, 5)[0]  # second file of the list
    assert checkpoint.damaged(path, 0, 5) == []
    victim.unlink()
    with pytest.raises(ArtifactError, match="missing"):
        checkpoint.read(path)


def test_when_one_process_cannot_write_all_stop_and_nothing_bears_a_name():
    for facts in worlds.facts_of("test_sharded:world"):
        assert facts["refused"][0] == "UsageError" and "complex64" in facts["refused"][1]
        assert not any(name == "step-000005" for name in facts["left"])


def test_pieces_join_only_when_all_rows_are_there(tmp_path):
    rows = torch.arange(10.0).view(5, 2)
    named = {pieces.Piece(rows[a:b], a, 5).name("w"): rows[a:b] for a, b in ((0, 2), (2, 2), (2, 5))}
    assert torch.equal(pieces.join(named, tmp_path)["w"], rows)
    middle = {"w@0:2:5": rows[:2], "w@3:5:5": rows[3:]}
    with pytest.raises(ArtifactError, match=r"w: rows 0..2 of 5, 3..5 of 5"):
        pieces.join(middle, tmp_path)
    del named["w@2:5:5"]
    with pytest.raises(ArtifactError, match=r"w: rows 0..2 of 5, 2..2 of 5"):
        pieces.join(named, tmp_path)


def test_rows_are_cut_as_torch_cuts_them():
    for rows in range(1, 12):
        for size in range(1, 6):
            expected = [len(chunk) for chunk in torch.arange(rows).chunk(size)]
            expected += [0] * (size - len(expected))
            assert [b - a for a, b in (shards.span(rows, at, size) for at in range(size))] == expected
