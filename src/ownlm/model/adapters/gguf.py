"""A GGUF file as a decoder: `load(path)`. Weights are dequantized to float32; the tokenizer is not read here.

Read are general.architecture llama, qwen2 and qwen3 in the tensor types of ggml.py. llama.cpp stores the rows of a
llama's q and k in interleaved pairs (qwen's not); here they are put back into halves. Every key that describes the
model is understood or refused by name, and every size is held against the tensors of the file before memory is
taken for it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ownlm.errors import ArtifactError, UsageError
from ownlm.model.adapters.ggml import read_tensor
from ownlm.model.architecture import Architecture
from ownlm.model.attention.grouped import GroupedQuery
from ownlm.model.blocks import Layer
from ownlm.model.config import MAX_LAYERS, MAX_POSITIONS
from ownlm.model.decoder import Decoder
from ownlm.model.layers import FeedForward, Norm
from ownlm.model.position import Linear, LongRope, Rope, Yarn
from ownlm.runtime.gguf import Header, read_header

FAMILIES = {"llama": "llama", "qwen2": "qwen2", "qwen3": "qwen3"}
"""general.architecture -> the model_type under which hf.save can write it."""

OUTSIDE = {
    "embedding.weight": "token_embd.weight",
    "norm.weight": "output_norm.weight",
    "output.weight": "output.weight",
}
FACTORS = "rope_freqs.weight"
INSIDE = {
    "mixer_norm": "attn_norm", "mixer.q": "attn_q", "mixer.k": "attn_k", "mixer.v": "attn_v", "mixer.o": "attn_output",
    "mixer.q_norm": "attn_q_norm", "mixer.k_norm": "attn_k_norm", "feed_forward_norm": "ffn_norm",
    "feed_forward.gate": "ffn_gate", "feed_forward.up": "ffn_up", "feed_forward.down": "ffn_down",
}  # fmt: skip
"""Our module -> ggml's, in a block."""


def load(path: Path | str, dtype: torch.dtype = torch.float32) -> Decoder:
    """Read a model. Raises ArtifactError, naming file and key or tensor, for all that is damaged or unknown."""
    path = Path(path)
    header = read_header(path)
    plan = architecture(header, path)
    with torch.device("meta"):
        model = Decoder(plan)
    state: dict[str, Tensor] = {}
    expected = {name: (theirs(name), tuple(weight.shape)) for name, weight in model.state_dict().items()}
    _check_names(header, {name for name, _ in expected.values()} | ({FACTORS} & set(header.tensors)), path)
    for ours, (name, shape) in expected.items():
        if header.tensors[name].shape != shape:
            raise ArtifactError("A tensor has another shape than the file's keys say.",
                                f"{path}: {name} is {header.tensors[name].shape}, expected {shape}", _FIX)  # fmt: skip
        state[ours] = _weight(path, header, plan, ours, name).to(dtype)
    model.load_state_dict(state, strict=True, assign=True)
    return model


_FIX = "take the file from where it came from again, or the model in another format"


def theirs(ours: str) -> str:
    """Our name of a weight -> ggml's."""
    if ours in OUTSIDE:
        return OUTSIDE[ours]
    _, layer, rest = ours.split(".", 2)
    part, kind = rest.rsplit(".", 1)
    return f"blk.{layer}.{INSIDE[part]}.{kind}"


def _check_names(header: Header, expected: set[str], path: Path) -> None:
    missing, foreign = sorted(expected - set(header.tensors)), sorted(set(header.tensors) - expected)
    if missing:
        raise ArtifactError(
            "The GGUF file lacks tensors.", f"{path}: {len(missing)}, first {missing[0]}", _FIX
        )
    if foreign:
        raise ArtifactError("The GGUF file holds tensors that ownlm does not understand.",
                            f"{path}: {', '.join(foreign[:5])}", _FIX)  # fmt: skip


def _weight(path: Path, header: Header, plan: Architecture, ours: str, name: str) -> Tensor:
    values = torch.from_numpy(read_tensor(path, name, header.tensors[name]))
    if not bool(torch.isfinite(values).all()):
        raise ArtifactError("A tensor holds numbers that are not finite.", f"{path}: {name}", _FIX)
    mixer = plan.layers[0].mixer
    assert isinstance(mixer, GroupedQuery), "made by `architecture`"
    if header.metadata["general.architecture"] == "llama" and ours.rsplit(".", 1)[0].endswith(
        ("mixer.q", "mixer.k")
    ):
        values = in_halves(values, mixer.head_dim)
    return values


