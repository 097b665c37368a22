"""Dense families: logits equal transformers', from their folder and in ours, whole and token by token."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import dense_cases
import pytest
import torch
from dense_cases import CASES, IN_457, ids_of, theirs
from safetensors.torch import load_file, save_file

from ownlm.errors import ArtifactError, UsageError
from ownlm.model.adapters import hf
from ownlm.model.decoder import Decoder

PAIRS = [(kind, name) for kind, cases in CASES.items() for name in cases]
pytest.importorskip("transformers")


@pytest.mark.parametrize(("kind", "name"), PAIRS)
def test_equal_to_transformers_in_both_directions(kind: str, name: str, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    model, ids = theirs(kind, name), ids_of()
    model.save_pretrained(tmp_path / "theirs")
    mine = hf.load(tmp_path / "theirs")
    hf.save(mine, tmp_path / "ours")
    again = AutoModelForCausalLM.from_pretrained(
        tmp_path / "ours", dtype=torch.float32, attn_implementation="eager"
    ).eval()
    with torch.no_grad():
        short = model(ids[:, :9]).logits
        whole = model(ids).logits
        assert 1 < whole.abs().max() < 300 and whole.std() > 0.1, "the comparison needs logits of some size"
        torch.testing.assert_close(mine(ids), whole, rtol=0, atol=1e-4)
        torch.testing.assert_close(mine(ids[:, :9]), short, rtol=0, atol=1e-4)
        torch.testing.assert_close(mine(ids[:, :1]), model(ids[:, :1]).logits, rtol=0, atol=1e-4)
        torch.testing.assert_close(again(ids).logits, mine(ids), rtol=0, atol=1e-4)
    assert type(again) is type(model)
    before, after = model.state_dict(), again.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(value, after[key]) for key, value in before.items())
    back = hf.load(tmp_path / "ours")
    assert back.config == mine.config
    assert (
        mine.num_parameters()
        == sum(p.numel() for p in mine.parameters())
        == sum(p.numel() for p in model.parameters())
    )


@pytest.mark.parametrize(("kind", "name"), PAIRS)
def test_token_by_token_equal_to_transformers(kind: str, name: str, tmp_path: Path) -> None:
    """With both caches; DynamicNTK and LongRoPE change in the middle."""
    model, ids = theirs(kind, name), ids_of(28)
    model.save_pretrained(tmp_path)
    mine = hf.load(tmp_path)
    cache, kept, found, expected = mine.new_cache(), None, [], []
    with torch.no_grad():
        for part in ids.split([5] + [1] * 23, dim=1):
            found.append(mine(part, cache))
            answer = model(part, past_key_values=kept, use_cache=True)
            kept = answer.past_key_values
            expected.append(answer.logits)
        if name == "window-of-one":  # there transformers keeps [-0:], that is all of the cache
            expected = [model(ids).logits]
    torch.testing.assert_close(torch.cat(found, 1), torch.cat(expected, 1), rtol=0, atol=1e-4)


def changed(folder: Path, **changes: Any) -> None:
    raw = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(raw | changes))


@pytest.mark.parametrize("kind", CASES)
@pytest.mark.parametrize(
    ("key", "value"),
    [("new_option", 1), ("quantization_config", {"bits": 4}), ("architectures", ["Other"]), ("vocab_size", "97"),
     ("tie_word_embeddings", 1), ("is_encoder_decoder", True)],
)  # fmt: skip
def test_what_is_not_understood_is_refused_by_name(kind: str, key: str, value: Any, tmp_path: Path) -> None:
    theirs(kind, next(iter(CASES[kind]))).save_pretrained(tmp_path)
    changed(tmp_path, **{key: value})
    with pytest.raises(ArtifactError) as caught:
        hf.load(tmp_path)
    assert key in str(caught.value)


@pytest.mark.slow
@pytest.mark.parametrize("kind", CASES)
def test_transformers_4_57_reads_what_we_write(kind: str, tmp_path: Path) -> None:
    path = os.environ.get("OWNLM_TRANSFORMERS_457")
    if not path:
        pytest.skip(
            "OWNLM_TRANSFORMERS_457 names no folder made by `pip install --target DIR transformers==4.57.6`"
        )
    theirs(kind, IN_457[kind]).save_pretrained(tmp_path / "theirs")
    mine = hf.load(tmp_path / "theirs")
    hf.save(mine, tmp_path / "ours", eos_ids=[2], bos_id=1, pad_id=0)
    command = [
        sys.executable,
        dense_cases.__file__,
        str(tmp_path / "ours"),
        str(tmp_path / "again"),
        str(tmp_path / "dump.json"),
    ]
    environment = {**os.environ, "PYTHONPATH": path, "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    dump = json.loads((tmp_path / "dump.json").read_text())
    assert dump["version"].startswith("4.57")
    with torch.no_grad():
        torch.testing.assert_close(torch.tensor(dump["logits"]), mine(ids_of()), rtol=0, atol=1e-4)
        torch.testing.assert_close(hf.load(tmp_path / "again")(ids_of()), mine(ids_of()), rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("kind", "changes", "named"),
    [
        ("llama", {"rope_parameters": {"rope_type": "spiral", "rope_theta": 1e4}}, "spiral"),
        ("llama", {"rope_parameters": {"rope_type": "linear", "factor": 2.0, "twist": 1}}, "twist"),
        ("llama", {"rope_parameters": {"rope_type": "linear"}}, "factor"),
        ("llama", {"rope_parameters": {"rope_type": "default", "partial_rotary_factor": 0.5}}, "partial_rotary_factor"),
        ("llama", {"rope_scaling": {"type": "linear", "factor": 2.0}}, "rope_scaling"),
        ("llama", {"rope_theta": 77.0}, "rope_theta"),
        ("llama", {"rope_scaling": {"type": "linear", "rope_type": "yarn", "factor": 2.0}}, "rope_scaling"),
        ("llama", {"mlp_bias": None}, "mlp_bias"),
        ("mistral", {"sliding_window": 0}, "sliding_window"),
        ("qwen2", {"layer_types": ["sliding_attention"] * 2}, "sliding_window"),
        ("qwen2", {"layer_types": ["full_attention"]}, "layer_types"),
        ("gemma2", {"layer_types": ["chunked_attention"] * 2}, "layer_types"),
        ("gemma2", {"use_bidirectional_attention": True}, "use_bidirectional_attention"),
        ("gemma2", {"attn_logit_softcapping": -1.0}, "attn_logit_softcapping"),
        ("gemma3_text", {"rope_parameters": {"full_attention": {"rope_type": "default"}}}, "rope_parameters"),
        ("gemma3_text", {"rope_local_base_freq": 3.0}, "rope_local_base_freq"),
        ("phi3", {"original_max_position_embeddings": 0}, "original_max_position_embeddings"),
        ("phi3", {"rope_parameters": {"rope_type": "longrope", "short_factor": [1.0], "long_factor": [1.0]}}, "short_factor"),
        ("gpt2", {"n_head": 5}, "n_head"),
        ("gpt2", {"add_cross_attention": True}, "add_cross_attention"),
        ("gpt2", {"activation_function": "mish"}, "mish"),
        ("gpt_neox", {"rotary_pct": 0.5}, "rotary_pct"),
        ("gpt_neox", {"num_attention_heads": 5}, "num_attention_heads"),
    ],
)  # fmt: skip
def test_contradictions_and_unknown_values_are_refused_by_name(kind: str, changes: dict[str, Any], named: str, tmp_path: Path) -> None:  # fmt: skip
    theirs(kind, next(iter(CASES[kind]))).save_pretrained(tmp_path)
    changed(tmp_path, **changes)
    with pytest.raises(ArtifactError) as caught:
        hf.load(tmp_path)
    assert named in str(caught.value)


def test_the_published_spelling_of_gpt2_is_read(tmp_path: Path) -> None:
    """Names without a prefix, and the mask as a buffer."""
    model = theirs("gpt2", "plain")
    model.save_pretrained(tmp_path)
    tensors = {k.removeprefix("transformer."): v for k, v in load_file(tmp_path / hf.SINGLE).items()}
    tensors["h.0.attn.bias"] = torch.ones(1, 1, 64, 64)
    save_file(tensors, tmp_path / hf.SINGLE, {"format": "pt"})
    with torch.no_grad():
        torch.testing.assert_close(hf.load(tmp_path)(ids_of()), model(ids_of()).logits, rtol=0, atol=1e-4)


def test_a_model_of_another_shape_is_not_saved_under_the_familys_name(tmp_path: Path) -> None:
    theirs("qwen3", "plain").save_pretrained(tmp_path / "qwen3")
    plan = hf.load(tmp_path / "qwen3").config
    for other in (
        "llama",
        "mistral",
        "qwen2",
        "gemma2",
        "olmo2",
        "phi3",
        "gpt2",
        "gpt_neox",
        "gemma3_text",
        "",
    ):
        with pytest.raises(UsageError):
            hf.save(Decoder(dataclasses.replace(plan, family=other)), tmp_path / "no")
    assert not (tmp_path / "no").exists()


def test_null_and_absence_mean_what_transformers_takes_them_for(tmp_path: Path) -> None:
    """As folders written by 4.x say it: head_dim null, rope_scaling null, no rope_parameters."""
    from transformers import AutoModelForCausalLM

    theirs("mistral", "window").save_pretrained(tmp_path)
    raw = json.loads((tmp_path / "config.json").read_text())
    theta = raw.pop("rope_parameters")["rope_theta"]
    raw |= {"head_dim": None, "rope_scaling": None, "rope_theta": theta + 50.0, "quantization_config": None}
    (tmp_path / "config.json").write_text(
        json.dumps({k: v for k, v in raw.items() if k != "quantization_config"})
    )
    model = AutoModelForCausalLM.from_pretrained(
        tmp_path, dtype=torch.float32, attn_implementation="eager"
    ).eval()
    (tmp_path / "config.json").write_text(json.dumps(raw))
    with torch.no_grad():
        torch.testing.assert_close(hf.load(tmp_path)(ids_of()), model(ids_of()).logits, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("kind", "name"), [("gemma2", "plain"), ("gemma3_text", "seven-layers"), ("qwen2", "windows-from-layer-one"), ("qwen3", "windows")]
)  # fmt: skip
def test_which_layers_slide_where_the_file_does_not_say(kind: str, name: str, tmp_path: Path) -> None:
    """Older folders have no layer_types; transformers' default then has to be ours."""
    theirs(kind, name).save_pretrained(tmp_path)
    raw = json.loads((tmp_path / "config.json").read_text())
    said = hf.load(tmp_path).config
    assert raw.pop("layer_types") and len(set(said.windows())) == 2
    (tmp_path / "config.json").write_text(json.dumps(raw))
    assert hf.load(tmp_path).config == said
