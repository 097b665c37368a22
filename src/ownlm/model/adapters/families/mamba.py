"""Mamba (`MambaForCausalLM`): every layer is norm and mixer, without a feed-forward layer.

transformers fuses up and gate into in_proj, and stores the convolution as [E, 1, K].
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from torch import nn

from ownlm.errors import ArtifactError, UsageError
from ownlm.model.adapters.config_keys import Reader
from ownlm.model.adapters.rules import Rule, same, stacked
from ownlm.model.architecture import Architecture
from ownlm.model.blocks import Layer
from ownlm.model.config import MAX_LAYERS
from ownlm.model.decoder import Decoder
from ownlm.model.layers import Norm
from ownlm.model.ssm.mamba import Mamba

MODEL_TYPES = ("mamba",)
IGNORED: tuple[str, ...] = ()
MAX_POSITIONS = 1 << 20
"""Nothing in this model depends on the position; config.json gives no limit either."""

HARMLESS = (
    "time_step_scale", "time_step_min", "time_step_max", "time_step_floor", "time_step_init_scheme",
    "rescale_prenorm_residual", "residual_in_fp32", "use_mambapy", "use_associative_scan", "fused_add_norm",
    "pad_vocab_size_multiple",
)  # fmt: skip
"""Initial values, float32 sums (which float32 weights have anyway) and the choice of a kernel."""


def read(raw: Mapping[str, Any], where: str) -> Architecture:
    """config.json of transformers 4.57 or 5.x, or of the authors' conversions. Raises ArtifactError."""
    keys = Reader(raw, where)
    keys.require("model_type", MODEL_TYPES)
    keys.require("architectures", (["MambaForCausalLM"], None))
    keys.require("hidden_act", ("silu", "swish"))  # others: transformers 4 and 5 disagree about the gate
    keys.require("rms_norm", (True,))
    keys.require("ssm_cfg", ({},))
    D, layers = keys.whole("hidden_size", 768), keys.whole("num_hidden_layers", 32, MAX_LAYERS)
    inner = int(keys.number("expand", 2) * D)
    for key in ("intermediate_size", "d_inner"):
        keys.require(key, (inner,))
    keys.require("d_model", (D,))
    keys.require("n_layer", (layers,))
    rank = rank_of(keys, "time_step_rank", D)
    norm = Norm("rms", keys.number("layer_norm_epsilon", 1e-5))
    try:
        mixer = Mamba(
            inner,
            keys.whole("state_size", 16),
            rank,
            keys.whole("conv_kernel", 4),
            keys.switch("use_bias", False),
            keys.switch("use_conv_bias", True),
        )
        plan = Architecture(
            keys.whole("vocab_size", 50280),
            D,
            (Layer(mixer, None, norm),) * layers,
            MAX_POSITIONS,
            norm,
            keys.switch("tie_word_embeddings", True),
            initializer_range=keys.number("initializer_range", 0.1),
            family="mamba",
        )
    except UsageError as error:
        raise ArtifactError(
            "config.json describes no Mamba.", f"{where}: {error}", "restore the file"
        ) from error
    keys.harmless(HARMLESS)
    keys.done()
    return plan


def rank_of(keys: Reader, key: str, width: int) -> int:
    """The rank of dt: a number, or "auto", null or nothing for width / 16, rounded up."""
    return math.ceil(width / 16) if keys.take(key, "auto") in ("auto", None) else keys.whole(key, 1)


def write(config: Architecture) -> dict[str, Any]:
    """The keys of config.json that describe the model. Raises UsageError where it is no plain Mamba."""
    mixer = config.layers[0].mixer
    if not plain(config) or not isinstance(mixer, Mamba):
        raise UsageError("Only a stack of equal Mamba layers without other parts can be written as model_type mamba.",
                         f"{config.num_layers} layers, the first is {config.layers[0]}", "save another family")  # fmt: skip
    return {
        "architectures": ["MambaForCausalLM"],
        "model_type": "mamba",
        "vocab_size": config.vocab_size,
        "hidden_size": config.hidden_size,
        "num_hidden_layers": config.num_layers,
        "expand": expansion(mixer.inner_width, config.hidden_size),
        "intermediate_size": mixer.inner_width,
        "state_size": mixer.state_size,
        "time_step_rank": mixer.rank(config.hidden_size),
        "conv_kernel": mixer.conv_kernel,
        "use_bias": mixer.bias,
        "use_conv_bias": mixer.conv_bias,
        "hidden_act": "silu",
        "layer_norm_epsilon": config.layers[0].norm.eps,
        "residual_in_fp32": True,
        "initializer_range": config.initializer_range,
        "tie_word_embeddings": config.tie_embeddings,
    }


