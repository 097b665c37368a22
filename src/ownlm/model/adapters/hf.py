"""A decoder as a Hugging Face folder, and back: config.json, generation_config.json, safetensors.

Written folders load in transformers 4.57 and 5.x as LlamaForCausalLM with equal logits. Nothing in a folder is
ever executed, no file outside it is opened, and every tensor is checked by name, shape and type before it is read.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor

from ownlm.errors import ArtifactError, DigestMismatch
from ownlm.model.adapters import hf_config
from ownlm.model.config import ModelConfig
from ownlm.model.decoder import Decoder
from ownlm.runtime import artifact
from ownlm.runtime.files import contained, read_json, sha256_file, write_atomic, write_json

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
)
MAX_SHARD_BYTES = 4 << 30
FLOATS = {"F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16}

NAMES = {
    "mixer_norm": "input_layernorm",
    "mixer.q": "self_attn.q_proj",
    "mixer.k": "self_attn.k_proj",
    "mixer.v": "self_attn.v_proj",
    "mixer.o": "self_attn.o_proj",
    "feed_forward_norm": "post_attention_layernorm",
    "feed_forward.gate": "mlp.gate_proj",
    "feed_forward.up": "mlp.up_proj",
    "feed_forward.down": "mlp.down_proj",
}
"""Inside a block: our name -> Hugging Face's."""


def save(
    model: Decoder,
    folder: Path | str,
    *,
    eos_ids: Sequence[int],
    bos_id: int | None,
    pad_id: int | None,
    tokenizer_folder: Path | str | None = None,
    max_shard_bytes: int = MAX_SHARD_BYTES,
) -> None:
    """Write the model; with `tokenizer_folder` its four tokenizer files are copied beside it.

    Weights keep their dtype. Each file appears whole or not at all; the folder as a whole is made atomic by
    the stage that calls this. Raises MachineError when the disk refuses.
    """
    folder = Path(folder)
    weights = dict(model.named_parameters())
    tensors = {theirs: weights[ours].detach().contiguous() for ours, theirs in names(model.config).items()}
    dtype = str(model.embedding.weight.dtype).removeprefix("torch.")
    write_json(
        folder / "config.json",
        hf_config.to_json(model.config, dtype=dtype, eos_ids=eos_ids, bos_id=bos_id, pad_id=pad_id),
    )
    write_json(
        folder / "generation_config.json",
        hf_config.generation_json(eos_ids=eos_ids, bos_id=bos_id, pad_id=pad_id),
    )
    _write_shards(tensors, folder, max_shard_bytes)
    for name in TOKENIZER_FILES if tokenizer_folder else ():
        write_atomic(folder / name, (Path(tokenizer_folder or "") / name).read_bytes())


def load(folder: Path | str, dtype: torch.dtype = torch.float32) -> Decoder:
    """Read a model folder, ours or another's; weights are converted to `dtype`.

    Raises ArtifactError (naming file and tensor) for anything damaged, missing, unexpected or unsupported, and
    DigestMismatch when the folder has a manifest and a file differs from it.
    """
    folder = Path(folder)
    if not (folder / "config.json").is_file():
        raise ArtifactError(
            "This is not a model folder.",
            f"{folder}: no config.json",
            "give the folder that `ownlm build` made",
        )
    config_file = contained(folder, "config.json")
    files = _weight_files(folder)
    _check_digests(folder, [config_file, *dict.fromkeys(files.values())])
    config = hf_config.from_json(read_json(config_file), str(config_file))
    state = _read_weights(config, files, folder, dtype)
    with torch.device("meta"):  # no memory and no random numbers for weights that are replaced at once
        model = Decoder(config)
    model.load_state_dict(state, strict=True, assign=True)
    return model


def stop_ids(folder: Path | str) -> tuple[int, ...]:
    """Every id that ends an answer: eos_token_id of generation_config.json, one id or a list."""
    path = Path(folder) / "generation_config.json"
    raw = read_json(path)
    ids = raw.get("eos_token_id") if isinstance(raw, dict) else None
    ids = [ids] if isinstance(ids, int) else ids
    if not isinstance(ids, list) or not all(isinstance(i, int) and i >= 0 for i in ids):
        raise ArtifactError(
            "generation_config.json gives no usable eos_token_id.", f"{path}: {ids!r}", "restore the file"
        )
    return tuple(ids)


def names(config: ModelConfig) -> dict[str, str]:
    """Our weight name -> Hugging Face's, for every weight of the model."""
    table = {"embedding.weight": "model.embed_tokens.weight", "norm.weight": "model.norm.weight"}
    for layer in range(config.num_layers):
        for ours, theirs in NAMES.items():
            table[f"blocks.{layer}.{ours}.weight"] = f"model.layers.{layer}.{theirs}.weight"
    if not config.tie_embeddings:
        table["output.weight"] = "lm_head.weight"
    return table


def _write_shards(tensors: dict[str, Tensor], folder: Path, max_bytes: int) -> None:
    """One file, or several of at most `max_bytes` (a larger tensor gets a file of its own) with their index."""
    shards: list[dict[str, Tensor]] = [{}]
    room = max_bytes
    for name, tensor in tensors.items():
        if tensor.nbytes > room and shards[-1]:
            shards.append({})
            room = max_bytes
        shards[-1][name] = tensor
        room -= tensor.nbytes
    if len(shards) == 1:
        write_atomic(folder / SINGLE, to_bytes(shards[0], {"format": "pt"}))
        return
    weight_map: dict[str, str] = {}
    for number, shard in enumerate(shards, 1):
        file = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        write_atomic(folder / file, to_bytes(shard, {"format": "pt"}))
        weight_map |= dict.fromkeys(shard, file)
    total = sum(tensor.nbytes for tensor in tensors.values())
    write_json(folder / INDEX, {"metadata": {"total_size": total}, "weight_map": weight_map})


