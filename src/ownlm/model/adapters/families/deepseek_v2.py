"""DeepSeek-V2 (`DeepseekV2ForCausalLM`, arXiv:2405.04434): latent attention, shared and routed experts after some
dense layers; and what V3 shares with it.

norm_topk_prob has no effect in transformers, 4.57 or 5, whose model this is; the authors' own code would divide by
the sum. No published checkpoint sets it, and we never write it. transformers gives the norms inside the attention
an eps of 1e-6 whatever rms_norm_eps says. With YaRN 4.57 leaves out the score scale that 5.x and the authors apply.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ownlm.errors import ArtifactError, UsageError
from ownlm.model.adapters import expert_stack, rope_keys
from ownlm.model.adapters.activations import THEIRS
from ownlm.model.adapters.activations import ours as activation
from ownlm.model.adapters.config_keys import Reader
from ownlm.model.adapters.expert_stack import HARMLESS, MAX_EXPERTS, copies
from ownlm.model.adapters.rules import Rule, same, stacked
from ownlm.model.architecture import Architecture
from ownlm.model.attention.latent import Latent
from ownlm.model.blocks import Layer
from ownlm.model.decoder import Decoder
from ownlm.model.layers import FeedForward, Norm
from ownlm.model.moe import MixtureOfExperts
from ownlm.model.position import Rope, Yarn, yarn_mscale
from ownlm.model.routing import GroupLimited, RouterSpec

MODEL_TYPES = ("deepseek_v2",)
IGNORED: tuple[str, ...] = (r"model\.layers\.\d+\.self_attn\.rotary_emb\.inv_freq",)
INNER_NORM = Norm("rms", 1e-6)

__all__ = ["IGNORED", "MODEL_TYPES", "build", "copies", "read", "rules", "write"]


def read(raw: Mapping[str, Any], where: str) -> Architecture:
    """config.json of transformers 4.57 or 5.x. Raises ArtifactError."""
    keys = Reader(raw, where)
    keys.require("model_type", MODEL_TYPES)
    keys.require("architectures", (["DeepseekV2ForCausalLM"], None))
    keys.require("scoring_func", ("softmax",))
    keys.require("norm_topk_prob", (True, False, None))
    try:
        attention = latent(keys, 32, 2048, interleaved=True)
        scale = keys.number("routed_scaling_factor", 1.0)
        k = keys.whole("num_experts_per_tok", None, MAX_EXPERTS)
        router = GroupLimited(k, *_groups(keys), scale)
        bias = keys.switch("mlp_bias", False)
        plan = stack(keys, where, attention, router, V2_DEFAULTS, bias)
    except UsageError as error:
        raise ArtifactError(
            "config.json describes no DeepSeek-V2.", f"{where}: {error}", "restore the file"
        ) from error
    keys.harmless(HARMLESS)
    keys.done()
    return plan


def _groups(keys: Reader) -> tuple[int, int]:
    """(groups, groups per token); the greedy method is that of a single group."""
    method = keys.take("topk_method", "greedy")
    if method == "group_limited_greedy":
        return keys.whole("n_group", None, MAX_EXPERTS), keys.whole("topk_group", None, MAX_EXPERTS)
    if method != "greedy":
        raise keys.wrong("topk_method", method, "greedy or group_limited_greedy")
    keys.take("n_group", None)
    keys.take("topk_group", None)
    return 1, 1


V2_DEFAULTS = {
    "family": "deepseek_v2", "num_hidden_layers": 32, "intermediate_size": 11008, "n_routed_experts": 64,
    "moe_intermediate_size": 1407, "n_shared_experts": 2, "first_k_dense_replace": 0,
    "around": (102400, 4096, 2048),
}  # fmt: skip


def latent(keys: Reader, heads: int, positions: int, interleaved: bool) -> Latent:
    """The attention of V2 and V3; heads, positions: the family's defaults."""
    heads = keys.whole("num_attention_heads", heads, 1 << 14)
    N, R = keys.whole("qk_nope_head_dim", 128), keys.whole("qk_rope_head_dim", 64)
    keys.require("num_key_value_heads", (heads, None))  # others fail in transformers too
    keys.require("head_dim", (R, None))
    keys.require("qk_head_dim", (N + R, None))
    rope = expert_stack.rope(keys, R, positions, 10000.0)
    return Latent(
        heads,
        keys.whole("kv_lora_rank", 512),
        N,
        R,
        keys.whole("v_head_dim", 128),
        keys.optional("q_lora_rank", 1536),
        rope,
        INNER_NORM,
        keys.switch("attention_bias", False),
        score_scale(rope, N + R),
        interleaved,
    )


