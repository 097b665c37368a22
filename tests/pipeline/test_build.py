"""The whole path on a small folder, driven as a user drives it: build, look, ask, trace, and damage."""

import json
import shutil
from pathlib import Path

import pytest
import yaml
from running import SETTINGS, ownlm

from ownlm.runtime import artifact


def facts(*arguments):
    return json.loads(ownlm(*arguments, "--json").stdout)


def test_every_stage_left_a_verified_artifact(built):
    stages = {
        "corpus",
        "plan",
        "tokenizer",
        "shards",
        "index",
        "overlap",
        "pretrained",
        "questions",
        "model",
        "eval",
    }
    assert set(artifact.read(built).inputs) == stages
    assert facts("verify", built)["ok"]


def test_drops_are_counted_by_reason(built):
    metrics = artifact.read(built / "corpus").metrics
    steps = {step["step"]: step for step in metrics["funnel"]["steps"]}
    assert all(step["num_in"] == step["num_out"] + step["num_dropped"] for step in steps.values())
    assert steps["read"]["num_dropped"] >= 1  # the picture
    assert metrics["train_documents"] + metrics["heldout_documents"] == steps["dedup_exact"]["num_out"]
    assert metrics["heldout_documents"] >= 1


def test_licence_travels_to_the_model(built):
    assert set(artifact.read(built / "model").licences) == {"PSF-2.0"}


def test_second_run_makes_nothing_again(built, library):
    before = {path: path.stat().st_mtime_ns for path in built.rglob("*.safetensors")}
    result = ownlm("build", "--data", library, "--out", built, *SETTINGS)
    assert result.stderr.count("unchanged, not made again") == 10
    assert before == {path: path.stat().st_mtime_ns for path in built.rglob("*.safetensors")}


def test_answer_is_grounded_and_cited(built):
    answer = facts("generate", built, "What does textwrap.shorten do?")
    detail = answer["detail"]
    assert detail["grounded"] and len(detail["passages"]) + detail["passages_far"] == 3
    if not detail["refused"]:
        texts = [" ".join(p["text"].split()) for p in detail["passages"]]
        for citation in detail["citations"]:
            claim = answer["text"][citation["start"] : citation["end"]]
            said = claim.split(": ", 1)[-1] if " is in " not in claim else claim.split(" is in ")[0]
            passage = detail["passages"][citation["n"] - 1]
            assert " ".join(said.split()) in texts[citation["n"] - 1] + passage["title"]


def test_unknown_thing_is_refused(built):
    answer = facts("generate", built, "Who won the 1998 football world championship?")
    assert (
        answer["detail"]["refused"]
        and answer["text"] == "The documents do not contain an answer to this question."
    )


def test_raw_model_continues_text_reproducibly(built):
    runs = [
        facts(
            "generate", built, "def main(", "--raw", "--temperature", "1", "--seed", "7", "--max-tokens", "12"
        )
        for _ in range(2)
    ]
    assert runs[0]["text"] == runs[1]["text"] and runs[0]["usage"]["completion_tokens"] <= 12


def test_trace_finds_the_training_document(built, library):
    heldout = {row.split('"source":"')[1].split('"')[0] for row in _documents(built, "heldout")}
    source = next(f"{name}.py" for name in ("textwrap", "shlex", "string") if f"{name}.py" not in heldout)
    text = (library / source).read_text()
    sentence = text[2000:2200]
    found = facts("trace", built, sentence)
    assert found["spans"] and found["spans"][0]["source"].endswith(source)
    span = found["spans"][0]
    assert span["licence"] == "PSF-2.0" and span["end"] - span["start"] >= 150


def _documents(built, side):
    import zstandard

    data = zstandard.ZstdDecompressor().decompress(
        (built / "corpus" / f"{side}.jsonl.zst").read_bytes(), max_output_size=1 << 28
    )
    return data.decode().splitlines()


def test_lineage_leads_from_the_model_to_the_corpus(built):
    found = facts("lineage", built)
    text = json.dumps(found)
    assert not found["problems"] and artifact.read(built / "corpus").digest in text


