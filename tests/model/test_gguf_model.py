"""GGUF models: written with the gguf package, equal to the same weights elsewhere; hostile files refused."""

import contextlib
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ownlm.errors import ArtifactError
from ownlm.model.adapters import gguf as adapter
from ownlm.model.adapters.ggml import READERS, read_tensor
from ownlm.model.architecture import Architecture
from ownlm.model.attention.grouped import GroupedQuery
from ownlm.model.blocks import Layer
from ownlm.model.decoder import Decoder
from ownlm.model.layers import FeedForward, Norm
from ownlm.model.position import Linear, Llama3, Rope, Yarn, plain_frequencies
from ownlm.runtime.gguf import TensorInfo

gguf = pytest.importorskip("gguf")


def plan(name: str, **options: Any) -> Architecture:
    norm = Norm("rms", 1e-6)
    heads, kv, C, D = options.get("shape", (4, 2, 16, 64))
    mixer = GroupedQuery(heads, kv, C, Rope(options.get("theta", 5e5), scaling=options.get("scaling")), bias=name == "qwen2", qk_norm=norm if name == "qwen3" else None)  # fmt: skip
    layer = Layer(mixer, FeedForward(96), norm)
    return Architecture(160, D, (layer,) * 2, 64, norm, options.get("tied", False), family=name)


def noisy(architecture: Architecture) -> Decoder:
    model = Decoder(architecture, seed=3)
    noise = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for weight in model.parameters():
            weight += 0.15 * torch.randn(weight.shape, generator=noise)
    return model.eval()


def into_pairs(rows: np.ndarray, heads: int) -> np.ndarray:
    """As llama.cpp's converter lays out a llama's q and k."""
    return rows.reshape(heads, 2, -1, rows.shape[-1]).swapaxes(1, 2).reshape(rows.shape)


def write(path: Path, model: Decoder, kind: str = "F32", factors: Any = None, **more: Any) -> None:
    """As llama.cpp's converter does; matrices in `kind`, vectors in F32. A key of `more` with value None is left out."""
    shape = model.architecture
    mixer, name = shape.layers[0].mixer, shape.family
    assert isinstance(mixer, GroupedQuery)
    keys = {
        "context_length": shape.max_positions, "embedding_length": shape.hidden_size, "block_count": shape.num_layers,
        "feed_forward_length": 96, "attention.head_count": mixer.num_heads, "attention.head_count_kv": mixer.num_kv_heads,
        "attention.key_length": mixer.head_dim, "attention.value_length": mixer.head_dim,
        "attention.layer_norm_rms_epsilon": 1e-6, "rope.freq_base": mixer.rope.theta, "vocab_size": shape.vocab_size,
    } | more  # fmt: skip
    writer = gguf.GGUFWriter(path, name)
    for key, value in keys.items():
        add = {
            int: writer.add_uint32,
            float: writer.add_float32,
            str: writer.add_string,
            bool: writer.add_bool,
        }
        if value is not None:
            add[type(value)](f"{name}.{key}", value)
    writer.add_array("tokenizer.ggml.tokens", [f"t{n}" for n in range(shape.vocab_size)])
    if factors is not None:
        writer.add_tensor("rope_freqs.weight", factors)
    for ours, weight in model.state_dict().items():
        values = weight.float().numpy()
        for part, heads in (("mixer.q.weight", mixer.num_heads), ("mixer.k.weight", mixer.num_kv_heads)):
            if name == "llama" and ours.endswith(part):
                values = into_pairs(values, heads)
        dtype = gguf.GGMLQuantizationType[kind if values.ndim > 1 else "F32"]
        writer.add_tensor(adapter.theirs(ours), gguf.quants.quantize(np.ascontiguousarray(values), dtype), raw_dtype=dtype)  # fmt: skip
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def ids() -> torch.Tensor:
    return torch.randint(0, 160, (2, 40), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    "options",
    [{}, {"tied": True, "shape": (6, 1, 8, 64)}, {"shape": (1, 1, 32, 32), "theta": 1e4}],
    ids=["gqa", "mqa-tied-narrow-heads", "one-head"],
)
@pytest.mark.parametrize("name", ["llama", "qwen2", "qwen3"])
def test_a_float32_file_is_the_model(name: str, options: dict[str, Any], tmp_path: Path) -> None:
    model = noisy(plan(name, **options))
    write(tmp_path / "m.gguf", model)
    found = adapter.load(tmp_path / "m.gguf")
    assert found.architecture == model.architecture
    for path, weight in model.state_dict().items():
        assert torch.equal(found.state_dict()[path], weight), path
    with torch.no_grad():
        assert torch.equal(found(ids()), model(ids()))