def expansion(inner: int, width: int) -> int | float:
    """The factor `expand` for which int(expand * width) is `inner`; a whole number where there is one.

    Raises UsageError if rounding leaves no such factor."""
    if inner % width == 0:
        return inner // width
    for factor in (inner / width, math.nextafter(inner / width, math.inf)):
        if int(factor * width) == inner:
            return factor
    raise UsageError("No factor gives this inner width.", f"{inner} of {width}", "choose a multiple of the model width")  # fmt: skip


def plain(config: Architecture) -> bool:
    """Whether the decoder around the layers has no option that these families lack."""
    first = config.layers[0]
    mixer = first.mixer
    around = (config.positions, config.embedding_norm, config.logit_softcap, first.feed_forward)
    return (
        not any(around)
        and config.embedding_scale == 1.0
        and first.wiring == "pre"
        and first.norm == config.norm
        and first.norm == Norm("rms", first.norm.eps)
        and getattr(mixer, "selection_norm", None) is None
        and all(layer == first for layer in config.layers)
    )


def build(config: Architecture) -> nn.Module:
    return Decoder(config)


def rules(config: Architecture) -> list[Rule]:
    mixer = config.layers[0].mixer
    assert isinstance(mixer, Mamba), "checked by read and write"
    found = around(config)
    for n in range(config.num_layers):
        found += mixer_rules(mixer, f"backbone.layers.{n}.mixer.", f"blocks.{n}.mixer.")
    return found


def mixer_rules(mixer: Mamba, theirs: str, ours: str) -> list[Rule]:
    """Of one layer, whose names start so."""
    found = [depthwise(f"{theirs}conv1d.weight", f"{ours}conv.weight")]
    for kind in ("weight", "bias") if mixer.bias else ("weight",):
        fused = [f"{ours}up.{kind}", f"{ours}gate.{kind}"]
        found.append(stacked(f"{theirs}in_proj.{kind}", fused, [mixer.inner_width] * 2))
        found.append(same(f"{theirs}out_proj.{kind}", f"{ours}o.{kind}"))
    if mixer.conv_bias:
        found.append(same(f"{theirs}conv1d.bias", f"{ours}conv.bias"))
    for there, here in (("x_proj.weight", "select.weight"), ("dt_proj.weight", "dt.weight"), ("dt_proj.bias", "dt.bias"),
                        ("A_log", "A_log"), ("D", "skip")):  # fmt: skip
        found.append(same(theirs + there, ours + here))
    return found


def around(config: Architecture) -> list[Rule]:
    """Embedding, norms and output layer of both Mamba families."""
    found = [
        same("backbone.embeddings.weight", "embedding.weight"),
        same("backbone.norm_f.weight", "norm.weight"),
    ]
    for n in range(config.num_layers):
        found.append(same(f"backbone.layers.{n}.norm.weight", f"blocks.{n}.mixer_norm.weight"))
    if not config.tie_embeddings:
        found.append(same("lm_head.weight", "output.weight"))
    return found


def depthwise(theirs: str, ours: str) -> Rule:
    """A convolution of one channel each: [E, 1, K] there, [E, K] here."""
    return Rule(
        theirs, (ours,), lambda parts: parts[0][:, None].contiguous(), lambda t: [t[:, 0].contiguous()]
    )


def copies(config: Architecture) -> dict[str, str]:
    return {"lm_head.weight": "backbone.embeddings.weight"} if config.tie_embeddings else {}