def _weight_files(folder: Path) -> dict[str, Path]:
    """Tensor name -> file, from the index of a sharded model; {"": file} for a single one."""
    if (folder / SINGLE).is_file():
        return {"": contained(folder, SINGLE)}
    if not (folder / INDEX).is_file():
        raise ArtifactError("The model folder has no weights.", f"{folder}: neither {SINGLE} nor {INDEX}",
                            "ownlm reads safetensors only; convert other formats first")  # fmt: skip
    raw = read_json(contained(folder, INDEX))
    weight_map = raw.get("weight_map") if isinstance(raw, dict) else None
    if (
        not isinstance(weight_map, dict)
        or not weight_map
        or not all(isinstance(f, str) for f in weight_map.values())
    ):
        raise ArtifactError("The weight index has no weight_map.", str(folder / INDEX), "restore the file")
    files = {name: contained(folder, file) for name, file in weight_map.items()}
    for file in dict.fromkeys(files.values()):
        if not file.is_file():
            raise ArtifactError("A weight file is missing.", str(file), "copy the whole model folder again")
    return files


def _check_digests(folder: Path, files: Sequence[Path]) -> None:
    """Where a manifest stands in the folder, every file that is about to be read must be as it says."""
    if not (folder / "ownlm.json").is_file():
        return
    expected = artifact.read(folder).files
    for file in files:
        name = file.relative_to(folder.resolve()).as_posix()
        if name not in expected:
            raise DigestMismatch(
                "A model file is not listed in the folder's manifest.", str(file), "run `ownlm verify`"
            )
        if sha256_file(file) != expected[name]:
            raise DigestMismatch("A model file was changed or damaged after it was written.", str(file),
                                 "copy it again or build it again; `ownlm verify` lists every such file")  # fmt: skip


def _read_weights(
    config: ModelConfig, files: dict[str, Path], folder: Path, dtype: torch.dtype
) -> dict[str, Tensor]:
    """Every weight of the model under our names; raises ArtifactError on any disagreement with `config`."""
    expected = {theirs: ours for ours, theirs in names(config).items()}
    shapes = _shapes(config)
    state: dict[str, Tensor] = {}
    for file in dict.fromkeys(files.values()):
        for name, handle in _tensors(file):
            if "" not in files and files.get(name) != file:
                raise ArtifactError(
                    "A tensor is not where the weight index says.", f"{file}: {name}", "restore the folder"
                )
            if name == "lm_head.weight" and config.tie_embeddings:
                continue  # checked below, against the matrix that it must repeat
            if name not in expected:
                raise ArtifactError("The weights hold a tensor that this architecture lacks.", f"{file}: {name}",
                                    "this is another kind of model; ownlm loads plain Llama decoders")  # fmt: skip
            state[expected[name]] = _read(handle, name, shapes[expected[name]], file, dtype)
    missing = [theirs for theirs, ours in expected.items() if ours not in state]
    if missing:
        raise ArtifactError("The weights are incomplete.", f"{folder}: {len(missing)} tensors missing, first {missing[0]}",
                            "copy the whole model folder again")  # fmt: skip
    if config.tie_embeddings:
        _check_tied_copy(files, state["embedding.weight"], dtype)
    return state


def _shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    with torch.device("meta"):
        return {name: tuple(weight.shape) for name, weight in Decoder(config).named_parameters()}


def _tensors(file: Path) -> Iterator[tuple[str, Any]]:
    """(name, handle of the open file) for every tensor of one safetensors file."""
    try:
        with safe_open(file, framework="pt") as handle:
            for name in handle.keys():  # noqa: SIM118 (not a dict)
                yield name, handle
    except (SafetensorError, OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ArtifactError("A weight file is damaged or truncated.", f"{file}: {error}",
                            "copy it again; `ownlm verify` compares it with its manifest") from error  # fmt: skip


def _read(handle: Any, name: str, shape: tuple[int, ...], file: Path, dtype: torch.dtype) -> Tensor:
    header = handle.get_slice(name)
    if tuple(header.get_shape()) != shape:
        raise ArtifactError("A tensor has another shape than config.json says.",
                            f"{file}: {name} is {list(header.get_shape())}, expected {list(shape)}",
                            "weights and config.json belong to different models")  # fmt: skip
    if header.get_dtype() not in FLOATS:
        raise ArtifactError("A tensor has a type that ownlm does not read.", f"{file}: {name} is {header.get_dtype()}",
                            f"supported: {', '.join(FLOATS)}; dequantize the model first")  # fmt: skip
    tensor: Tensor = handle.get_tensor(name).to(
        dtype, copy=True
    )  # a copy: weights must not live in a mapped file
    if not bool(torch.isfinite(tensor).all()):
        raise ArtifactError(
            "A tensor holds numbers that are not finite.", f"{file}: {name}", "copy or build it again"
        )
    return tensor


def _check_tied_copy(files: dict[str, Path], embedding: Tensor, dtype: torch.dtype) -> None:
    """Some writers store the tied output layer as well; it must then be the embedding, bit for bit."""
    for file in dict.fromkeys(files.values()):
        for name, handle in _tensors(file):
            if name != "lm_head.weight":
                continue
            if not torch.equal(_read(handle, name, tuple(embedding.shape), file, dtype), embedding):
                raise ArtifactError("config.json ties the output layer to the embedding, but the weights differ.",
                                    f"{file}: {name}", "set tie_word_embeddings to false in config.json")  # fmt: skip