@pytest.mark.parametrize("name", ["llama", "qwen2", "qwen3"])
def test_transformers_reads_the_same_model_from_the_file(name: str, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    from transformers.modeling_gguf_pytorch_utils import load_gguf_checkpoint

    write(tmp_path / "m.gguf", noisy(plan(name)))
    config = transformers.AutoConfig.from_pretrained(tmp_path, gguf_file="m.gguf")
    config.head_dim = 16  # transformers forgets this key of qwen3
    theirs = transformers.AutoModelForCausalLM.from_config(config).eval()
    # from_pretrained(gguf_file=...) does the same, but insists on a package that it does not use.
    read = load_gguf_checkpoint(str(tmp_path / "m.gguf"), return_tensors=True, model_to_load=theirs)
    missing = theirs.load_state_dict(read["tensors"], strict=False)
    assert not missing.unexpected_keys and not missing.missing_keys
    with torch.no_grad():
        expected = theirs(ids()).logits
        found = adapter.load(tmp_path / "m.gguf")(ids())
    assert expected.abs().max() > 1
    assert (found - expected).abs().max() <= 1e-4


@pytest.mark.parametrize("kind", ["linear", "yarn", "llama3"])
def test_scaled_rotations_are_those_of_the_file(kind: str, tmp_path: Path) -> None:
    """llama3: the converter writes what each frequency is divided by as a tensor."""
    keys = {"rope.scaling.type": kind, "rope.scaling.factor": 4.0, "rope.scaling.original_context_length": 32}
    scaling = {"linear": Linear(4.0), "yarn": Yarn(4.0, 32), "llama3": Llama3(8.0, 1.0, 4.0, 32)}[kind]
    model = noisy(plan("qwen2", scaling=scaling))
    factors = plain_frequencies(16, 5e5) / scaling.frequencies(16, 5e5)
    assert factors.max() > 2
    write(tmp_path / "m.gguf", model, factors=factors.numpy() if kind == "llama3" else None,
          **({} if kind == "llama3" else keys))  # fmt: skip
    found = adapter.load(tmp_path / "m.gguf")
    with torch.no_grad():
        torch.testing.assert_close(found(ids()), model(ids()), rtol=1e-4, atol=1e-5)
        assert not torch.allclose(found(ids()), noisy(plan("qwen2"))(ids()), atol=1e-2)


@pytest.mark.parametrize("kind", ["F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1"])
def test_each_tensor_type_is_read_as_the_gguf_package_does(kind: str, tmp_path: Path) -> None:
    model = noisy(plan("qwen2"))
    write(tmp_path / "m.gguf", model, kind)
    found = adapter.load(tmp_path / "m.gguf").state_dict()
    dtype = gguf.GGMLQuantizationType[kind]
    for path, weight in model.state_dict().items():
        if weight.ndim > 1:
            stored = gguf.quants.quantize(weight.numpy(), dtype)
            expected = gguf.quants.dequantize(stored, dtype).reshape(weight.shape)
            assert np.array_equal(found[path].numpy(), expected), path
            assert not torch.equal(found[path], weight)
        else:
            assert torch.equal(found[path], weight), path


@pytest.mark.parametrize("kind", [kind for kind in READERS if kind.startswith("Q")])
def test_arbitrary_blocks_are_read_as_the_gguf_package_does(kind: str) -> None:
    width = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[kind]][1]
    blocks = np.random.default_rng(0).integers(0, 256, (50, width), dtype=np.uint8)
    for at in {"Q6_K": [209], "Q4_K": [1, 3], "Q5_K": [1, 3]}.get(
        kind, [1, 3] if kind.endswith("_1") else [1]
    ):
        blocks[:, at] &= 0xBB  # scales that are finite
    expected = gguf.quants.dequantize(blocks, gguf.GGMLQuantizationType[kind])
    assert np.array_equal(READERS[kind](blocks), expected)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"block_count": 1_000_000_000}, "block_count"),
        ({"block_count": 3}, "blk.2"),
        ({"block_count": 1}, "blk.1"),
        ({"block_count": None}, "block_count"),
        ({"embedding_length": 4_000_000_000}, "embedding_length"),
        ({"feed_forward_length": 97}, "ffn_gate"),
        ({"attention.head_count": 0}, "attention.head_count"),
        ({"attention.head_count": 3}, "num_heads"),
        ({"attention.key_length": 15, "attention.value_length": 15}, "attention.key_length"),
        ({"attention.value_length": 8}, "attention.value_length"),
        ({"attention.sliding_window": 16}, "attention.sliding_window"),
        ({"attention.layer_norm_rms_epsilon": float("nan")}, "epsilon"),
        ({"rope.scaling.type": "mystery"}, "rope.scaling.type"),
        ({"rope.dimension_count": 8}, "rope.dimension_count"),
        ({"expert_count": 8}, "expert_count"),
        ({"logit_scale": 0.5}, "logit_scale"),
        ({"context_length": 1 << 31}, "context_length"),
    ],
)
def test_a_file_with_impossible_or_unknown_keys_is_refused(
    change: dict[str, Any], word: str, tmp_path: Path
) -> None:
    write(tmp_path / "m.gguf", noisy(plan("llama")), **change)
    with pytest.raises(ArtifactError, match=word):
        adapter.load(tmp_path / "m.gguf")


def test_other_architectures_and_tensor_types_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="IQ4_NL"):
        read_tensor(tmp_path / "a.gguf", "x", TensorInfo((1, 32), 20, 0, 18))
    writer = gguf.GGUFWriter(tmp_path / "b.gguf", "falcon")
    writer.add_tensor("token_embd.weight", np.zeros((4, 4), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(ArtifactError, match="falcon"):
        adapter.load(tmp_path / "b.gguf")


def test_a_damaged_file_is_refused_wherever_it_is_damaged(tmp_path: Path) -> None:
    write(tmp_path / "m.gguf", noisy(plan("llama")))
    good = (tmp_path / "m.gguf").read_bytes()
    bad = tmp_path / "bad.gguf"
    start = adapter.read_header(tmp_path / "m.gguf").data_start
    for cut in [0, 3, 23, 24, 100, start // 2, start - 1, len(good) // 2, len(good) - 40]:
        bad.write_bytes(good[:cut])
        with pytest.raises(ArtifactError):
            adapter.load(bad)
    bad.write_bytes(good[:start] + struct.pack("<f", float("nan")) + good[start + 4 :])
    with pytest.raises(ArtifactError, match="not finite"):
        adapter.load(bad)
    draw = np.random.default_rng(1)
    for _ in range(60):  # flipped bytes in the header: refused, or another valid file, and nothing else
        changed = bytearray(good)
        changed[int(draw.integers(0, start))] ^= int(draw.integers(1, 256))
        bad.write_bytes(changed)
        with contextlib.suppress(ArtifactError):
            adapter.load(bad)
