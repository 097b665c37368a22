"""A model as a Hugging Face folder, and back: config.json, generation_config.json, safetensors.

    model = hf.load(folder)          # the class that config.json asks for; `model(ids)` gives logits
    hf.save(model, elsewhere)

Families live in families/; what each must define stands in rules.py. Written folders load in transformers 4.57 and 5.x
with equal logits. Nothing in a folder is ever executed, no file outside it is opened, and every tensor is checked by
name, shape and type before it is read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor, nn

from ownlm.errors import ArtifactError, DigestMismatch, UsageError
from ownlm.model.adapters.families.table import FAMILIES
from ownlm.model.adapters.rules import Rule
from ownlm.model.config import ModelConfig
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


def save(
    model: Any,
    folder: Path | str,
    *,
    eos_ids: Sequence[int] = (),
    bos_id: int | None = None,
    pad_id: int | None = None,
    tokenizer_folder: Path | str | None = None,
    max_shard_bytes: int = MAX_SHARD_BYTES,
) -> None:
    """Write the model; with `tokenizer_folder` its four tokenizer files are copied beside it.

    Weights keep their dtype. Each file appears whole or not at all; the folder as a whole is made atomic by
    the stage that calls this. Raises UsageError for a model that no family can hold, MachineError when the disk
    refuses.
    """
    folder = Path(folder)
    family = family_of(model.config)
    described = family.write(model.config)
    tensors = _theirs(model, family.rules(model.config))
    dtype = str(next(model.parameters()).dtype).removeprefix("torch.")
    ids = {"bos_token_id": bos_id, "eos_token_id": list(eos_ids) or None, "pad_token_id": pad_id}
    write_json(
        folder / "config.json", {**ids, "torch_dtype": dtype, "dtype": dtype, "use_cache": True, **described}
    )
    ids |= {key: described[key] for key in (*ids, "decoder_start_token_id") if described.get(key) is not None}
    write_json(folder / "generation_config.json", {**ids, "do_sample": False})
    _write_shards(tensors, folder, max_shard_bytes)
    for name in TOKENIZER_FILES if tokenizer_folder else ():
        write_atomic(folder / name, (Path(tokenizer_folder or "") / name).read_bytes())


def load(folder: Path | str, dtype: torch.dtype = torch.float32) -> Any:
    """Read a model folder, ours or another's; weights are converted to `dtype`.

    Returns a `Decoder` for decoder-only families, otherwise the family's own class. Raises ArtifactError (naming
    file and key or tensor) for anything damaged, missing, unexpected or unsupported, and DigestMismatch when the folder
    has a manifest and a file differs from it.
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
    family, config = read_config(read_json(config_file), str(config_file))
    with torch.device("meta"):  # no memory and no random numbers for weights that are replaced at once
        model: nn.Module = family.build(config)
    _assign(model, _read_weights(model, family, config, files, folder, dtype))
    return model.eval()


def read_config(raw: object, where: str) -> tuple[ModuleType, Any]:
    """(family, its config) of a parsed config.json; raises ArtifactError."""
    if not isinstance(raw, dict) or not ("model_type" in raw or "architectures" in raw):
        raise ArtifactError("config.json names no architecture.", where, "this is not a model folder")
    kind = raw.get("model_type")
    if kind not in FAMILIES:
        raise ArtifactError(
            "This model has an architecture or an option that ownlm does not support.",
            f"{where}: model_type = {kind!r}",
            f"ownlm reads {', '.join(FAMILIES)}",
        )
    family = FAMILIES[kind]
    return family, family.read(raw, where)


def family_of(config: Any) -> ModuleType:
    """The family that holds a model of this config; raises UsageError where there is none."""
    kind = "llama" if isinstance(config, ModelConfig) else getattr(config, "family", "")
    if kind not in FAMILIES:
        raise UsageError(
            "This architecture has no Hugging Face form.",
            f"{type(config).__name__} of family {kind!r}",
            f"save one of {', '.join(FAMILIES)}; ownlm's checkpoints keep any model",
        )
    return FAMILIES[kind]


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


def _theirs(model: nn.Module, rules: Sequence[Rule]) -> dict[str, Tensor]:
    """Their tensors from ours; every weight and stored buffer of the model must be in one of them."""
    weights = _weights(model)
    named = {ours for rule in rules for ours in rule.ours}
    lost = sorted(set(weights) - named)
    missing = sorted(named - set(weights))
    if lost or missing:
        raise UsageError("This model has weights that its family does not know.", f"without a place: {lost[:4]}, missing: {missing[:4]}",
                         "save it as the family that it is")  # fmt: skip
    return {
        rule.theirs: rule.join([weights[ours].detach() for ours in rule.ours]).contiguous() for rule in rules
    }


