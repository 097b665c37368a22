"""Families with experts against transformers: odd configurations, noise in every number, both directions, caches."""

import importlib
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from ownlm.errors import ArtifactError, UsageError
from ownlm.model.adapters import hf
from ownlm.model.adapters.families import deepseek_v2, deepseek_v3, mixtral, qwen3_moe
from ownlm.model.architecture import Architecture
from ownlm.model.attention.grouped import GroupedQuery
from ownlm.model.attention.latent import Latent
from ownlm.model.blocks import Layer
from ownlm.model.layers import FeedForward
from ownlm.model.moe import MixtureOfExperts
from ownlm.model.position import Rope
from ownlm.model.routing import ExpertChoice, TopK

FAMILIES: dict[str, ModuleType] = {
    m.MODEL_TYPES[0]: m for m in (mixtral, qwen3_moe, deepseek_v2, deepseek_v3)
}
CLASSES = {
    "mixtral": "Mixtral",
    "qwen3_moe": "Qwen3Moe",
    "deepseek_v2": "DeepseekV2",
    "deepseek_v3": "DeepseekV3",
}

SMALL = {"vocab_size": 90, "hidden_size": 32, "intermediate_size": 40, "num_hidden_layers": 2, "max_position_embeddings": 64,
         "num_attention_heads": 4, "num_key_value_heads": 2, "pad_token_id": None, "bos_token_id": 1, "eos_token_id": 2}  # fmt: skip
LATENT = SMALL | {
    "num_key_value_heads": 4, "q_lora_rank": 10, "kv_lora_rank": 12, "qk_rope_head_dim": 4, "qk_nope_head_dim": 6, "v_head_dim": 5,
    "n_routed_experts": 8, "num_experts_per_tok": 3, "moe_intermediate_size": 12, "n_shared_experts": 1,
    "first_k_dense_replace": 1, "n_group": 4, "topk_group": 2,
}  # fmt: skip

YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16, "rope_theta": 10000.0,
        "beta_fast": 4.0, "beta_slow": 1.0}  # fmt: skip

