"""A model folder with rows for new tokens: what `ownlm tokenizer extend` does beside the tokenizer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ownlm.errors import UsageError
from ownlm.tokenizer.fields import read_object


def resize_folder(source: Path, folder: Path, old_tokens: int, new_tokens: Sequence[Sequence[int]]) -> int:
    """Read the decoder at `source`, write it with a row for each new token to `folder`; returns its parameters.

    new_tokens[n]: the old ids that spell token old_tokens + n. Weights keep their dtype, and the ids that begin, end
    and fill a text stay what they were. Raises UsageError for a model that is no decoder.
    """
    import torch

    from ownlm.model.adapters import hf
    from ownlm.model.decoder import Decoder
    from ownlm.model.resize import resize_decoder

    config = read_object(source / "config.json")
    named = str(config.get("dtype") or config.get("torch_dtype") or "float32").removeprefix("torch.")
    dtype = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}.get(named)
    if dtype is None:
        raise UsageError(
            "The weights of this model cannot be resized.", f"dtype = {named}", "convert it first"
        )
    model = hf.load(source, dtype)
    if not isinstance(model, Decoder):
        raise UsageError(
            "Only decoders can be resized.",
            f"{source}: {config.get('model_type')}",
            "extend its tokenizer alone",
        )
    grown = resize_decoder(model, old_tokens, new_tokens)
    path = source / "generation_config.json"
    generation = read_object(path) if path.is_file() else {}
    eos, bos, pad = (generation.get(key, config.get(key)) for key in ("eos_token_id", "bos_token_id", "pad_token_id"))  # fmt: skip
    hf.save(grown, folder, eos_ids=_ids(eos), bos_id=bos, pad_id=pad)
    return sum(weight.numel() for weight in grown.parameters())


def _ids(value: Any) -> list[int]:
    return value if isinstance(value, list) else [] if value is None else [value]