def stack(
    keys: Reader,
    where: str,
    attention: Latent,
    router: RouterSpec,
    defaults: dict[str, Any],
    bias: bool,
) -> Architecture:
    """The decoder of V2 and V3: first dense layers, then layers of experts. bias: of dense and shared layers (V2)."""
    act, norm = (
        activation(keys.take("hidden_act", "silu"), where),
        Norm("rms", keys.number("rms_norm_eps", 1e-6)),
    )
    layers = expert_stack.num_layers(keys, defaults["num_hidden_layers"])
    dense = FeedForward(keys.whole("intermediate_size", defaults["intermediate_size"]), act, bias=bias)
    width = keys.whole("moe_intermediate_size", defaults["moe_intermediate_size"])
    shared = keys.optional("n_shared_experts", defaults["n_shared_experts"], MAX_EXPERTS)
    experts = MixtureOfExperts(
        keys.whole("n_routed_experts", defaults["n_routed_experts"], MAX_EXPERTS),
        FeedForward(width, act),
        router,
        None if shared is None else FeedForward(width * shared, act, bias=bias),
    )
    first = keys.whole("first_k_dense_replace", defaults["first_k_dense_replace"], least=0)
    keys.require("moe_layer_freq", (1,))
    found = tuple(Layer(attention, dense if n < first else experts, norm) for n in range(layers))
    return expert_stack.around(keys, found, norm, defaults["around"], defaults["family"])


def write(config: Architecture) -> dict[str, Any]:
    """The keys of config.json that describe the model. Raises UsageError where it is no DeepSeek-V2."""
    mixture = experts_of(config)
    if not isinstance(mixture.router, GroupLimited) or not attention_of(config).interleaved:
        raise no_deepseek(config, "with GroupLimited experts and interleaved rotation")
    router = mixture.router
    return write_stack(config, "DeepseekV2ForCausalLM") | {
        "model_type": MODEL_TYPES[0],
        "mlp_bias": bool(mixture.shared and mixture.shared.bias),
        "topk_method": "greedy" if router.num_groups == 1 else "group_limited_greedy",
        "n_group": router.num_groups,
        "topk_group": router.groups_per_token,
        "num_experts_per_tok": router.k,
        "routed_scaling_factor": router.scale,
        "norm_topk_prob": False,
    }


def experts_of(config: Architecture) -> MixtureOfExperts:
    """The mixture that all layers after the first dense ones have. Raises UsageError where there is no such thing."""
    kinds = list(dict.fromkeys(layer.feed_forward for layer in config.layers))
    mixture = kinds[-1]
    if not isinstance(mixture, MixtureOfExperts):
        raise no_deepseek(config, "that end with experts")
    dense, first = kinds[0], sum(layer.feed_forward != mixture for layer in config.layers)
    bias = bool(mixture.shared and mixture.shared.bias)
    act, shared = mixture.expert.activation, mixture.shared
    fits = (
        len(kinds) <= 2
        and all(layer.feed_forward == mixture for layer in config.layers[first:])
        and (
            len(kinds) == 1
            or (isinstance(dense, FeedForward) and dense == FeedForward(dense.width, act, bias=bias))
        )
        and mixture.expert == FeedForward(mixture.expert.width, act)
        and mixture == MixtureOfExperts(mixture.num_experts, mixture.expert, mixture.router, shared)
        and (shared is None or shared == FeedForward(shared.width, act, bias=bias))
        and (shared is None or shared.width % mixture.expert.width == 0)
        and act in THEIRS
    )
    if not fits:
        raise no_deepseek(config, "of equal dense layers, then of equal plain experts")
    return mixture


def attention_of(config: Architecture) -> Latent:
    mixer = config.layers[0].mixer
    if not isinstance(mixer, Latent) or any(layer.mixer != mixer for layer in config.layers):
        raise no_deepseek(config, "of equal latent attention")
    if mixer.rope is None or mixer.norm != INNER_NORM or not expert_stack.plain(config):
        raise no_deepseek(config, "of plain rotated latent attention")
    if mixer.scale != score_scale(mixer.rope, mixer.nope_dim + mixer.rope_dim):
        raise no_deepseek(config, "with the score scale of their rotation")
    return mixer


def no_deepseek(config: Architecture, wanted: str) -> UsageError:
    return UsageError(f"Only layers {wanted} can be written as this family.", f"the first is {config.layers[0]}",
                      "save another family")  # fmt: skip


