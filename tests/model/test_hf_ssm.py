"""Mamba, Mamba-2 and Jamba folders: transformers' logits, both directions, with and without cache; foreign options refused."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from ownlm.errors import ArtifactError, UsageError
from ownlm.model.adapters import hf
from ownlm.model.adapters.families import jamba, mamba, mamba2
from ownlm.model.architecture import Architecture
from ownlm.model.attention.grouped import GroupedQuery
from ownlm.model.blocks import Layer
from ownlm.model.layers import FeedForward, Norm
from ownlm.model.moe import MixtureOfExperts
from ownlm.model.ssm.mamba import Mamba

MAMBA: dict[str, dict[str, Any]] = {
    "plain": {"hidden_size": 32, "state_size": 5},
    "biases-untied": {"hidden_size": 24, "state_size": 3, "use_bias": True, "use_conv_bias": False,
                      "tie_word_embeddings": False, "conv_kernel": 3},
    "wide": {"hidden_size": 20, "state_size": 16, "expand": 3, "time_step_rank": 7, "layer_norm_epsilon": 1e-3},
    "narrow": {"hidden_size": 17, "state_size": 1, "expand": 1, "time_step_rank": 1, "conv_kernel": 6,
               "num_hidden_layers": 1},
}  # fmt: skip
MAMBA2: dict[str, dict[str, Any]] = {
    "plain": {"hidden_size": 32, "num_heads": 4, "head_dim": 16, "n_groups": 1, "state_size": 5, "chunk_size": 8},
    "groups-biases-tied": {"hidden_size": 24, "num_heads": 6, "head_dim": 8, "n_groups": 3, "state_size": 4,
                           "use_bias": True, "use_conv_bias": False, "tie_word_embeddings": True, "chunk_size": 256},
    "wide": {"hidden_size": 10, "num_heads": 5, "head_dim": 6, "expand": 3, "n_groups": 5, "state_size": 3,
             "conv_kernel": 2, "chunk_size": 5, "layer_norm_epsilon": 1e-3},
    "one-head": {"hidden_size": 9, "num_heads": 1, "head_dim": 9, "expand": 1, "n_groups": 1, "state_size": 1,
                 "num_hidden_layers": 1, "chunk_size": 1},
    "limited": {"hidden_size": 16, "num_heads": 4, "head_dim": 8, "n_groups": 2, "state_size": 4, "chunk_size": 16,
                "time_step_limit": (0.3, 0.9)},
    "limited-below": {"hidden_size": 16, "num_heads": 4, "head_dim": 8, "n_groups": 2, "state_size": 4,
                      "chunk_size": 16, "time_step_limit": (0.4, float("inf"))},
}  # fmt: skip
JAMBA: dict[str, dict[str, Any]] = {
    "plain": {"hidden_size": 32, "num_attention_heads": 4, "num_key_value_heads": 2, "num_experts": 3,
              "attn_layer_period": 3, "attn_layer_offset": 1, "num_hidden_layers": 5},
    "one-kv-head-tied": {"hidden_size": 24, "num_attention_heads": 3, "num_key_value_heads": 1, "num_experts": 5,
                         "num_experts_per_tok": 3, "attn_layer_period": 1, "attn_layer_offset": 0,
                         "expert_layer_period": 1, "expert_layer_offset": 0, "tie_word_embeddings": True},
    "biases": {"num_hidden_layers": 5, "hidden_size": 16, "num_attention_heads": 2, "num_key_value_heads": 2, "num_experts": 2,
                     "mamba_proj_bias": True, "mamba_conv_bias": False, "mamba_d_state": 3, "mamba_dt_rank": 5,
                     "mamba_expand": 3, "mamba_d_conv": 2, "rms_norm_eps": 1e-3},
    "dense": {"hidden_size": 16, "num_attention_heads": 1, "num_key_value_heads": 1, "num_experts": 1,
              "num_experts_per_tok": 1, "attn_layer_period": 2, "attn_layer_offset": 0},
}  # fmt: skip
FAMILIES = {"mamba": ("Mamba", MAMBA), "mamba2": ("Mamba2", MAMBA2), "jamba": ("Jamba", JAMBA)}
CASES = [(kind, name) for kind, (_, cases) in FAMILIES.items() for name in cases]


CACHE = {"jamba": "past_key_values"}
"""Their name of the cache; cache_params elsewhere."""


def theirs(kind: str, name: str) -> Any:
    """A transformers model with noise in every parameter."""
    transformers = pytest.importorskip("transformers")
    family, cases = FAMILIES[kind]
    options = {"vocab_size": 83, "num_hidden_layers": 3} | cases[name]
    if kind == "jamba":
        options = {"intermediate_size": 20, "max_position_embeddings": 64} | options
    torch.manual_seed(len(name))
    model = getattr(transformers, f"{family}ForCausalLM")(
        getattr(transformers, f"{family}Config")(**options)
    ).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight += 0.3 * torch.randn(weight.shape)
    return model


def ids_of(time: int = 23) -> torch.Tensor:
    return torch.randint(0, 83, (2, time), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_their_folder_gives_their_logits(kind: str, name: str, tmp_path: Path) -> None:
    model, ids = theirs(kind, name), ids_of()
    model.save_pretrained(tmp_path)
    mine = hf.load(tmp_path)
    with torch.no_grad():
        expected = model(ids).logits
        torch.testing.assert_close(mine(ids), expected, rtol=0, atol=1e-4)
        assert expected.abs().max() > 1, "the comparison needs logits of some size"
        torch.testing.assert_close(mine(ids[:, :1]), model(ids[:, :1]).logits, rtol=0, atol=1e-4)
    assert mine.num_parameters() == sum(p.numel() for p in mine.parameters()) == sum(p.numel() for p in model.parameters())  # fmt: skip


@pytest.mark.parametrize(("kind", "name"), [case for case in CASES if not case[1].startswith("limited")])
def test_cached_decoding_equals_theirs(kind: str, name: str, tmp_path: Path) -> None:
    """Not with a step limit: transformers forgets it in its cached path (families/mamba2.py)."""
    model, ids = theirs(kind, name), ids_of()
    model.save_pretrained(tmp_path)
    mine = hf.load(tmp_path)
    cache, kept, found, expected = mine.new_cache(), None, [], []
    with torch.no_grad():
        for part in ids.split([9] + [1] * 14, dim=1):
            found.append(mine(part, cache))
            answer = model(part, **{CACHE.get(kind, "cache_params"): kept}, use_cache=True)
            kept = getattr(answer, CACHE.get(kind, "cache_params"))
            expected.append(answer.logits)
    torch.testing.assert_close(torch.cat(found, 1), torch.cat(expected, 1), rtol=0, atol=1e-4)


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_our_folder_is_theirs_again(kind: str, name: str, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    model = theirs(kind, name)
    model.save_pretrained(tmp_path / "theirs")
    hf.save(hf.load(tmp_path / "theirs"), tmp_path / "ours")
    again = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "ours", dtype=torch.float32).eval()
    assert type(again) is type(model)
    before, after = model.state_dict(), again.state_dict()
    assert before.keys() == after.keys()
    for key, value in before.items():
        assert torch.equal(value, after[key]), key
    with torch.no_grad():
        torch.testing.assert_close(again(ids_of()).logits, model(ids_of()).logits, rtol=0, atol=1e-5)
    assert hf.load(tmp_path / "ours").architecture == hf.load(tmp_path / "theirs").architecture


@pytest.mark.parametrize("kind", ["mamba", "mamba2"])
@pytest.mark.parametrize(
    ("key", "value"),
    [("hidden_act", "gelu"), ("rms_norm", False), ("quantization_config", {"bits": 4}), ("new_option", 1),
     ("state_size", 0), ("state_size", "5"), ("conv_kernel", 0), ("time_step_limit", [1]), ("expand", 5)],
)  # fmt: skip
def test_other_options_are_refused_by_name(kind: str, key: str, value: Any, tmp_path: Path) -> None:
    if kind == "mamba" and key == "expand":
        key, value = "intermediate_size", 7
    theirs(kind, "plain").save_pretrained(tmp_path)
    raw = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(raw | {key: value}))
    with pytest.raises(ArtifactError) as caught:
        hf.load(tmp_path)
    assert key in str(caught.value)


def test_the_authors_conversions_are_read() -> None:
    """The config.json of state-spaces/mamba-130m-hf, with its left-overs."""
    raw = {
        "architectures": ["MambaForCausalLM"], "bos_token_id": 0, "conv_kernel": 4, "d_inner": 1536, "d_model": 768,
        "eos_token_id": 0, "expand": 2, "fused_add_norm": True, "hidden_act": "silu", "hidden_size": 768,
        "initializer_range": 0.1, "intermediate_size": 1536, "layer_norm_epsilon": 1e-05, "model_type": "mamba",
        "n_layer": 24, "num_hidden_layers": 24, "pad_token_id": 0, "pad_vocab_size_multiple": 8,
        "rescale_prenorm_residual": False, "residual_in_fp32": True, "rms_norm": True, "ssm_cfg": {},
        "state_size": 16, "time_step_floor": 0.0001, "time_step_init_scheme": "random", "time_step_max": 0.1,
        "time_step_min": 0.001, "time_step_rank": 48, "time_step_scale": 1.0, "torch_dtype": "float32",
        "transformers_version": "4.39.0.dev0", "use_bias": False, "use_cache": True, "use_conv_bias": True,
        "vocab_size": 50280,
    }  # fmt: skip
    plan = mamba.read(raw, "config.json")
    assert plan.num_parameters() == 129_135_360, "the published size of mamba-130m"
    assert plan == mamba.read(mamba.write(plan), "again")
    assert (
        mamba.read(raw | {"time_step_rank": "auto"}, "x")
        == mamba.read(raw | {"time_step_rank": None}, "x")
        == plan
    )
    for key in ("d_inner", "n_layer", "d_model"):
        with pytest.raises(ArtifactError, match=key):
            mamba.read(raw | {key: 1}, "config.json")


def test_both_spellings_of_infinity_are_read() -> None:
    raw = {"hidden_size": 16, "num_heads": 4, "head_dim": 8, "n_groups": 2, "model_type": "mamba2"}
    plans = [
        mamba2.read(raw | {"time_step_limit": [0.0, end]}, "x")
        for end in ({"__float__": "Infinity"}, float("inf"))
    ]
    assert plans[0] == plans[1] == mamba2.read(raw, "x")
    for wrong in ([0.0, float("nan")], [0.0, None], 3, [2.0, 1.0], [True, 5.0]):
        with pytest.raises(ArtifactError, match=r"time_step_limit|dt_limit"):
            mamba2.read(raw | {"time_step_limit": wrong}, "x")


def test_what_the_family_cannot_say_is_not_written() -> None:
    norm, mixer = Norm(), Mamba(64)
    for layers, options in (
        ((Layer(mixer, FeedForward(8)),), {}),
        ((Layer(mixer), Layer(Mamba(32))), {}),
        ((Layer(mixer, None, norm, "post"),), {}),
        ((Layer(Mamba(64, selection_norm=norm)),), {}),
        ((Layer(mixer),), {"embedding_scale": 2.0}),
        ((Layer(mixer),), {"norm": Norm("rms", 1e-2)}),
    ):
        with pytest.raises(UsageError, match="mamba"):
            mamba.write(Architecture(97, 32, layers, 64, **options))  # type: ignore[arg-type]
    with pytest.raises(UsageError):
        mamba2.write(Architecture(97, 32, (Layer(mixer),), 64))


def test_a_stack_that_jamba_cannot_say_is_not_written() -> None:
    norm = Norm("rms", 1e-6)
    dense = FeedForward(20)
    inner, attention = Mamba(64, selection_norm=norm), GroupedQuery(4, 2, 8)
    good = [Layer(inner, dense, norm), Layer(attention, dense, norm), Layer(inner, dense, norm)]
    written = jamba.write(Architecture(97, 32, tuple(good), 64, norm))
    assert (written["attn_layer_period"], written["attn_layer_offset"], written["num_experts"]) == (2, 1, 1)
    for layers in (
        [*good[:2], *good[1:]],  # attention in the places 1, 2 and 4
        [Layer(Mamba(64), dense, norm), good[1]],
        [good[0], Layer(GroupedQuery(4, 2, 8, bias=True), dense, norm)],
        [good[0], Layer(attention, FeedForward(21), norm)],
        [good[0], Layer(attention, None, norm)],
        [Layer(inner, MixtureOfExperts(2, dense), norm)],
    ):
        with pytest.raises(UsageError, match=r"Jamba"):
            jamba.write(Architecture(97, 32, (*layers, good[1]), 64, norm))
