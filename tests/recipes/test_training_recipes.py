"""The recipes of whole pretraining runs: each from its own command line, as small as it goes."""

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from ownlm import config
from ownlm.model.adapters import hf
from ownlm.pipeline.pretraining.settings import PretrainSettings, budget

RECIPES = Path(__file__).parents[2] / "recipes"
DATA = Path(os.environ.get("OWNLM_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))
SMALL = ["context=16", "batch_tokens=128", "evaluate_tokens=256", "train.threads=1", "train.compile=false"]


def run(name: str, *arguments: str, out: Path) -> dict[str, Any]:
    """As from the command line; the JSON file that is named after the recipe."""
    execute(name, *arguments, out=out)
    found: dict[str, Any] = json.loads((out / f"{name.removesuffix('.py')}.json").read_text())
    return found


def execute(name: str, *arguments: str, out: Path) -> None:
    before, threads = sys.argv, torch.get_num_threads()
    sys.argv = [name, "--out", str(out), *arguments]
    try:
        runpy.run_path(str(RECIPES / name), run_name="__main__")
    finally:
        sys.argv = before
        torch.set_num_threads(threads)


def launched(processes: int, name: str, *arguments: str) -> str:
    """What a recipe of several processes prints."""
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        str(processes),
    ]
    done = subprocess.run(
        [*command, str(RECIPES / name), *arguments], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_shakespeare(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = tmp_path / "input.txt"
    text.write_text("First Citizen:\nSpeak, speak. Before we proceed, hear me.\n\n" * 150)
    out = tmp_path / "out"
    found = run("shakespeare.py", "--data", str(text), "--steps", "6", "--depth", "1", *SMALL, out=out)
    assert found["num_steps"] == 6 and 1 < found["validation_loss"] < 5
    assert len(found["sample"].strip()) > 0 and len(found["nanogpt"]) == 2
    plan = {row["name"]: row["value"] for row in json.loads((out / "plan.json").read_text())["rows"]}
    held = plan["validation_tokens"] / (plan["validation_tokens"] + plan["train_tokens"])
    assert held == pytest.approx(0.1, abs=0.001), "the last tenth is held out, as in nanoGPT"
    told = capsys.readouterr().out
    assert "figures beside it are of another text" in told and "1.8800" in told and "1.4697" in told
    assert hf.load(out / "model").num_parameters() == found["parameters"]


def test_shakespeare_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"nowhere\.txt\n.*tinyshakespeare"):
        run("shakespeare.py", "--data", "nowhere.txt", out=tmp_path / "out")


def test_common_crawl_to_model(tmp_path: Path) -> None:
    """The trial's own shard, and beside it a real record of Common Crawl where there is one."""
    real = DATA / "web_warc" / "whirlwind.warc.gz"
    trial = [
        "--pages",
        "60",
        "--workers",
        "1",
        "--size",
        "depth 1",
        "--budget",
        "4 steps",
        "--vocab-size",
        "512",
    ]
    found = run("common_crawl_to_model.py", *trial, *SMALL, out=tmp_path / "own")
    steps = {row["step"]: row for row in found["funnel"]}
    assert steps["extract"]["num_in"] == 60 and found["documents"] >= 2 and found["heldout_tokens"] > 0
    assert (
        sum(sum(row["dropped"].values()) for row in found["funnel"])
        == steps["read"]["num_in"] - found["documents"]
    )
    events = [json.loads(line) for line in (tmp_path / "own/run/metrics.jsonl").read_text().splitlines()]
    assert [event["step"] for event in events if event["kind"] == "step"] == [1, 2, 3, 4]
    assert (tmp_path / "own/run/checkpoints/step-000004/checkpoint.json").is_file()
    manifest = json.loads((tmp_path / "own/shards/ownlm.json").read_text())
    assert manifest["inputs"], "the shards name the text that they were made from"
    if not real.is_file():
        pytest.skip("OWNLM_TEST_DATA has no web_warc: the recipe ran on its own shard only")
    both = ["--shard", str(tmp_path / "own/own.warc.gz"), "--shard", str(real)]
    again = run("common_crawl_to_model.py", *both, *trial, *SMALL, out=tmp_path / "both")
    more = {row["step"]: row for row in again["funnel"]}
    assert more["extract"]["num_in"] == 61
    assert sum(more["language"]["dropped"].values()) == sum(steps["language"]["dropped"].values()) + 1, (
        "not English"
    )
    assert again["documents"] == found["documents"]


def test_domain_125m_trial(tmp_path: Path) -> None:
    found = run("domain_125m.py", "--sizes", "1x16,1x32", "--tokens", "2048", "4096", "8192", "16384", "--heldout", "4096",
                out=tmp_path)  # fmt: skip
    assert 123e6 < found["parameters"] < 125e6
    for row in found["plan"]:  # GPU-hours from operations, peak and MFU, 15 % lost, 4 USD an hour
        peak = {"h100-80": 989e12, "a100-80": 312e12}[row["gpu"]]
        assert row["gpu_hours"] == pytest.approx(1.15 * row["flops"] / (row["mfu"] * peak) / 3600)
        assert row["usd"] == pytest.approx(4 * row["gpu_hours"])
    trial = found["trial"]
    assert len(trial["runs"]) == 7 and len(trial["curve"]) == 4
    said = trial["predicted"]
    assert said["low"] < said["loss"] < said["high"]
    assert trial["inside"] == (said["low"] <= trial["measured"] <= said["high"])


def test_domain_125m_full_is_what_pretrain_reads(tmp_path: Path) -> None:
    run("domain_125m.py", "--full", "--data", "shards", "--mfu", "0.3", out=tmp_path)
    settings = config.load(PretrainSettings, tmp_path / "run.yaml").value
    assert settings.data == Path("shards") and budget(settings.budget).amount == 10e9
    _, shape = hf.read_config(json.loads((tmp_path / "config.json").read_text()), "config.json")
    assert shape.hidden_size == 768 and shape.num_layers == 12
    assert settings.batch_tokens is not None and settings.batch_tokens % settings.context == 0
    assert yaml.safe_load((tmp_path / "run.yaml").read_text())["train"]["precision"] == "bfloat16"


def test_plan_7b(tmp_path: Path) -> None:
    execute("plan_7b.py", "--gpus", "64", "--tokens", "1e12", out=tmp_path)
    (plan,) = json.loads((tmp_path / "plan.json").read_text())["plans"]
    assert plan["targets"] and 1.5 < plan["expected_loss"] < 2.5
    for row in plan["layouts"]:
        assert row["memory_gb"] < 80 and row["usd"] == pytest.approx(row["days"] * 24 * 64 * 4, rel=0.02)


def test_nan_hunt(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    execute("nan_hunt.py", "--fault", "overflow", "--steps", "12", "--at", "8", out=tmp_path)
    told = capsys.readouterr().out
    assert "blocks.1.feed_forward.down" in told, "the module is named"
    assert "nan at the end" not in told and "at the end" in told


def test_gradient_view(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = ["--depth", "2", "--context", "16", "--steps", "6", "--every", "2"]
    execute("gradient_view.py", "--plant", *small, out=tmp_path)
    lines = (tmp_path / "run" / "gradients.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [2, 4, 6]
    assert "dead" in capsys.readouterr().out


def test_lm_70m_zero3(tmp_path: Path) -> None:
    told = launched(1, "lm_70m_zero3.py", "--steps", "2", "--out", str(tmp_path), "--precision", "float32")
    facts = json.loads(told.splitlines()[-1])
    assert facts["processes"] == 1 and facts["tokens_per_second"] > 0 and facts["shard_bytes"]


@pytest.mark.slow
def test_fsdp_against_ddp(tmp_path: Path) -> None:
    small = ["--width", "64", "--layers", "1", "--context", "16", "--rows", "4", "--steps", "4"]
    launched(2, "fsdp_against_ddp.py", *small, "--out", str(tmp_path / "report.json"))
    rows = json.loads((tmp_path / "report.json").read_text())["rows"]
    assert len(rows) == 4
    for row in rows[1:]:
        assert row["losses"] == pytest.approx(rows[0]["losses"], rel=1e-4)
