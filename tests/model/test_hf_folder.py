"""Model folders: equal logits and tokens in transformers, both directions; damaged and foreign folders refused."""

import json
import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers_side
from safetensors.torch import load_file, save_file

from ownlm.errors import ArtifactError, DigestMismatch, OwnlmError
from ownlm.model.adapters import hf
from ownlm.model.config import ModelConfig
from ownlm.model.decoder import Decoder

UNTIED = ModelConfig(320, 96, 160, 3, 6, 3, 32, 128, rope_theta=50000.0, norm_eps=1e-6, tie_embeddings=False)
TIED = ModelConfig(320, 64, 192, 2, 4, 2, 16, 128)


def sharpened(config: ModelConfig, seed: int = 1) -> Decoder:
    """Random weights large enough that attention and greedy choices are decided, not ties."""
    model = Decoder(config, seed=seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.ndim == 1:
                weight.normal_(1.0, 0.2, generator=torch.Generator().manual_seed(len(name)))
            else:
                weight.mul_(4.0 if name.startswith(("embedding", "output")) else 15.0)
    return model


def saved(config: ModelConfig, folder: Path, **options: object) -> Decoder:
    model = sharpened(config)
    hf.save(model, folder, eos_ids=[319, 318], bos_id=317, pad_id=316, **options)
    return model


def ours(folder: Path) -> tuple[torch.Tensor, list[int]]:
    model = hf.load(folder)
    ids = torch.randint(0, 320, (2, 60), generator=torch.Generator().manual_seed(0))
    text = ids[:1, :9]
    with torch.no_grad():
        logits = model(ids)
        for _ in range(50):
            text = torch.cat((text, model(text)[:, -1:].argmax(-1)), dim=1)
            if int(text[0, -1]) in hf.stop_ids(folder):
                break
    return logits, text[0, 9:].tolist()


def check_parity(theirs: dict[str, Any], folder: Path) -> None:
    logits, tokens = ours(folder)
    assert (logits - torch.tensor(theirs["logits"])).abs().max() <= 1e-4
    assert logits.abs().max() > 1, "the comparison needs logits of some size"
    assert tokens == theirs["tokens"] and len(set(tokens)) > 3


@pytest.mark.parametrize("config", [TIED, UNTIED], ids=["tied", "untied"])
def test_the_installed_transformers_gives_the_same_logits_and_tokens(
    config: ModelConfig, tmp_path: Path
) -> None:
    pytest.importorskip("transformers")
    saved(config, tmp_path)
    check_parity(transformers_side.answers(str(tmp_path)), tmp_path)


@pytest.mark.parametrize("config", [TIED, UNTIED], ids=["tied", "untied"])
def test_transformers_4_57_gives_the_same_logits_and_tokens(config: ModelConfig, tmp_path: Path) -> None:
    path = os.environ.get("OWNLM_TRANSFORMERS_457")
    if not path:
        pytest.skip(
            "OWNLM_TRANSFORMERS_457 names no folder made by `pip install --target DIR transformers==4.57.6`"
        )
    saved(config, tmp_path / "model")
    command = [
        sys.executable,
        transformers_side.__file__,
        str(tmp_path / "model"),
        str(tmp_path / "dump.json"),
    ]
    environment = {**os.environ, "PYTHONPATH": path, "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    theirs = json.loads((tmp_path / "dump.json").read_text())
    assert theirs["version"].startswith("4.57")
    check_parity(theirs, tmp_path / "model")


@pytest.mark.parametrize("tied", [True, False])
def test_a_folder_saved_by_transformers_loads_with_equal_logits(tied: bool, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=320, hidden_size=96, intermediate_size=160, num_hidden_layers=2, num_attention_heads=6,
        num_key_value_heads=2, head_dim=32, max_position_embeddings=128, tie_word_embeddings=tied, initializer_range=0.1,
        rope_parameters={"rope_type": "default", "rope_theta": 20000.0},
    )  # fmt: skip
    theirs = transformers.LlamaForCausalLM(config).eval()
    theirs.save_pretrained(tmp_path, max_shard_size="100KB")
    assert (tmp_path / hf.INDEX).exists()
    ids = torch.randint(0, 320, (2, 60), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert (hf.load(tmp_path)(ids) - theirs(ids).logits).abs().max() <= 1e-4


def test_bf16_and_shards_come_back_bit_for_bit(tmp_path: Path) -> None:
    model = sharpened(UNTIED).to(torch.bfloat16)
    hf.save(model, tmp_path, eos_ids=[1], bos_id=None, pad_id=None, max_shard_bytes=60_000)
    index = json.loads((tmp_path / hf.INDEX).read_text())
    assert len(set(index["weight_map"].values())) > 3
    assert json.loads((tmp_path / "config.json").read_text())["dtype"] == "bfloat16"
    back = hf.load(tmp_path, dtype=torch.bfloat16).state_dict()
    assert all(torch.equal(weight, back[name]) for name, weight in model.state_dict().items())
    assert hf.load(tmp_path).embedding.weight.dtype == torch.float32


def test_a_tied_model_stores_no_output_layer_and_accepts_only_an_equal_one(tmp_path: Path) -> None:
    saved(TIED, tmp_path)
    tensors = load_file(tmp_path / hf.SINGLE)
    assert "lm_head.weight" not in tensors
    copied = {**tensors, "lm_head.weight": tensors["model.embed_tokens.weight"].clone()}
    save_file(copied, tmp_path / hf.SINGLE, {"format": "pt"})
    hf.load(tmp_path)
    copied["lm_head.weight"][0, 0] += 1
    save_file(copied, tmp_path / hf.SINGLE, {"format": "pt"})
    with pytest.raises(ArtifactError, match=r"lm_head\.weight"):
        hf.load(tmp_path)


def test_tokenizer_files_are_copied(tmp_path: Path) -> None:
    source = tmp_path / "tokenizer"
    source.mkdir()
    for name in hf.TOKENIZER_FILES:
        (source / name).write_text(name)
    saved(TIED, tmp_path / "model", tokenizer_folder=source)
    assert all((tmp_path / "model" / name).read_text() == name for name in hf.TOKENIZER_FILES)


def edit_config(folder: Path, **changes: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize(
    "change",
    [
        {"model_type": "qwen2"},
        {"architectures": ["MixtralForCausalLM"]},
        {"rope_scaling": {"rope_type": "linear", "factor": 2.0}},
        {"rope_parameters": {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0}},
        {"rope_parameters": {"rope_type": "default", "rope_theta": 77.0}},
        {"partial_rotary_factor": 0.5},
        {"attention_bias": "yes"},
        {"hidden_act": "mish"},
        {"quantization_config": {"quant_method": "gptq"}},
        {"auto_map": {"AutoModelForCausalLM": "evil.Model"}},
        {"sliding_window": 32},
        {"num_attention_heads": 5},
        {"num_hidden_layers": 10**9},
        {"max_position_embeddings": 10**12},
        {"hidden_size": "64"},
        {"tie_word_embeddings": "yes"},
        {"rms_norm_eps": None},
    ],
    ids=lambda c: next(iter(c)),
)
def test_an_unsupported_option_is_refused_by_name(change: dict[str, object], tmp_path: Path) -> None:
    saved(TIED, tmp_path)
    edit_config(tmp_path, **change)
    with pytest.raises(ArtifactError) as caught:
        hf.load(tmp_path)
    key = next(iter(change))
    fields = {"num_attention_heads": "num_heads", "num_hidden_layers": "num_layers", "tie_word_embeddings": "tie_embeddings",
              "max_position_embeddings": "max_positions"}  # fmt: skip
    text = str(caught.value)
    assert str(tmp_path) in text and (
        key in text
        or fields.get(key, "?") in text
        or (change[key] == "mish" and "mish" in text)
        or "rope" in text
    ), text


def break_tensors(folder: Path, name: str) -> None:
    tensors = load_file(folder / hf.SINGLE)
    match name:
        case "missing":
            del tensors["model.norm.weight"]
        case "unexpected":
            tensors["model.layers.0.self_attn.q_proj.bias"] = torch.zeros(64)
        case "shape":
            tensors["model.norm.weight"] = torch.ones(63)
        case "type":
            tensors["model.norm.weight"] = torch.ones(64, dtype=torch.int8)
        case "nan":
            tensors["model.norm.weight"][3] = float("nan")
    save_file(tensors, folder / hf.SINGLE, {"format": "pt"})


@pytest.mark.parametrize("name", ["missing", "unexpected", "shape", "type", "nan"])
def test_a_wrong_tensor_is_named(name: str, tmp_path: Path) -> None:
    saved(TIED, tmp_path)
    break_tensors(tmp_path, name)
    with pytest.raises(
        ArtifactError, match=r"q_proj\.bias" if name == "unexpected" else r"model\.norm\.weight"
    ):
        hf.load(tmp_path)


def test_truncation_anywhere_is_refused_and_named(tmp_path: Path) -> None:
    saved(TIED, tmp_path)
    whole = (tmp_path / hf.SINGLE).read_bytes()
    for length in [0, 1, 7, 8, 9, 100, len(whole) // 2, len(whole) - 1]:
        (tmp_path / hf.SINGLE).write_bytes(whole[:length])
        with pytest.raises(ArtifactError, match=r"model\.safetensors"):
            hf.load(tmp_path)


def test_a_header_that_lies_is_refused(tmp_path: Path) -> None:
    saved(TIED, tmp_path)
    for header in (
        b"{}",
        b"[1]",
        b"\xff\xfe",
        b'{"model.norm.weight":{"dtype":"F32","shape":[9223372036854775807],"data_offsets":[0,4]}}',
    ):
        (tmp_path / hf.SINGLE).write_bytes(struct.pack("<Q", len(header)) + header + b"\0" * 4)
        with pytest.raises(ArtifactError):
            hf.load(tmp_path)
    (tmp_path / hf.SINGLE).write_bytes(struct.pack("<Q", 1 << 62) + b"{}")
    with pytest.raises(ArtifactError):
        hf.load(tmp_path)


def test_index_pointing_outside_or_nowhere_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    sharpened_model = sharpened(TIED)
    hf.save(sharpened_model, folder, eos_ids=[1], bos_id=None, pad_id=None, max_shard_bytes=60_000)
    index = json.loads((folder / hf.INDEX).read_text())
    shard = next(iter(index["weight_map"].values()))
    shutil.copy(folder / shard, tmp_path / "outside.safetensors")
    for target in (
        "../outside.safetensors",
        str(tmp_path / "outside.safetensors"),
        "absent.safetensors",
        "a\0b",
    ):
        changed = {n: target if f == shard else f for n, f in index["weight_map"].items()}
        (folder / hf.INDEX).write_text(json.dumps({"weight_map": changed}))
        with pytest.raises(ArtifactError):
            hf.load(folder)
    (folder / "link.safetensors").symlink_to(tmp_path / "outside.safetensors")
    changed = {n: "link.safetensors" if f == shard else f for n, f in index["weight_map"].items()}
    (folder / hf.INDEX).write_text(json.dumps({"weight_map": changed}))
    with pytest.raises(ArtifactError, match="outside"):
        hf.load(folder)


def test_not_a_model_folder(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"no config\.json"):
        hf.load(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "llama"')
    with pytest.raises(ArtifactError):
        hf.load(tmp_path)
    saved(TIED, tmp_path)
    (tmp_path / hf.SINGLE).rename(tmp_path / "pytorch_model.bin")
    with pytest.raises(ArtifactError, match="safetensors only"):
        hf.load(tmp_path)


def test_one_flipped_bit_is_found_through_the_manifest(tmp_path: Path) -> None:
    from ownlm.runtime import artifact

    def work(stage: artifact.Stage) -> None:
        saved(TIED, stage.folder)

    artifact.run(tmp_path, "model", "model", {}, {}, work)
    folder = tmp_path / "model"
    hf.load(folder)
    data = bytearray((folder / hf.SINGLE).read_bytes())
    data[-5] ^= 1
    (folder / hf.SINGLE).write_bytes(data)
    with pytest.raises(DigestMismatch, match=r"model\.safetensors"):
        hf.load(folder)
    assert issubclass(DigestMismatch, OwnlmError)