CONFIGS: dict[str, tuple[str, dict[str, Any]]] = {
    "mixtral": ("mixtral", SMALL | {"num_local_experts": 4}),
    "mixtral-window-mqa-tied": (
        "mixtral",
        SMALL | {"num_key_value_heads": 1, "head_dim": 6, "sliding_window": 7, "tie_word_embeddings": True,
                 "num_local_experts": 5, "num_experts_per_tok": 3, "hidden_act": "gelu"},
    ),
    "mixtral-one-expert-one-head": (
        "mixtral",
        SMALL | {"num_attention_heads": 1, "num_key_value_heads": 1, "num_local_experts": 1, "num_experts_per_tok": 1},
    ),
    "qwen3": ("qwen3_moe", SMALL | {"num_experts": 6, "num_experts_per_tok": 2, "moe_intermediate_size": 12}),
    "qwen3-step-normed-bias": (
        "qwen3_moe",
        SMALL | {"num_hidden_layers": 4, "num_experts": 4, "num_experts_per_tok": 3, "moe_intermediate_size": 9, "head_dim": 10,
                 "norm_topk_prob": True, "decoder_sparse_step": 2, "attention_bias": True, "tie_word_embeddings": True},
    ),
    "qwen3-some-dense-window": (
        "qwen3_moe",
        SMALL | {"num_hidden_layers": 3, "num_experts": 4, "num_experts_per_tok": 1, "moe_intermediate_size": 9, "head_dim": 4,
                 "mlp_only_layers": [1], "use_sliding_window": True, "sliding_window": 5, "rms_norm_eps": 1e-3},
    ),
    "v2": ("deepseek_v2", LATENT),
    "v2-no-q-rank-biased": (
        "deepseek_v2",
        LATENT | {"q_lora_rank": None, "first_k_dense_replace": 0, "n_shared_experts": 2, "attention_bias": True,
                  "mlp_bias": True, "routed_scaling_factor": 2.5, "n_group": None, "topk_group": None, "norm_topk_prob": True},
    ),
    "v2-groups": (
        "deepseek_v2",
        LATENT | {"topk_method": "group_limited_greedy", "routed_scaling_factor": 16.0, "num_hidden_layers": 3,
                  "first_k_dense_replace": 2, "rms_norm_eps": 1e-3, "tie_word_embeddings": True, "attention_bias": True},
    ),
    "v3": ("deepseek_v3", LATENT),
    "v3-halves-plain": (
        "deepseek_v3",
        LATENT | {"q_lora_rank": None, "rope_interleave": False, "norm_topk_prob": False, "routed_scaling_factor": 1.0,
                  "n_shared_experts": 3, "n_group": 1, "topk_group": 1, "first_k_dense_replace": 0},
    ),
    "v3-biased-tied": (
        "deepseek_v3",
        LATENT | {"attention_bias": True, "tie_word_embeddings": True, "n_group": 2, "topk_group": 1, "num_experts_per_tok": 4,
                  "v_head_dim": 9, "hidden_act": "gelu_pytorch_tanh", "num_hidden_layers": 3, "rms_norm_eps": 1e-3},
    ),
    "v2-yarn": ("deepseek_v2", LATENT | {"rope_parameters": YARN | {"mscale": 0.707, "mscale_all_dim": 0.707}}),
    "v3-yarn": ("deepseek_v3", LATENT | {"rope_parameters": YARN | {"mscale": 1.0, "mscale_all_dim": 0.6}}),
    "v3-yarn-without-mscale": ("deepseek_v3", LATENT | {"rope_parameters": YARN}),
    "mixtral-linear": (
        "mixtral",
        SMALL | {"num_local_experts": 4, "rope_parameters": {"rope_type": "linear", "factor": 3.0, "rope_theta": 500.0}},
    ),
    "qwen3-yarn": (
        "qwen3_moe",
        SMALL | {"num_experts": 6, "num_experts_per_tok": 2, "moe_intermediate_size": 12, "rope_parameters": YARN},
    ),
}  # fmt: skip


def theirs(kind: str, options: dict[str, Any], seed: int = 0) -> Any:
    """A transformers model with noise in every number, biases and the router's too."""
    transformers = pytest.importorskip("transformers")
    config = getattr(transformers, f"{CLASSES[kind]}Config")(**options)
    config._experts_implementation = "eager"  # its grouped kernel wants widths that are multiples of 4
    torch.manual_seed(seed)
    model = getattr(transformers, f"{CLASSES[kind]}ForCausalLM")(config).eval()
    noise = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            scale = 0.5 if ".gate.weight" in name else 0.15
            weight += scale * torch.randn(weight.shape, generator=noise)
        for name, buffer in model.named_buffers():
            if name.endswith("e_score_correction_bias"):
                buffer += 0.3 * torch.randn(buffer.shape, generator=noise)
    return model


def ids(time: int = 40, batch: int = 2) -> torch.Tensor:
    return torch.randint(0, 90, (batch, time), generator=torch.Generator().manual_seed(7))


@pytest.mark.parametrize("name", CONFIGS)
def test_logits_are_equal_in_both_directions_with_and_without_cache(name: str, tmp_path: Path) -> None:
    kind, options = CONFIGS[name]
    there = theirs(kind, options)
    there.save_pretrained(tmp_path / "theirs")
    here = hf.load(tmp_path / "theirs").eval()
    with torch.no_grad():
        expected = there(ids()).logits
        assert expected.abs().max() > 1, "the comparison needs logits of some size"
        assert (here(ids()) - expected).abs().max() <= 1e-4
        cache, parts = here.new_cache(), []
        for piece in ids().split([17, 1, 1, 1, 5, 15], dim=1):
            parts.append(here(piece, cache))
        assert (torch.cat(parts, dim=1) - expected).abs().max() <= 1e-4
        assert (here(ids(1)) - there(ids(1)).logits).abs().max() <= 1e-4, "one token"
        hf.save(here, tmp_path / "ours", eos_ids=[2], bos_id=1, pad_id=None)
        again = (
            type(there)
            .from_pretrained(tmp_path / "ours", dtype=torch.float32, experts_implementation="eager")
            .eval()
        )
        for name, weight in there.state_dict().items():
            assert torch.equal(again.state_dict()[name], weight), name
        assert (again(ids()).logits - expected).abs().max() <= 1e-5
        twin = hf.load(tmp_path / "ours").eval()
        assert twin.architecture == here.architecture and torch.equal(twin(ids()), here(ids()))


