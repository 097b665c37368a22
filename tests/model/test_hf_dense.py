"""Dense families: logits equal transformers', from their folder and in ours, whole and token by token."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from dense_cases import CASES, ids_of, theirs

from ownlm.errors import ArtifactError
from ownlm.model.adapters import hf

PAIRS = [(kind, name) for kind, cases in CASES.items() for name in cases]
pytest.importorskip("transformers")


@pytest.mark.parametrize(("kind", "name"), PAIRS)
def test_equal_to_transformers_in_both_directions(kind: str, name: str, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    model, ids = theirs(kind, name), ids_of()
    model.save_pretrained(tmp_path / "theirs")
    mine = hf.load(tmp_path / "theirs")
    hf.save(mine, tmp_path / "ours")
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "ours", dtype=torch.float32, attn_implementation="eager").eval()
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
    assert mine.num_parameters() == sum(p.numel() for p in mine.parameters()) == sum(p.numel() for p in model.parameters())


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
