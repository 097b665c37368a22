"""Streamed safetensors files read back in the library's own reader; shards; memory; the digest of the same pass."""

import resource
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file
from small import state, whole

from ownlm.errors import ArtifactError, UsageError
from ownlm.runtime.files import sha256_file
from ownlm.train import checkpoint, tensorfile


def of_every_kind():
    dice = torch.Generator().manual_seed(4)
    some = torch.randn(3, 7, generator=dice)
    made = {str(dtype): (some * 20).to(dtype) for dtype in tensorfile.DTYPES}
    return made | {
        "scalar": torch.tensor(3.5), "empty": torch.zeros(0, 4), "turned": some.T, "part": some[:, 2:4],
        "with gradient": torch.nn.Parameter(some), "nämé": torch.ones(1, dtype=torch.int8),
    }  # fmt: skip


def test_every_dtype_shape_and_stride_reads_back_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(tensorfile, "CHUNK_BYTES", 5)  # chunks end inside of numbers
    tensors = of_every_kind()
    digest = tensorfile.write(tmp_path / "x.safetensors", tensors)
    assert digest == sha256_file(tmp_path / "x.safetensors")
    found = load_file(tmp_path / "x.safetensors")
    assert found.keys() == tensors.keys()
    for name, value in tensors.items():
        assert found[name].dtype == value.dtype and found[name].shape == value.shape, name
        assert torch.equal(found[name].reshape(-1).view(torch.uint8), value.detach().contiguous().reshape(-1).view(torch.uint8)), name  # fmt: skip


def test_a_type_that_the_format_lacks_is_refused_by_name(tmp_path):
    with pytest.raises(UsageError, match=r"phase: torch\.complex64"):
        tensorfile.write(tmp_path / "x.safetensors", {"phase": torch.ones(2, dtype=torch.complex64)})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("limit, sizes", [(10**9, [7]), (40, [4, 3]), (25, [2, 2, 2, 1]), (1, [1] * 7)])
def test_shards_hold_at_most_the_limit_and_everything_once(limit, sizes):
    tensors = {f"t{n}": torch.full((5,), float(n), dtype=torch.float16) for n in range(7)}  # 10 bytes each
    made = list(tensorfile.shards("model", tensors, limit))
    assert [len(part) for _, part in made] == sizes
    assert [name for _, part in made for name in part] == list(tensors)
    assert len({file for file, _ in made}) == len(sizes)
    assert made[0][0] == ("model.safetensors" if len(sizes) == 1 else f"model-00001-of-{len(sizes):05d}.safetensors")  # fmt: skip


def test_a_sharded_checkpoint_reads_back_and_misses_nothing_silently(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "MAX_SHARD_BYTES", 60)
    path = checkpoint.write(tmp_path, state(2))
    names = sorted(file.name for file in path.iterdir())
    assert names[1:3] == ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    assert whole(checkpoint.read(path)) == 2 and checkpoint.problems(path) == []
    (path / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(ArtifactError, match="model-00002-of-00002"):
        checkpoint.read(path)
    assert "model-00002-of-00002" in checkpoint.problems(path)[0]


def test_a_manifest_that_names_files_elsewhere_or_none_is_refused(tmp_path):
    path = checkpoint.write(tmp_path, state(2))
    facts = {key: value for key, value in checkpoint.read_manifest(path).items() if key != "digest"}
    for files in ({**facts["files"], "../../secret.safetensors": "0"}, {}, {"model.safetensors": "0"}):
        (path / checkpoint.MANIFEST).write_text(checkpoint._canonical({**facts, "files": files}))
        with pytest.raises(ArtifactError, match="lists other files"):
            checkpoint.read(path)


MEASURE = """
import resource, sys, torch
from pathlib import Path
from ownlm.train import tensorfile
big = {f"t{n}": torch.ones(2_000_000) for n in range(20)}  # 160 MB
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
tensorfile.write(Path(sys.argv[1]), big)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.slow
def test_writing_makes_no_second_copy_in_memory(tmp_path):
    assert resource.getpagesize() == 4096
    grown = subprocess.run([sys.executable, "-c", MEASURE, str(tmp_path / "x")], capture_output=True, text=True, check=True)  # fmt: skip
    assert int(grown.stdout) < 24_000  # KiB; the library's `save` grows by 160,000
