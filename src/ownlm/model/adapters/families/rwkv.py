"""RWKV-4 (`RwkvForCausalLM`): each layer a time mix and a channel mix, each after a LayerNorm of its own.

Their layer n is our layers 2n (time mix) and 2n + 1 (channel mix); the norm before their first layer is our
embedding norm. The last norm has eps 1e-5 whatever `layer_norm_epsilon` says. `rescale_every` halves the residual
stream at inference to fit float16 and halves weights to match; the function is the same but for eps inside the
norms, so ours never does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import nn

from ownlm.errors import ArtifactError, UsageError
from ownlm.model.adapters.config_keys import Reader
from ownlm.model.adapters.rules import Rule, same
from ownlm.model.architecture import Architecture
from ownlm.model.blocks import Layer
from ownlm.model.config import MAX_LAYERS
from ownlm.model.decoder import Decoder
from ownlm.model.layers import Norm
from ownlm.model.recurrent.rwkv import ChannelMix, TimeMix

MODEL_TYPES = ("rwkv",)
IGNORED: tuple[str, ...] = ()
LAST_NORM = Norm("layer", 1e-5, bias=True)

TIME = {
    "time_decay": "log_rate", "time_first": "first", "key.weight": "k.weight", "value.weight": "v.weight",
    "receptance.weight": "r.weight", "output.weight": "o.weight",
}  # fmt: skip
TIME_MIXES = {"time_mix_key": "mix_k", "time_mix_value": "mix_v", "time_mix_receptance": "mix_r"}
CHANNEL = {"key.weight": "up.weight", "value.weight": "down.weight", "receptance.weight": "gate.weight"}
CHANNEL_MIXES = {"time_mix_key": "mix_up", "time_mix_receptance": "mix_gate"}
"""Their name -> ours; the mixes are [1, 1, D] there and [D] here."""


def read(raw: Mapping[str, Any], where: str) -> Architecture:
    """config.json of transformers 4.57 or 5.x. Raises ArtifactError."""
    keys = Reader(raw, where)
    keys.require("model_type", MODEL_TYPES)
    keys.require("architectures", (["RwkvForCausalLM"], None))
    D, L = _whole(keys, "hidden_size", 4096), _whole(keys, "num_hidden_layers", 32, MAX_LAYERS)
    attention, hidden = _whole(keys, "attention_hidden_size", D), _whole(keys, "intermediate_size", 4 * D)
    eps, tied = keys.take("layer_norm_epsilon", 1e-5), keys.take("tie_word_embeddings", False)
    if not isinstance(eps, float) or not 0 < eps < 1 or not isinstance(tied, bool):
        raise ArtifactError("config.json describes no RWKV.", f"{where}: layer_norm_epsilon = {eps!r}, tie_word_embeddings = {tied!r}",
                            "restore the file")  # fmt: skip
    norm = Norm("layer", eps, bias=True)
    layers: list[Layer] = []
    for n in range(L):
        depth = n / max(1, L - 1)
        layers.append(Layer(TimeMix(attention, depth), None, norm))
        layers.append(Layer(ChannelMix(hidden, depth=depth), None, norm))
    limit = _whole(keys, "context_length", _whole(keys, "max_position_embeddings", 1024))
    plan = Architecture(
        _whole(keys, "vocab_size", 50277),
        D,
        tuple(layers),
        limit,
        LAST_NORM,
        tied,
        embedding_norm=norm,
        family="rwkv",
    )
    keys.harmless(("rescale_every",))
    keys.done()
    return plan


def _whole(keys: Reader, key: str, default: int, limit: int = 1 << 24) -> int:
    """A positive integer, `default` where it is absent or null; else ArtifactError with its name."""
    value = keys.take(key, None)
    value = default if value is None else value
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= limit:
        raise ArtifactError(f"{key} must be an integer from 1 to {limit:,}.", f"{key} = {value!r}", "restore config.json")  # fmt: skip
    return value


def write(config: Architecture) -> dict[str, Any]:
    """The keys of config.json that describe the model. Raises UsageError where it is no plain RWKV-4."""
    time, channel = parts(config)
    return {
        "architectures": ["RwkvForCausalLM"],
        "model_type": "rwkv",
        "vocab_size": config.vocab_size,
        "hidden_size": config.hidden_size,
        "num_hidden_layers": config.num_layers // 2,
        "attention_hidden_size": time.width,
        "intermediate_size": channel.width or 4 * config.hidden_size,
        "context_length": config.max_positions,
        "layer_norm_epsilon": config.layers[0].norm.eps,
        "rescale_every": 6,
        "tie_word_embeddings": config.tie_embeddings,
    }


def parts(config: Architecture) -> tuple[TimeMix, ChannelMix]:
    """The two mixers of every layer, first values aside. Raises UsageError where the model is not made of them."""
    first = config.layers[0]
    time, channel = first.mixer, config.layers[-1].mixer
    if isinstance(time, TimeMix) and isinstance(channel, ChannelMix) and channel.gated:
        norm = Norm("layer", first.norm.eps, bias=True)
        pair = (time.width, channel.width)
        plain = replace(
            config,
            layers=_layers(config.num_layers // 2, *pair, norm),
            positions=None, embedding_norm=norm, embedding_scale=1.0, logit_softcap=None, norm=LAST_NORM,
        )  # fmt: skip
        if plain == replace(config, layers=tuple(_without_depth(layer) for layer in config.layers)):
            return time, channel
    raise UsageError("Only a stack of equal RWKV-4 layers (time mix, channel mix) can be written as model_type rwkv.",
                     f"{config.num_layers} layers, the first is {first}", "save another family")  # fmt: skip


def _layers(num: int, attention: int, hidden: int | None, norm: Norm) -> tuple[Layer, ...]:
    return (
        Layer(TimeMix(attention, 0.0), None, norm),
        Layer(ChannelMix(hidden, depth=0.0), None, norm),
    ) * num


def _without_depth(layer: Layer) -> Layer:
    """`depth` gives first values and `chunk` the order of computation: neither is part of a trained model."""
    if isinstance(layer.mixer, TimeMix):
        return replace(layer, mixer=replace(layer.mixer, depth=0.0, chunk=TimeMix(1).chunk))
    return (
        replace(layer, mixer=replace(layer.mixer, depth=0.0))
        if isinstance(layer.mixer, ChannelMix)
        else layer
    )


def build(config: Architecture) -> nn.Module:
    return Decoder(config)


def rules(config: Architecture) -> list[Rule]:
    found = [same("rwkv.embeddings.weight", "embedding.weight")]
    found += _both("rwkv.blocks.0.pre_ln", "embedding_norm") + _both("rwkv.ln_out", "norm")
    if not config.tie_embeddings:
        found.append(same("head.weight", "output.weight"))
    for n in range(config.num_layers // 2):
        theirs, time, channel = f"rwkv.blocks.{n}", f"blocks.{2 * n}", f"blocks.{2 * n + 1}"
        found += _both(f"{theirs}.ln1", f"{time}.mixer_norm") + _both(
            f"{theirs}.ln2", f"{channel}.mixer_norm"
        )
        found += [same(f"{theirs}.attention.{a}", f"{time}.mixer.{b}") for a, b in TIME.items()]
        found += [_mix(f"{theirs}.attention.{a}", f"{time}.mixer.{b}") for a, b in TIME_MIXES.items()]
        found += [same(f"{theirs}.feed_forward.{a}", f"{channel}.mixer.{b}") for a, b in CHANNEL.items()]
        found += [
            _mix(f"{theirs}.feed_forward.{a}", f"{channel}.mixer.{b}") for a, b in CHANNEL_MIXES.items()
        ]
    return found


def _both(theirs: str, ours: str) -> list[Rule]:
    return [same(f"{theirs}.{kind}", f"{ours}.{kind}") for kind in ("weight", "bias")]


def _mix(theirs: str, ours: str) -> Rule:
    return Rule(
        theirs, (ours,), lambda p: p[0].view(1, 1, -1).contiguous(), lambda t: [t.reshape(-1).contiguous()]
    )


def copies(config: Architecture) -> dict[str, str]:
    return {"head.weight": "rwkv.embeddings.weight"} if config.tie_embeddings else {}
