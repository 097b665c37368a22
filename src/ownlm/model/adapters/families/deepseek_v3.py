"""DeepSeek-V3 (`DeepseekV3ForCausalLM`, arXiv:2412.19437): V2's stack with sigmoid scores and a balancing bias.

The multi-token prediction module that num_nextn_predict_layers announces is no part of the model that gives logits:
its tensors stand behind the last layer of the published checkpoint (61) and are skipped, as transformers does.
Where a biased score is negative, transformers 4.57 may choose an expert outside the chosen groups (it masks with 0);
5.x and we never do. A published folder is in fp8 and is refused for its quantization_config.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ownlm.errors import ArtifactError, UsageError
from ownlm.model.adapters.config_keys import Reader
from ownlm.model.adapters.expert_stack import HARMLESS, MAX_EXPERTS, copies
from ownlm.model.adapters.families import deepseek_v2
from ownlm.model.adapters.families.deepseek_v2 import build
from ownlm.model.adapters.rules import Rule, same
from ownlm.model.architecture import Architecture
from ownlm.model.moe import MixtureOfExperts
from ownlm.model.routing import BiasedSigmoid

MODEL_TYPES = ("deepseek_v3",)
IGNORED: tuple[str, ...] = (*deepseek_v2.IGNORED, r"model\.layers\.61\..*")

__all__ = ["IGNORED", "MODEL_TYPES", "build", "copies", "read", "rules", "write"]

V3_DEFAULTS = {
    "family": "deepseek_v3", "num_hidden_layers": 61, "intermediate_size": 18432, "n_routed_experts": 256,
    "moe_intermediate_size": 2048, "n_shared_experts": 1, "first_k_dense_replace": 3,
    "around": (129280, 7168, 4096),
}  # fmt: skip


def read(raw: Mapping[str, Any], where: str) -> Architecture:
    """config.json of transformers 4.57 or 5.x. Raises ArtifactError."""
    keys = Reader(raw, where)
    keys.require("model_type", MODEL_TYPES)
    keys.require("architectures", (["DeepseekV3ForCausalLM"], None))
    keys.require("scoring_func", ("sigmoid",))
    keys.require("topk_method", ("noaux_tc",))
    interleaved = keys.switch("rope_interleave", True)
    try:
        attention = deepseek_v2.latent(keys, 128, 4096, interleaved)
        router = BiasedSigmoid(
            keys.whole("num_experts_per_tok", 8, MAX_EXPERTS),
            keys.whole("n_group", 8, MAX_EXPERTS),
            keys.whole("topk_group", 4, MAX_EXPERTS),
            keys.switch("norm_topk_prob", True),
            keys.number("routed_scaling_factor", 2.5),
        )
        plan = deepseek_v2.stack(keys, where, attention, router, V3_DEFAULTS, bias=False)
    except UsageError as error:
        raise ArtifactError(
            "config.json describes no DeepSeek-V3.", f"{where}: {error}", "restore the file"
        ) from error
    keys.harmless((*HARMLESS, "num_nextn_predict_layers", "num_mtp_layers"))
    keys.done()
    return plan


def write(config: Architecture) -> dict[str, Any]:
    """The keys of config.json that describe the model. Raises UsageError where it is no DeepSeek-V3."""
    mixture = deepseek_v2.experts_of(config)
    router, shared = mixture.router, mixture.shared
    if not isinstance(router, BiasedSigmoid) or shared is None or shared.bias:
        raise deepseek_v2.no_deepseek(config, "with BiasedSigmoid experts and a shared expert without bias")
    return deepseek_v2.write_stack(config, "DeepseekV3ForCausalLM") | {
        "model_type": MODEL_TYPES[0],
        "rope_interleave": deepseek_v2.attention_of(config).interleaved,
        "n_group": router.num_groups,
        "topk_group": router.groups_per_token,
        "num_experts_per_tok": router.k,
        "norm_topk_prob": router.normalize,
        "routed_scaling_factor": router.scale,
        "num_nextn_predict_layers": 0,
    }


def rules(config: Architecture) -> list[Rule]:
    found = deepseek_v2.rules(config)
    for n, layer in enumerate(config.layers):
        if isinstance(layer.feed_forward, MixtureOfExperts):
            bias = f"model.layers.{n}.mlp.gate.e_score_correction_bias"
            found.append(same(bias, f"blocks.{n}.feed_forward.router.bias"))
    return found
