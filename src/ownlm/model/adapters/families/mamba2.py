"""Mamba-2 (`Mamba2ForCausalLM`): as mamba.py, with SSD layers.

The norm before the output projection is taken over each group of heads, as the authors' code and transformers 5
do; transformers 4.57 takes it over all of them, which is another model where n_groups is more than 1.
transformers does not apply time_step_limit while it decodes with its cache; we always do.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from torch import nn

from ownlm.errors import ArtifactError, UsageError
from ownlm.model.adapters.config_keys import Reader
from ownlm.model.adapters.families.mamba import (
    HARMLESS,  # fmt: skip
    MAX_POSITIONS,
    around,
    copies,
    depthwise,
    expansion,
    plain,
)
from ownlm.model.adapters.rules import Rule, same, stacked
from ownlm.model.architecture import Architecture
from ownlm.model.blocks import Layer
from ownlm.model.config import MAX_LAYERS
from ownlm.model.decoder import Decoder
from ownlm.model.layers import Norm
from ownlm.model.ssm.mamba2 import Mamba2

MODEL_TYPES = ("mamba2",)
IGNORED: tuple[str, ...] = ()

__all__ = ["IGNORED", "MODEL_TYPES", "build", "copies", "read", "rules", "write"]


def read(raw: Mapping[str, Any], where: str) -> Architecture:
    """config.json of transformers 4.57 or 5.x. Raises ArtifactError."""
    keys = Reader(raw, where)
    keys.require("model_type", MODEL_TYPES)
    keys.require("architectures", (["Mamba2ForCausalLM"], None))
    keys.require("hidden_act", ("silu", "swish"))
    keys.require("rms_norm", (True,))
    D, layers = keys.whole("hidden_size", 4096), keys.whole("num_hidden_layers", 64, MAX_LAYERS)
    heads, head_width = keys.whole("num_heads", 128), keys.whole("head_dim", 64)
    expand = keys.number("expand", 2)
    if heads * head_width != expand * D:
        raise ArtifactError("num_heads * head_dim must be expand * hidden_size.",
                            f"{where}: {heads} * {head_width}, {expand} * {D}", "restore the file")  # fmt: skip
    norm = Norm("rms", keys.number("layer_norm_epsilon", 1e-5))
    try:
        mixer = Mamba2(
            heads,
            head_width,
            keys.whole("state_size", 128),
            keys.whole("n_groups", 8),
            keys.whole("conv_kernel", 4),
            keys.switch("use_bias", False),
            keys.switch("use_conv_bias", True),
            norm.eps,
            _limits(keys.take("time_step_limit", [0.0, math.inf]), where),
            keys.whole("chunk_size", 256),
        )
        plan = Architecture(
            keys.whole("vocab_size", 32768),
            D,
            (Layer(mixer, None, norm),) * layers,
            MAX_POSITIONS,
            norm,
            keys.switch("tie_word_embeddings", False),
            initializer_range=keys.number("initializer_range", 0.1),
            family="mamba2",
        )
    except UsageError as error:
        raise ArtifactError(
            "config.json describes no Mamba-2.", f"{where}: {error}", "restore the file"
        ) from error
    # norm_before_gate stands in some files, but transformers has no such option: the gate always comes first.
    keys.harmless((*HARMLESS, "time_step_rank", "norm_before_gate"))
    keys.done()
    return plan


def _limits(raw: Any, where: str) -> tuple[float, float]:
    """transformers 5 writes infinity as {"__float__": "Infinity"}, 4.57 as the bare word."""
    found = []
    for limit in raw if isinstance(raw, list | tuple) else ():
        limit = float("inf") if limit in ({"__float__": "Infinity"}, "Infinity") else limit
        if isinstance(limit, int | float) and not isinstance(limit, bool) and not math.isnan(limit):
            found.append(float(limit))
    if len(found) != 2:
        raise ArtifactError("time_step_limit must be two numbers.", f"{where}: {raw!r}", "restore the file")
    return found[0], found[1]


def write(config: Architecture) -> dict[str, Any]:
    """The keys of config.json that describe the model. Raises UsageError where it is no plain Mamba-2."""
    mixer = config.layers[0].mixer
    if not plain(config) or not isinstance(mixer, Mamba2) or mixer.norm_eps != config.layers[0].norm.eps:
        raise UsageError("Only a stack of equal Mamba-2 layers without other parts can be written as model_type mamba2.",
                         f"{config.num_layers} layers, the first is {config.layers[0]}", "save another family")  # fmt: skip
    written = {
        "architectures": ["Mamba2ForCausalLM"],
        "model_type": "mamba2",
        "vocab_size": config.vocab_size,
        "hidden_size": config.hidden_size,
        "num_hidden_layers": config.num_layers,
        "num_heads": mixer.num_heads,
        "head_dim": mixer.head_width,
        "expand": expansion(mixer.inner, config.hidden_size),
        "state_size": mixer.state_size,
        "n_groups": mixer.num_groups,
        "conv_kernel": mixer.conv_kernel,
        "use_bias": mixer.bias,
        "use_conv_bias": mixer.conv_bias,
        "chunk_size": mixer.chunk,
        "hidden_act": "silu",
        "layer_norm_epsilon": mixer.norm_eps,
        "residual_in_fp32": True,
        "initializer_range": config.initializer_range,
        "tie_word_embeddings": config.tie_embeddings,
    }
    low, high = mixer.dt_limit
    if (low, high) != (0.0, math.inf):  # the default is left out: JSON has no infinity
        written["time_step_limit"] = [low, {"__float__": "Infinity"} if high == math.inf else high]
    return written


def build(config: Architecture) -> nn.Module:
    return Decoder(config)


def rules(config: Architecture) -> list[Rule]:
    mixer = config.layers[0].mixer
    assert isinstance(mixer, Mamba2), "checked by read and write"
    found = around(config)
    for n in range(config.num_layers):
        theirs, ours = f"backbone.layers.{n}.mixer.", f"blocks.{n}.mixer."
        for kind in ("weight", "bias") if mixer.bias else ("weight",):
            fused = [f"{ours}{part}.{kind}" for part in ("gate", "up", "dt")]
            found.append(
                stacked(f"{theirs}in_proj.{kind}", fused, [mixer.inner, mixer.mixed, mixer.num_heads])
            )
            found.append(same(f"{theirs}out_proj.{kind}", f"{ours}o.{kind}"))
        found.append(depthwise(f"{theirs}conv1d.weight", f"{ours}conv.weight"))
        if mixer.conv_bias:
            found.append(same(f"{theirs}conv1d.bias", f"{ours}conv.bias"))
        for there, here in (
            ("dt_bias", "dt_bias"),
            ("A_log", "A_log"),
            ("D", "skip"),
            ("norm.weight", "out_norm"),
        ):
            found.append(same(theirs + there, ours + here))
    return found
