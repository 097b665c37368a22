"""The result files: the layout of lm-evaluation-harness, and read back by the harness itself when it is there."""

from __future__ import annotations

import importlib.util
import json
import re
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from ownlm.evals.baselines import Baseline
from ownlm.evals.bits import Bits
from ownlm.evals.grounded import REFUSAL, grade_one
from ownlm.evals.results import Conditions, bits_task, grounded_tasks, manifest_metrics, write_results
from ownlm.records import Question

CONDITIONS = Conditions(
    "own/quick start", "d" * 64, 1000, chat_template="{{ bos_token }}", max_length=512, bos=("<|bos|>", 1),
    eos=("<|end|>", 2), pad=("<|pad|>", 3), generation={"temperature": 0.0, "max_gen_toks": 256}, git_hash="abc",
    seconds=1.5,
)  # fmt: skip
BITS = Bits(1.5, 1.4, 1.6, 0.05, 3.7, 900, 2300, 12, 512, 256)
BASELINES = [
    Baseline("xz", 1.9, 2300, 0.1),
    Baseline("kneser_ney_5gram", 1.7, 2300, 0.1, "trained on 9 tokens"),
]


def scores() -> list[Any]:
    question = Question("q1", "what_is", "What is ä?", "ä: x.", "ä", "d", 0, 9)
    other = Question("q2", "which_place", "Where is b?", "b", "b", "d", 0, 9)
    nothing = Question("u1", "unanswerable", "What is z?", REFUSAL, "", "", answerable=False)
    passages = {
        "passages": [{"n": 1, "id": 4, "document_id": "d", "start": 0, "end": 9, "text": "t", "score": 1.0}]
    }
    return [
        grade_one(question, "ä: x. [1]", passages, []),
        grade_one(other, "no", passages, []),
        grade_one(nothing, REFUSAL, {}, []),
    ]


@pytest.fixture
def written(tmp_path: Path) -> tuple[dict[str, Any], list[Path]]:
    tasks = [bits_task(BITS), *grounded_tasks(scores(), {"k": 3})]
    paths = write_results(tmp_path / "eval", tasks, CONDITIONS, BASELINES, datetime(2026, 5, 4, 3, 2, 1, 7))
    return json.loads(paths[0].read_text("utf-8")), paths


def test_names(written: tuple[dict[str, Any], list[Path]]) -> None:
    assert [path.name for path in written[1]] == [
        "results_2026-05-04T03-02-01.000007.json",
        "samples_grounded_2026-05-04T03-02-01.000007.jsonl",
        "samples_unanswerable_2026-05-04T03-02-01.000007.jsonl",
    ]


def test_every_key_of_the_layout(written: tuple[dict[str, Any], list[Path]]) -> None:
    result = written[0]
    expected = {
        "results", "group_subtasks", "configs", "versions", "n-shot", "higher_is_better", "n-samples", "config",
        "git_hash", "date", "tokenizer_pad_token", "tokenizer_eos_token", "tokenizer_bos_token", "eot_token_id",
        "max_length", "task_hashes", "model_source", "model_name", "model_name_sanitized", "system_instruction",
        "system_instruction_sha", "fewshot_as_multiturn", "chat_template", "chat_template_sha",
        "total_evaluation_time_seconds",
    }  # fmt: skip
    assert set(result) - {"ownlm"} == expected
    tasks = {"heldout", "grounded", "unanswerable"}
    for key in (
        "results",
        "configs",
        "versions",
        "n-shot",
        "higher_is_better",
        "n-samples",
        "group_subtasks",
    ):
        assert set(result[key]) == tasks, key
    assert result["model_name_sanitized"] == "own__quick start"
    assert result["tokenizer_eos_token"] == ["<|end|>", "2"]


def test_values(written: tuple[dict[str, Any], list[Path]]) -> None:
    result = written[0]
    assert result["results"]["heldout"]["bits_per_byte,none"] == 1.5
    assert result["results"]["heldout"]["bits_per_byte_stderr,none"] == 0.05
    assert result["results"]["grounded"]["right,none"] == 0.5
    assert result["results"]["unanswerable"]["refusal_correct,none"] == 1.0
    assert result["n-samples"]["grounded"] == {"original": 2, "effective": 2}
    assert result["higher_is_better"]["heldout"] == {"bits_per_byte": False}
    assert result["higher_is_better"]["grounded"]["false_refusal"] is False
    assert result["ownlm"]["kinds"]["grounded"]["what_is"]["right"]["value"] == 1.0
    assert [b["bits_per_byte"] for b in result["ownlm"]["baselines"]] == [1.9, 1.7]
    for name, metrics in result["results"].items():
        for key in metrics:
            assert key in ("name", "alias", "sample_len") or re.fullmatch(r"[^,]+,none", key), (name, key)


def test_samples(written: tuple[dict[str, Any], list[Path]]) -> None:
    lines = [json.loads(line) for line in written[1][1].read_text("utf-8").splitlines()]
    assert [line["doc_id"] for line in lines] == [0, 1]
    first = lines[0]
    assert first["resps"] == [["ä: x. [1]"]] and first["filtered_resps"] == ["ä: x. [1]"]
    assert first["target"] == "ä: x." and first["arguments"]["gen_args_0"]["arg_0"] == "What is ä?"
    assert first["right"] == 1.0 and first["filter"] == "none" and "right" in first["metrics"]
    assert len({line["doc_hash"] for line in lines}) == 2


def test_task_hash_follows_the_questions(tmp_path: Path, written: tuple[dict[str, Any], list[Path]]) -> None:
    fewer = write_results(tmp_path / "b", grounded_tasks(scores()[1:], {}), CONDITIONS)
    again = write_results(tmp_path / "c", grounded_tasks(scores(), {}), CONDITIONS)
    hashes = [json.loads(paths[0].read_text("utf-8"))["task_hashes"] for paths in (fewer, again)]
    assert hashes[0]["grounded"] != written[0]["task_hashes"]["grounded"] == hashes[1]["grounded"]


def test_manifest_metrics() -> None:
    found = manifest_metrics([bits_task(BITS), *grounded_tasks(scores(), {})], BASELINES)
    assert found["heldout"]["bits_per_byte"] == {
        "value": 1.5, "low": 1.4, "high": 1.6, "stderr": 0.05, "count": 12, "method": "bootstrap"
    }  # fmt: skip
    assert found["baselines"][1]["note"] == "trained on 9 tokens"


@pytest.mark.skipif(importlib.util.find_spec("lm_eval") is None, reason="lm_eval is not installed")
def test_read_by_the_harness(written: tuple[dict[str, Any], list[Path]]) -> None:
    from lm_eval.utils import (
        get_file_datetime,
        get_results_filenames,
        get_sample_results_filenames,
        make_table,
    )

    text = make_table(written[0])
    assert re.search(
        r"\|heldout\s*\|\s*1\|none\s*\|\s*0\|bits_per_byte\s*\|↓\s*\|\s*1\.50*\|±\s*\|\s*0?\.050*\|", text
    ), text
    names = [str(path) for path in written[1]]
    assert get_results_filenames(names) == names[:1] and get_sample_results_filenames(names) == names[1:]
    assert all(get_file_datetime(name) for name in names)