def in_halves(rows: Tensor, head_dim: int) -> Tensor:
    """Rows of each head from pairs (2i, 2i + 1) to halves (i, i + C/2): [H * C, ...] -> the same shape."""
    pairs = rows.view(-1, head_dim // 2, 2, *rows.shape[1:])
    return pairs.transpose(1, 2).reshape(rows.shape)


@dataclass(slots=True)
class _Keys:
    """The keys that describe the model; `done` refuses those that nobody asked for."""

    values: dict[str, Any]
    name: str  # general.architecture
    where: str
    asked: set[str] = field(default_factory=set)

    def wrong(self, key: str, wanted: str) -> ArtifactError:
        return ArtifactError("A key of the GGUF file is missing, damaged or not supported.",
                             f"{self.where}: {self.name}.{key} = {self.values.get(f'{self.name}.{key}')!r:.60}, {wanted}", _FIX)  # fmt: skip

    def get(self, key: str) -> Any:
        self.asked.add(f"{self.name}.{key}")
        return self.values.get(f"{self.name}.{key}")

    def size(self, key: str, limit: int, default: int | None = None) -> int:
        value = self.get(key)
        value = default if value is None else value
        if type(value) is not int or not 1 <= value <= limit:
            raise self.wrong(key, f"a whole number from 1 to {limit:,} is wanted")
        return value

    def number(self, key: str, default: float | None = None) -> float:
        value = self.get(key)
        value = default if value is None else value
        if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < float("inf"):
            raise self.wrong(key, "a positive number is wanted")
        return float(str(np.float32(value)))  # stored as float32: 1e-6, not 9.99999997e-7

    def only(self, key: str, *allowed: object) -> None:
        if self.get(key) not in (None, *allowed):
            raise self.wrong(key, f"only {', '.join(map(str, allowed)) or 'its absence'} is supported")

    def done(self) -> None:
        unread = sorted(
            key for key in self.values if key.startswith(f"{self.name}.") and key not in self.asked
        )
        if unread:
            raise ArtifactError("The GGUF file has keys that ownlm does not understand.",
                                f"{self.where}: {', '.join(unread[:8])}", _FIX)  # fmt: skip


def architecture(header: Header, path: Path) -> Architecture:
    """What the keys describe. Raises ArtifactError for any that is unknown or cannot be reproduced exactly."""
    where = str(path)
    name = header.metadata.get("general.architecture")
    if name not in FAMILIES:
        raise ArtifactError("This GGUF file holds a model that ownlm does not read.",
                            f"{where}: general.architecture {name!r:.60}", f"ownlm reads {', '.join(FAMILIES)}")  # fmt: skip
    if header.metadata.get("split.count", 1) not in (0, 1):
        raise ArtifactError(
            "This is one part of a split model.", where, "join the parts with llama-gguf-split --merge"
        )
    keys = _Keys(header.metadata, name, where)
    vocab, D = _embedding_shape(header, where)
    if keys.size("embedding_length", 1 << 20) != D:
        raise keys.wrong("embedding_length", f"the embedding is {D} wide")
    keys.only("vocab_size", vocab)
    layers = keys.size("block_count", min(MAX_LAYERS, len(header.tensors)))
    norm = Norm("rms", keys.number("attention.layer_norm_rms_epsilon"))
    feed_forward = FeedForward(keys.size("feed_forward_length", 1 << 24))
    try:
        layer = Layer(
            _attention(keys, D, norm, _rope(keys, header, path), "blk.0.attn_q.bias" in header.tensors),
            feed_forward,
            norm,
        )
        plan = Architecture(
            vocab,
            D,
            (layer,) * layers,
            keys.size("context_length", MAX_POSITIONS),
            norm,
            "output.weight" not in header.tensors,
            family=FAMILIES[name],
        )
    except UsageError as error:
        raise ArtifactError(
            "The GGUF file describes no possible model.", f"{where}: {error.values}", _FIX
        ) from error
    keys.done()
    return plan


def _embedding_shape(header: Header, where: str) -> tuple[int, int]:
    info = header.tensors.get("token_embd.weight")
    if info is None or len(info.shape) != 2:
        raise ArtifactError("The GGUF file has no token embedding.", where, _FIX)
    return info.shape[0], info.shape[1]


def _attention(keys: _Keys, width: int, norm: Norm, rope: Rope, bias: bool) -> GroupedQuery:
    heads = keys.size("attention.head_count", 1 << 12)
    head_dim = keys.size("attention.key_length", 1 << 12, width // heads)
    keys.only("attention.value_length", head_dim)
    keys.only("rope.dimension_count", head_dim)
    keys.only("attention.causal", True)
    keys.only("attention.sliding_window")
    keys.only("expert_count", 0)
    keys.only("expert_used_count", 0)
    if head_dim % 2:
        raise keys.wrong("attention.key_length", "an even head width is wanted")
    return GroupedQuery(
        heads,
        keys.size("attention.head_count_kv", 1 << 12, heads),
        head_dim,
        rope,
        bias=bias,
        qk_norm=norm if keys.name == "qwen3" else None,
    )


def _rope(keys: _Keys, header: Header, path: Path) -> Rope:
    """linear and yarn as llama.cpp computes them; Llama 3's factors come as a tensor, one per pair of features."""
    theta, kind = keys.number("rope.freq_base", 10000.0), keys.get("rope.scaling.type")
    keys.only("rope.scaling.attn_factor", 1.0)
    keys.only("rope.scaling.finetuned", True, False)
    context = keys.size("context_length", MAX_POSITIONS)
    scaling: Linear | Yarn | None = None
    original = keys.size("rope.scaling.original_context_length", MAX_POSITIONS, context)
    factor = keys.number("rope.scaling.factor", 1.0)
    if kind == "linear":
        scaling = Linear(factor)
    elif kind == "yarn":
        scaling = Yarn(factor, original)
    elif kind not in (None, "none") or factor != 1.0:
        raise keys.wrong("rope.scaling.type", "none, linear or yarn is wanted where there is a factor")
    if FACTORS not in header.tensors:
        return Rope(theta, scaling=scaling)
    if scaling is not None or len(header.tensors[FACTORS].shape) != 1:
        raise keys.wrong("rope.scaling.type", f"the file has {FACTORS} of its own")
    factors = tuple(read_tensor(path, FACTORS, header.tensors[FACTORS]).tolist())
    return Rope(theta, scaling=LongRope(factors, factors, context))
