"""Gemma 3, text (`Gemma3ForCausalLM`, model_type gemma3_text, arXiv:2503.19786): Gemma 2 with norms of each head of q and
k instead of capped scores, five layers with a window to one without, and a rotation for each of the two kinds."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from torch import nn

from ownlm.errors import ArtifactError, UsageError
from ownlm.model.adapters import dense, rope_keys
from ownlm.model.adapters.config_keys import Reader
from ownlm.model.adapters.families.gemma2 import NORMS
from ownlm.model.adapters.rules import Rule
from ownlm.model.architecture import Architecture
from ownlm.model.attention.grouped import GroupedQuery
from ownlm.model.blocks import Layer
from ownlm.model.decoder import Decoder
from ownlm.model.layers import FeedForward, Norm
from ownlm.model.position import Rope

MODEL_TYPES = ("gemma3_text",)
IGNORED = dense.IGNORED
copies = dense.copies
FULL, SLIDING = "full_attention", "sliding_attention"


def read(raw: Mapping[str, Any], where: str) -> Architecture:
    """config.json of transformers 4 or 5. Raises ArtifactError."""
    keys = Reader(raw, where)
    keys.require("model_type", MODEL_TYPES)
    keys.require("architectures", (["Gemma3ForCausalLM"], ["Gemma3TextModel"], None))
    keys.require("use_bidirectional_attention", (False, None))
    keys.harmless(("cache_implementation", "hidden_act"))
    found = dense.Numbers(keys, eps=1e-6, max_positions=131072, tied=True, head_dim=256)
    ropes = _ropes(keys, found)
    period = keys.whole("sliding_window_pattern", keys.whole("_sliding_window_pattern", 6))
    windows = found.windows(keys.optional("sliding_window", 4096), lambda n: (n + 1) % period != 0)
    scale = keys.number("query_pre_attn_scalar", 256) ** -0.5
    score_cap, logit_cap = (
        keys.optional_number("attn_logit_softcapping", None),
        keys.optional_number("final_logit_softcapping", None),
    )
    bias = keys.switch("attention_bias", False)
    activation = found.activation("hidden_activation", "gelu_pytorch_tanh")
    keys.done()
    norm = Norm("rms", found.eps, offset=True)

    def layers() -> list[Layer]:
        inner = FeedForward(found.inner, activation)
        return [
            Layer(GroupedQuery(found.num_heads, found.num_kv_heads, found.head_dim, ropes[FULL if window is None else SLIDING],
                               window, bias, bias, norm, scale=scale, softcap=score_cap), inner, norm, "sandwich")
            for window in windows
        ]  # fmt: skip

    options = {"embedding_scale": math.sqrt(found.hidden_size), "logit_softcap": logit_cap}
    return dense.architecture(found, where, layers, norm, "gemma3_text", **options)


def _ropes(keys: Reader, found: dense.Numbers) -> dict[str, Rope]:
    """The rotations of full and sliding layers: nested in rope_parameters (5), or rope_theta with rope_scaling for the
    full ones and rope_local_base_freq (4). Both spellings must agree."""
    nested, scaling = keys.table("rope_parameters"), keys.table("rope_scaling")
    sizes = (found.head_dim, found.max_positions)
    old = dict(scaling or {})
    old.setdefault("rope_type", old.pop("type", "default"))
    old["rope_theta"] = keys.take("rope_theta", 1e6)
    local = {"rope_theta": keys.take("rope_local_base_freq", 1e4)}
    flat = {FULL: rope_keys.rope(keys, old, *sizes), SLIDING: rope_keys.rope(keys, local, *sizes)}
    if nested is None:
        return flat
    if set(nested) != {FULL, SLIDING} or not all(isinstance(part, dict) for part in nested.values()):
        raise keys.unsupported(f"rope_parameters = {nested!r}", f"give {FULL} and {SLIDING}")
    ropes = {}
    for kind, part in nested.items():
        settings = {"rope_theta": 1e6 if kind == FULL else 1e4} | {
            k: v for k, v in part.items() if v is not None
        }
        ropes[kind] = rope_keys.rope(keys, settings, *sizes)
    old_keys = {FULL: {"rope_theta", "rope_scaling"}, SLIDING: {"rope_local_base_freq"}}
    for kind, names in old_keys.items():
        if names & set(keys.raw) and names <= set(keys.raw) and flat[kind] != ropes[kind]:
            raise ArtifactError("config.json gives two different rotations.", f"{keys.where}: rope_parameters.{kind} and "
                                f"{', '.join(sorted(names))}", "restore the file")  # fmt: skip
    return ropes


def write(plan: Architecture) -> dict[str, Any]:
    """The keys that describe the model. Raises UsageError where it is no Gemma 3."""
    mixer, inner = dense.parts(plan, "gemma3_text")
    norm = Norm("rms", plan.layers[0].norm.eps, offset=True)
    ropes = {window is None: getattr(layer.mixer, "rope", None) for window, layer in zip(plan.windows(), plan.layers, strict=True)}  # fmt: skip
    full, local = ropes.get(True, Rope(1e6)), ropes.get(False, Rope(1e4))
    like = [Layer(GroupedQuery(mixer.num_heads, mixer.num_kv_heads, mixer.head_dim, local if window else full, window,
                               mixer.bias, mixer.bias, norm, scale=mixer.scale, softcap=mixer.softcap),
                  FeedForward(inner.width, inner.activation), norm, "sandwich") for window in plan.windows()]  # fmt: skip
    dense.require(
        plan,
        like,
        "gemma3_text",
        embedding_scale=math.sqrt(plan.hidden_size),
        logit_softcap=plan.logit_softcap,
    )
    if full is None or local is None or local != Rope(local.theta):
        raise UsageError(
            "Gemma 3 rotates all layers, those with a window without scaling.",
            f"{full}, {local}",
            "change them",
        )
    both = {FULL: rope_keys.write(full, mixer.head_dim), SLIDING: rope_keys.write(local, mixer.head_dim)}
    return {
        "architectures": ["Gemma3ForCausalLM"],
        "model_type": "gemma3_text",
        **dense.write(plan),
        "rope_theta": full.theta,
        "rope_scaling": both[FULL]["rope_scaling"],
        "rope_local_base_freq": local.theta,
        "rope_parameters": {kind: part["rope_parameters"] for kind, part in both.items()},
        "hidden_activation": dense.THEIRS[inner.activation],
        "attention_bias": mixer.bias,
        "query_pre_attn_scalar": dense.pre_scalar(mixer),
        "sliding_window": dense.only_window(plan, "gemma3_text"),
        "layer_types": dense.layer_types(plan),
        "attn_logit_softcapping": mixer.softcap,
        "final_logit_softcapping": plan.logit_softcap,
        "use_bidirectional_attention": False,
    }


def build(config: Architecture) -> nn.Module:
    return Decoder(config)


def rules(config: Architecture) -> list[Rule]:
    return dense.rules(config, NORMS)