def _weights(model: nn.Module) -> dict[str, Tensor]:
    """Parameters (shared ones once) and stored buffers by name."""
    found: dict[str, Tensor] = dict(model.named_parameters())
    for name, tensor in model.state_dict(keep_vars=True).items():
        if not isinstance(tensor, nn.Parameter):
            found[name] = tensor
    return found


def _assign(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Put the tensors in the places of the meta ones; what was shared stays shared."""
    ours = _weights(model)
    new = {}
    for name, old in ours.items():
        param = isinstance(old, nn.Parameter)
        new[id(old)] = nn.Parameter(state[name], requires_grad=old.requires_grad) if param else state[name]
    for module in model.modules():
        for table in (module._parameters, module._buffers):
            for name, empty in table.items():
                if empty is not None and id(empty) in new:
                    table[name] = new[id(empty)]  # type: ignore[assignment]
                elif empty is not None and empty.is_meta:
                    raise AssertionError(
                        f"{type(module).__name__}.{name} was built on the meta device and is never filled"
                    )


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
    model: nn.Module,
    family: ModuleType,
    config: Any,
    files: dict[str, Path],
    folder: Path,
    dtype: torch.dtype,
) -> dict[str, Tensor]:
    """Every weight of the model under our names; raises ArtifactError on any disagreement with `config`."""
    rules = {rule.theirs: rule for rule in family.rules(config)}
    copies: dict[str, str] = family.copies(config)
    ours = _weights(model)
    shapes = {name: tuple(rule.join([ours[n] for n in rule.ours]).shape) for name, rule in rules.items()}
    state: dict[str, Tensor] = {}
    kept: dict[str, Tensor] = {}  # what a copy must equal
    second: list[tuple[str, Path]] = []
    for file in dict.fromkeys(files.values()):
        for stored, handle in _tensors(file):
            if "" not in files and files.get(stored) != file:
                raise ArtifactError(
                    "A tensor is not where the weight index says.", f"{file}: {stored}", "restore the folder"
                )
            name = _renamed(stored, family)
            if name in rules:
                tensor = _read(handle, stored, shapes[name], file, dtype)
                state.update(zip(rules[name].ours, rules[name].split(tensor), strict=True))
                if name in copies.values():
                    kept[name] = tensor
            elif name in copies:
                second.append((stored, file))  # checked below, against the tensor that it must repeat
            elif not any(re.fullmatch(pattern, name) for pattern in family.IGNORED):
                raise ArtifactError("The weights hold a tensor that this architecture lacks.", f"{file}: {stored}",
                                    "this is another kind of model than config.json says")  # fmt: skip
    missing = [name for name, rule in rules.items() if any(part not in state for part in rule.ours)]
    if missing:
        raise ArtifactError("The weights are incomplete.", f"{folder}: {len(missing)} tensors missing, first {missing[0]}",
                            "copy the whole model folder again")  # fmt: skip
    for stored, file in second:
        _check_copy(stored, file, kept[copies[_renamed(stored, family)]], dtype)
    # Copies of their own: pieces of one fused tensor must not share memory, and nothing may lie in a mapped file.
    return {name: tensor.clone(memory_format=torch.contiguous_format) for name, tensor in state.items()}


def _renamed(name: str, family: ModuleType) -> str:
    """Older or shorter spellings of a name, as the family lists them in RENAMED."""
    for pattern, instead in getattr(family, "RENAMED", ()):
        name = re.sub(pattern, instead, name)
    return name


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
    tensor: Tensor = handle.get_tensor(name).to(dtype)
    if not bool(torch.isfinite(tensor).all()):
        raise ArtifactError(
            "A tensor holds numbers that are not finite.", f"{file}: {name}", "copy or build it again"
        )
    return tensor


def _check_copy(name: str, file: Path, original: Tensor, dtype: torch.dtype) -> None:
    """Some writers store tied weights twice; the second must then be the first, bit for bit."""
    for stored, handle in _tensors(file):
        if stored == name and not torch.equal(
            _read(handle, name, tuple(original.shape), file, dtype), original
        ):
            raise ArtifactError("config.json ties the output layer to the embedding, but the weights differ.",
                                f"{file}: {name}", "set tie_word_embeddings to false in config.json")  # fmt: skip
