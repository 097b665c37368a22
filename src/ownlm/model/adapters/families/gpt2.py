"""GPT-2 (`GPT2LMHeadModel`; Radford et al. 2019): learned positions, LayerNorm, q, k, v fused and matrices stored [in, out].

The published file leaves out the prefix "transformer." and holds the causal mask as a buffer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from ownlm.errors import UsageError
from ownlm.model.absolute import Learned
from ownlm.model.adapters import dense
from ownlm.model.adapters.activations import THEIRS, ours
from ownlm.model.adapters.config_keys import Reader
from ownlm.model.adapters.rules import Rule, same, transposed
from ownlm.model.architecture import Architecture
from ownlm.model.attention.grouped import GroupedQuery
from ownlm.model.blocks import Layer
from ownlm.model.config import MAX_LAYERS, MAX_POSITIONS
from ownlm.model.decoder import Decoder
from ownlm.model.layers import FeedForward, Norm

MODEL_TYPES = ("gpt2",)
IGNORED = (r"transformer\.h\.\d+\.attn\.(bias|masked_bias)",)
RENAMED = ((r"^(wte|wpe|h|ln_f)\.", r"transformer.\1."),)

HARMLESS = (
    "summary_type", "summary_use_proj", "summary_activation", "summary_proj_to_labels", "summary_first_dropout",
    "reorder_and_upcast_attn", "gradient_checkpointing", "n_ctx",
)  # fmt: skip
"""Another head, and the order of float32 operations; n_ctx repeats n_positions in old files."""


def read(raw: Mapping[str, Any], where: str) -> Architecture:
    """config.json of transformers 4 or 5. Raises ArtifactError."""
    keys = Reader(raw, where)
    keys.require("model_type", MODEL_TYPES)
    keys.require("architectures", (["GPT2LMHeadModel"], None))
    width, heads = keys.whole("n_embd", 768), keys.whole("n_head", 12)
    inner = keys.optional("n_inner") or 4 * width
    activation = ours(keys.take("activation_function", "gelu_new"), where)
    norm = Norm("layer", keys.number("layer_norm_epsilon", 1e-5), bias=True)
    count, positions = keys.whole("n_layer", 12, MAX_LAYERS), keys.whole("n_positions", 1024, MAX_POSITIONS)
    vocab, tied = keys.whole("vocab_size", 50257), keys.switch("tie_word_embeddings", True)
    scaled, by_layer = (
        keys.switch("scale_attn_weights", True),
        keys.switch("scale_attn_by_inverse_layer_idx", False),
    )
    std = keys.number("initializer_range", 0.02)
    keys.harmless(HARMLESS)
    keys.done()

    def plan() -> Architecture:
        if width % heads:
            raise UsageError(
                "n_embd must be a multiple of n_head.", f"n_embd = {width}, n_head = {heads}", "change one"
            )
        layers = [
            Layer(_attention(heads, width // heads, _scale(n, width // heads, scaled, by_layer)),
                  FeedForward(inner, activation, gated=False, bias=True), norm)
            for n in range(count)
        ]  # fmt: skip
        return Architecture(vocab, width, tuple(layers), positions, norm, tied, positions=Learned(positions),
                            initializer_range=std, family="gpt2")  # fmt: skip

    return dense.refused_as_artifact(where, plan)


def _attention(heads: int, head_dim: int, scale: float | None) -> GroupedQuery:
    return GroupedQuery(heads, heads, head_dim, bias=True, output_bias=True, scale=scale)


def _scale(layer: int, head_dim: int, scaled: bool, by_layer: bool) -> float | None:
    """None for the usual one."""
    if scaled and not by_layer:
        return None
    return float((head_dim**-0.5 if scaled else 1.0) / (layer + 1 if by_layer else 1))


def write(plan: Architecture) -> dict[str, Any]:
    """The keys that describe the model. Raises UsageError where it is no GPT-2."""
    mixer, inner = dense.parts(plan, "gpt2")
    norm = Norm("layer", plan.layers[0].norm.eps, bias=True)
    heads, head_dim = mixer.num_heads, mixer.head_dim
    scales = [getattr(layer.mixer, "scale", None) for layer in plan.layers]
    switches = [(s, b) for s in (True, False) for b in (False, True)
                if scales == [_scale(n, head_dim, s, b) for n in range(plan.num_layers)]]  # fmt: skip
    if not switches or heads * head_dim != plan.hidden_size:
        raise UsageError("GPT-2 cannot scale its scores or heads so.", f"{scales[:4]}, {heads} heads of {head_dim}", "change them")  # fmt: skip
    scaled, by_layer = switches[0]
    like = [Layer(_attention(heads, head_dim, scale), FeedForward(inner.width, inner.activation, gated=False, bias=True), norm)
            for scale in scales]  # fmt: skip
    dense.require(plan, like, "gpt2", positions=Learned(plan.max_positions))
    return {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "vocab_size": plan.vocab_size,
        "n_positions": plan.max_positions,
        "n_embd": plan.hidden_size,
        "n_layer": plan.num_layers,
        "n_head": heads,
        "n_inner": inner.width,
        "activation_function": THEIRS[inner.activation],
        "layer_norm_epsilon": norm.eps,
        "initializer_range": plan.initializer_range,
        "scale_attn_weights": scaled,
        "scale_attn_by_inverse_layer_idx": by_layer,
        "tie_word_embeddings": plan.tie_embeddings,
    }


def build(config: Architecture) -> nn.Module:
    return Decoder(config)


def rules(config: Architecture) -> list[Rule]:
    names = {"wte.weight": "embedding.weight", "wpe.weight": "positions.table.weight", "ln_f.weight": "norm.weight",
             "ln_f.bias": "norm.bias"}  # fmt: skip
    found = [same(f"transformer.{theirs}", mine) for theirs, mine in names.items()]
    if not config.tie_embeddings:
        found.append(same("lm_head.weight", "output.weight"))
    for n in range(config.num_layers):
        theirs, mine = f"transformer.h.{n}.", f"blocks.{n}."
        for there, here in (("ln_1", "mixer_norm"), ("ln_2", "feed_forward_norm")):
            found += [same(f"{theirs}{there}.{kind}", f"{mine}{here}.{kind}") for kind in ("weight", "bias")]
        for there, here in (
            ("attn.c_proj", "mixer.o"),
            ("mlp.c_fc", "feed_forward.up"),
            ("mlp.c_proj", "feed_forward.down"),
        ):
            found.append(transposed(f"{theirs}{there}.weight", f"{mine}{here}.weight"))
            found.append(same(f"{theirs}{there}.bias", f"{mine}{here}.bias"))
        found += [
            Rule(f"{theirs}attn.c_attn.weight", tuple(f"{mine}mixer.{part}.weight" for part in "qkv"),
                 lambda parts: torch.cat(list(parts), dim=0).T.contiguous(), lambda t: list(t.T.chunk(3, dim=0))),
            Rule(f"{theirs}attn.c_attn.bias", tuple(f"{mine}mixer.{part}.bias" for part in "qkv"),
                 lambda parts: torch.cat(list(parts)), lambda t: list(t.chunk(3))),
        ]  # fmt: skip
    return found


def copies(config: Architecture) -> dict[str, str]:
    return {"lm_head.weight": "transformer.wte.weight"} if config.tie_embeddings else {}