@pytest.mark.parametrize("kind", FAMILIES)
def test_what_is_not_understood_is_refused_by_name(kind: str) -> None:
    base = SMALL if kind in ("mixtral", "qwen3_moe") else LATENT
    raw = base | {"model_type": kind}
    FAMILIES[kind].read(raw, "config.json")
    refused: list[tuple[str, Any]] = [
        ("strange_option", 3), ("hidden_size", -4), ("num_hidden_layers", 10**9), ("num_experts_per_tok", 999),
        ("hidden_act", "mystery"), ("rms_norm_eps", 0), ("vocab_size", True), ("max_position_embeddings", 1 << 40),
        ("rope_parameters", {"rope_type": "mystery", "factor": 2.0}), ("rope_scaling", {"type": "mystery"}),
        ("architectures", ["SomethingElse"]),
    ]  # fmt: skip
    if "kv_lora_rank" in base:
        refused += [("topk_method", "mystery"), ("num_key_value_heads", 2), ("scoring_func", "tanh"), ("moe_layer_freq", 2),
                    ("qk_rope_head_dim", 3)]  # fmt: skip
    for key, value in refused:
        with pytest.raises(ArtifactError) as error:
            FAMILIES[kind].read(raw | {key: value}, "config.json")
        assert key in str(error.value) or str(value) in str(error.value) or "mystery" in str(error.value), (
            key,
            error.value,
        )


@pytest.mark.parametrize("kind", FAMILIES)
def test_other_compositions_are_not_written_as_the_family(kind: str) -> None:
    grouped, expert = GroupedQuery(2, 2, 8, Rope()), FeedForward(8)
    layers = [
        Layer(GroupedQuery(2, 2, 8), MixtureOfExperts(4, expert)),
        Layer(grouped, expert),
        Layer(grouped, MixtureOfExperts(4, expert, ExpertChoice())),
        Layer(grouped, MixtureOfExperts(4, expert, TopK(2), shared=expert)),
        Layer(GroupedQuery(2, 2, 8, Rope(), softcap=3.0), MixtureOfExperts(4, expert)),
        Layer(Latent(2, 8, 4, 4, 4), MixtureOfExperts(4, expert)),
        Layer(Latent(2, 8, 4, 4, 4, rope=None), MixtureOfExperts(4, expert)),
    ]
    for layer in layers:
        with pytest.raises(UsageError):
            FAMILIES[kind].write(Architecture(90, 16, (layer,) * 2, 64))


def test_the_default_configurations_are_read_as_transformers_means_them() -> None:
    """An almost empty config.json: every number that is missing is transformers'."""
    transformers = pytest.importorskip("transformers")
    importlib.import_module("transformers.models.mixtral")
    for kind, family in FAMILIES.items():
        config = getattr(transformers, f"{CLASSES[kind]}Config")()
        needed = {"num_experts_per_tok": 6} if kind == "deepseek_v2" else {}
        full = json.loads(config.to_json_string(use_diff=False)) | needed
        if kind == "deepseek_v2":
            full["moe_intermediate_size"] = 1407
        known = {
            k: v
            for k, v in full.items()
            if k in family.write(family.read({"model_type": kind} | needed, "")) or k == "model_type"
        }
        assert len(known) > 15
        assert family.read({"model_type": kind} | needed, "") == family.read(known, ""), kind