def test_card_is_valid_and_says_what_was_measured(built):
    card = (built / "model" / "README.md").read_text()
    assert card == ownlm("card", built).stdout.rstrip("\n") + "\n"
    front = yaml.safe_load(card.split("---")[1])
    assert front["library_name"] == "transformers" and front["license"]
    value = artifact.read(built / "eval").metrics["heldout"]["bits_per_byte"]["value"]
    assert f"{value:.5f}"[:6] in card


def test_evaluation_stands_beside_its_baselines(built):
    metrics = artifact.read(built / "eval").metrics
    assert {b["name"] for b in metrics["baselines"]} == {"xz", "xz_conditional", "kneser_ney_5gram"}
    assert (
        metrics["grounded"]["hit@3"]["count"] > 0 and metrics["unanswerable"]["refusal_correct"]["count"] == 8
    )
    results = json.loads(next((built / "eval").glob("results_*.json")).read_text())
    assert "right,none" in results["results"]["grounded"]


def test_plan_compares_with_what_was_measured(built):
    rows = {row["name"]: row for row in facts("plan", "--dir", built)["measured"]}
    assert rows["parameters"]["ratio"] == 1.0 and rows["minutes_total"]["measured"] > 0


def test_config_explains_where_a_value_comes_from(built):
    assert "command line" in ownlm("config", "explain", "pretrain.steps", "--dir", built).stdout
    assert "default" in ownlm("config", "explain", "data.heldout_fraction", "--dir", built).stdout


def test_model_folder_answers_alone_in_transformers(built):
    """No ownlm beside it: equal logits and equal ids."""
    import torch
    import transformers

    from ownlm.model.adapters import hf
    from ownlm.tokenizer.tokenizer import Tokenizer

    theirs = transformers.AutoModelForCausalLM.from_pretrained(built / "model", dtype=torch.float32)
    tokens = transformers.AutoTokenizer.from_pretrained(built / "model")
    text = "def shorten(text, width):\n    return text  # naïve 文字"
    ids = Tokenizer.load(built / "model").encode(text)
    assert tokens(text, add_special_tokens=False)["input_ids"] == ids
    batch = torch.tensor([ids])
    with torch.no_grad():
        assert (theirs(batch).logits - hf.load(built / "model")(batch)).abs().max() <= 1e-4


@pytest.mark.parametrize(
    "name", ["model/model.safetensors", "tokenizer/tokenizer.json", "index/passages.sqlite"]
)
def test_one_flipped_bit_is_named_and_refused(copied, name):
    path = copied / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    checked = ownlm("verify", copied, check=False)
    assert checked.returncode == 4 and name in checked.stderr
    asked = ownlm("generate", copied, "What is shlex?", check=False)
    assert asked.returncode == 4 and Path(name).name in asked.stderr and "Traceback" not in asked.stderr


def test_tokenizer_from_another_model(copied, built, library, tmp_path):
    other = tmp_path / "other"
    settings = [s.replace("1024", "768") if s.startswith("tokenizer") else s for s in SETTINGS]
    settings = [s for s in settings if not s.startswith(("pretrain.steps", "sft.steps"))] + [
        "pretrain.steps=1",
        "sft.steps=1",
    ]
    ownlm("build", "--data", library, "--out", other, *settings, "eval.baselines=false")
    shutil.rmtree(copied / "tokenizer")
    shutil.copytree(other / "tokenizer", copied / "tokenizer")
    asked = ownlm("generate", copied, "What is shlex?", check=False)
    assert asked.returncode == 4 and "another model" in asked.stderr
    assert ownlm("lineage", copied, check=False).returncode == 4


def test_damaged_stage_is_made_again(copied, library):
    path = copied / "overlap"
    next(p for p in path.iterdir() if p.name != "ownlm.json").write_bytes(b"broken")
    result = ownlm("build", "--data", library, "--out", copied, *SETTINGS)
    assert "damaged" in result.stderr and facts("verify", copied)["ok"]
