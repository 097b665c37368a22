"""Phi-3 and Phi-4-mini (`Phi3ForCausalLM`, arXiv:2404.14219): Llama with q, k, v and gate, up fused in the file, LongRoPE,
heads rotated in part. transformers 4.57 accepts of `rope_scaling` only type and the two lists of factors."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from torch import nn

from ownlm.errors import UsageError
from ownlm.model.adapters import dense, rope_keys
from ownlm.model.adapters.config_keys import Reader
from ownlm.model.adapters.rules import Rule, same, stacked
from ownlm.model.architecture import Architecture
from ownlm.model.attention.grouped import GroupedQuery
from ownlm.model.blocks import Layer
from ownlm.model.decoder import Decoder
from ownlm.model.layers import FeedForward, Norm
from ownlm.model.position import LongRope

MODEL_TYPES = ("phi3",)
IGNORED = dense.IGNORED
copies = dense.copies


def read(raw: Mapping[str, Any], where: str) -> Architecture:
    """config.json of transformers 4 or 5. Raises ArtifactError."""
    keys = Reader(raw, where)
    keys.require("model_type", MODEL_TYPES)
    keys.require("architectures", (["Phi3ForCausalLM"], None))
    keys.require("attention_bias", (False,))
    keys.require("mlp_bias", (False,))
    keys.require("embd_pdrop", (0, 0.0))
    keys.harmless(("auto_map",))  # names code that is never run; the published folders have it
    found = dense.Numbers(keys, eps=1e-5, max_positions=4096)
    rope = rope_keys.read(keys, found.head_dim, found.max_positions, fraction_keys=("partial_rotary_factor",))
    window = keys.optional("sliding_window")
    activation = found.activation("hidden_act", "silu")
    keys.done()
    norm = Norm("rms", found.eps)

    def layers() -> tuple[Layer, ...]:
        attention = GroupedQuery(found.num_heads, found.num_kv_heads, found.head_dim, rope, window)
        return (Layer(attention, FeedForward(found.inner, activation), norm),) * found.num_layers

    return dense.architecture(found, where, layers, norm, "phi3")


def write(plan: Architecture) -> dict[str, Any]:
    """The keys that describe the model. Raises UsageError where it is no Phi-3."""
    mixer, inner = dense.parts(plan, "phi3")
    like = Layer(GroupedQuery(mixer.num_heads, mixer.num_kv_heads, mixer.head_dim, mixer.rope, mixer.window),
                 FeedForward(inner.width, inner.activation), Norm("rms", plan.layers[0].norm.eps))  # fmt: skip
    dense.require(plan, (like,) * plan.num_layers, "phi3")
    if mixer.rope is None:
        raise UsageError("Phi-3 rotates its heads.", "rope = None", "give a Rope")
    found = {
        "architectures": ["Phi3ForCausalLM"],
        "model_type": "phi3",
        **dense.write(plan),
        "hidden_act": dense.THEIRS[inner.activation],
        "sliding_window": mixer.window,
        "original_max_position_embeddings": plan.max_positions,
    }
    if isinstance(mixer.rope.scaling, LongRope):
        scaling = mixer.rope.scaling
        found["original_max_position_embeddings"] = scaling.trained_positions
        usual = rope_keys.longrope_magnitude(
            plan.max_positions / scaling.trained_positions, scaling.trained_positions
        )
        if math.isclose(scaling.attention_factor or 1.0, usual):
            lists = ("short_factor", "long_factor")
            found["rope_scaling"] = {
                "type": "longrope",
                **{name: list(getattr(scaling, name)) for name in lists},
            }
    return found


def build(config: Architecture) -> nn.Module:
    return Decoder(config)


def rules(config: Architecture) -> list[Rule]:
    found = [same("model.embed_tokens.weight", "embedding.weight"), same("model.norm.weight", "norm.weight")]
    if not config.tie_embeddings:
        found.append(same("lm_head.weight", "output.weight"))
    for n, layer in enumerate(config.layers):
        mixer, inner = dense.dense_parts(layer, "phi3")
        theirs, mine = f"model.layers.{n}.", f"blocks.{n}."
        rows = [mixer.num_heads * mixer.head_dim] + [mixer.num_kv_heads * mixer.head_dim] * 2
        found += [
            same(f"{theirs}{there}.weight", f"{mine}{here}.weight") for here, there in dense.NORMS.items()
        ]
        found += [
            stacked(f"{theirs}self_attn.qkv_proj.weight", [f"{mine}mixer.{part}.weight" for part in "qkv"], rows),
            same(f"{theirs}self_attn.o_proj.weight", f"{mine}mixer.o.weight"),
            stacked(f"{theirs}mlp.gate_up_proj.weight",
                    [f"{mine}feed_forward.{part}.weight" for part in ("gate", "up")], [inner.width] * 2),
            same(f"{theirs}mlp.down_proj.weight", f"{mine}feed_forward.down.weight"),
        ]  # fmt: skip
    return found