def write_stack(config: Architecture, architectures: str) -> dict[str, Any]:
    """What V2 and V3 write alike."""
    mixer, mixture = attention_of(config), experts_of(config)
    assert mixer.rope is not None, "checked"
    first = sum(layer.feed_forward != mixture for layer in config.layers)
    dense = config.layers[0].feed_forward
    return expert_stack.write_around(config, architectures) | {
        "intermediate_size": dense.width if isinstance(dense, FeedForward) else mixture.expert.width,
        "moe_intermediate_size": mixture.expert.width,
        "hidden_act": THEIRS[mixture.expert.activation],
        "num_attention_heads": mixer.num_heads,
        "num_key_value_heads": mixer.num_heads,
        "head_dim": mixer.rope_dim,
        "q_lora_rank": mixer.q_rank,
        "kv_lora_rank": mixer.latent,
        "qk_nope_head_dim": mixer.nope_dim,
        "qk_rope_head_dim": mixer.rope_dim,
        "qk_head_dim": mixer.nope_dim + mixer.rope_dim,
        "v_head_dim": mixer.value_dim,
        "attention_bias": mixer.bias,
        "n_routed_experts": mixture.num_experts,
        "n_shared_experts": None if mixture.shared is None else mixture.shared.width // mixture.expert.width,
        "first_k_dense_replace": first,
        **rope_keys.write(mixer.rope, mixer.rope_dim),
    }


def score_scale(rope: Rope, head_dim: int) -> float | None:
    """DeepSeek's YaRN sharpens the scores by the square of 0.1 m ln(factor) + 1, m = mscale_all_dim, beside what it
    does to cos and sin; None: (N + R) ** -0.5 as without it."""
    if not isinstance(rope.scaling, Yarn) or not rope.scaling.mscale_all_dim:
        return None
    return float(head_dim**-0.5 * yarn_mscale(rope.scaling.factor, rope.scaling.mscale_all_dim) ** 2)


def build(config: Architecture) -> nn.Module:
    return Decoder(config)


def rules(config: Architecture) -> list[Rule]:
    found = expert_stack.outer_rules(config)
    for n, layer in enumerate(config.layers):
        found += latent_rules(n, attention_of(config))
        theirs, ours = f"model.layers.{n}.mlp.", f"blocks.{n}.feed_forward."
        if isinstance(layer.feed_forward, FeedForward):
            found += expert_stack.dense_rules(theirs, ours, layer.feed_forward)
            continue
        assert isinstance(layer.feed_forward, MixtureOfExperts)
        found += expert_stack.expert_rules(theirs, ours, layer.feed_forward)
        if layer.feed_forward.shared is not None:
            shared = layer.feed_forward.shared
            found += expert_stack.dense_rules(f"{theirs}shared_experts.", f"{ours}shared.", shared)
    return found


def latent_rules(n: int, mixer: Latent) -> list[Rule]:
    theirs, ours = f"model.layers.{n}.self_attn.", f"blocks.{n}.mixer."
    kinds, found = ("weight", "bias") if mixer.bias else ("weight",), []
    if mixer.q_rank is None:
        found.append(same(f"{theirs}q_proj.weight", f"{ours}q.weight"))
    else:
        found.append(same(f"{theirs}q_a_layernorm.weight", f"{ours}q_norm.weight"))
        found.append(same(f"{theirs}q_b_proj.weight", f"{ours}q.weight"))
        found += [same(f"{theirs}q_a_proj.{kind}", f"{ours}q_down.{kind}") for kind in kinds]
    for kind in kinds:
        fused = (f"{ours}kv_down.{kind}", f"{ours}k_rope.{kind}")
        found.append(stacked(f"{theirs}kv_a_proj_with_mqa.{kind}", fused, (mixer.latent, mixer.rope_dim)))
        found.append(same(f"{theirs}o_proj.{kind}", f"{ours}o.{kind}"))
    found.append(same(f"{theirs}kv_a_layernorm.weight", f"{ours}kv_norm.weight"))
    found.append(_by_head(f"{theirs}kv_b_proj.weight", (f"{ours}k_up.weight", f"{ours}v_up.weight"), mixer))
    return found


def _by_head(theirs: str, ours: tuple[str, str], mixer: Latent) -> Rule:
    """Rows of k and v alternate head by head in kv_b_proj."""
    H, keys = mixer.num_heads, (mixer.nope_dim, mixer.value_dim)

    def join(parts: Sequence[Tensor]) -> Tensor:
        return torch.cat([part.unflatten(0, (H, -1)) for part in parts], dim=1).flatten(0, 1)

    def split(tensor: Tensor) -> Sequence[Tensor]:
        return [part.flatten(0, 1) for part in tensor.unflatten(0, (H, -1)).split(keys, dim=1)]

    return Rule(theirs, ours, join, split)
