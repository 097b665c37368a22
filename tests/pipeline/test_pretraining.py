"""`ownlm pretrain`: a tiny text to a model, through the command and through the function behind it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml

from ownlm import config
from ownlm.errors import ArtifactError, DataError, OwnlmError, UsageError
from ownlm.model.adapters import hf
from ownlm.pipeline.assistant import open_generator
from ownlm.pipeline.pretraining import measure
from ownlm.pipeline.pretraining.pretrain import pretrain
from ownlm.pipeline.pretraining.settings import Budget, PretrainSettings, budget, count
from ownlm.records import Request, Sampling, complete
from ownlm.runtime import artifact
from ownlm.train import checkpoint
from ownlm.train.config import TrainConfig

STEPS = 12
SMALL = {
    "size": "depth 1", "budget": f"{STEPS} steps", "context": 32, "batch_tokens": 256, "evaluate_tokens": 512, "evaluate_steps": 5,
    "benchmark_steps": 10, "train.compile": False, "train.threads": 1, "train.checkpoint_steps": 4,
}  # fmt: skip


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    words = "the cat sat on a mat and the dog ate it".split()
    lines = [" ".join(words[(7 * i + j * j) % 11] for j in range(8)) + "." for i in range(1200)]
    path = tmp_path_factory.mktemp("text") / "input.txt"
    path.write_text("\n".join(lines))
    return path


def settings(text: Path, **changes: object) -> list[str]:
    wanted = {"data": str(text), **SMALL, **{key.replace("__", "."): value for key, value in changes.items()}}
    return [f"{key}={json.dumps(value)}" for key, value in wanted.items() if value is not None]


def run(text: Path, out: Path, **changes: object) -> tuple[dict, list[str]]:
    resolved = config.load(PretrainSettings, None, settings(text, **changes), {})
    told: list[str] = []
    return pretrain(resolved.value, resolved.origins, out, told.append), told


def command(out: Path, *arguments: str, launcher: tuple[str, ...] = ()) -> list[str]:
    return [sys.executable, *launcher, "-m", "ownlm.cli.main", "pretrain", "--out", str(out), *arguments]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return dict(hf.load(folder).state_dict())


@pytest.fixture(scope="module")
def whole(text: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict, list[str]]:
    out = tmp_path_factory.mktemp("whole")
    metrics, told = run(text, out)
    return out, metrics, told


def test_a_text_becomes_a_model_and_every_number_has_a_source(whole: tuple[Path, dict, list[str]]) -> None:
    out, metrics, told = whole
    assert metrics["validation_loss"] < 3.2 and metrics["tokens"] == STEPS * 256
    model = hf.load(out / "model")
    assert model.num_parameters() == metrics["parameters"] and not artifact.verify(out / "model")
    rows = {row["name"]: row for row in json.loads((out / "plan.json").read_text())["rows"]}
    assert rows["context"]["source"] == "given" and rows["num_steps"]["source"] == "budget 12 steps"
    assert rows["train.threads"]["source"].startswith("command line")
    assert rows["train.clip"] == {"name": "train.clip", "value": 1.0, "source": "default"}
    assert any("parameters" in line and str(metrics["parameters"]) in line for line in told)


def test_held_out_text_is_looked_at_when_it_is_due(whole: tuple[Path, dict, list[str]]) -> None:
    lines = [json.loads(line) for line in (whole[0] / "metrics.jsonl").read_text().splitlines()]
    steps = {
        kind: [x["step"] for x in lines if x["kind"] == kind] for kind in ("step", "validation", "benchmark")
    }
    assert steps == {"step": list(range(1, STEPS + 1)), "validation": [5, 10], "benchmark": [10, STEPS]}
    last = [x for x in lines if x["kind"] == "benchmark"][-1]
    assert 0 < last["bits_per_byte"] < 8 and "bits_per_byte_low" not in last  # one document has no interval
    assert (whole[0] / "samples" / "step-000010.txt").read_text().strip()
    assert json.loads((whole[0] / "run.json").read_text())["status"] == "finished"


def test_a_yaml_file_reproduces_the_run(
    text: Path, whole: tuple[Path, dict, list[str]], tmp_path: Path
) -> None:
    nested: dict = {"data": str(text), "train": {}}
    for key, value in SMALL.items():
        room, _, name = key.rpartition(".")
        (nested[room] if room else nested)[name] = value
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(nested))
    done = subprocess.run(
        command(tmp_path / "out", "--config", str(tmp_path / "run.yaml"), "--json"),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["metrics"]["validation_loss"] == whole[1]["validation_loss"]
    assert (tmp_path / "out" / "losses.jsonl").read_bytes() == (whole[0] / "losses.jsonl").read_bytes()


def test_killed_and_started_again_it_ends_in_the_same_bits(
    text: Path, whole: tuple[Path, dict, list[str]], tmp_path: Path
) -> None:
    process = subprocess.Popen(command(tmp_path, *settings(text)), stderr=subprocess.DEVNULL)
    while not (tmp_path / "checkpoints" / "step-000004").is_dir():
        assert process.poll() is None
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    again = subprocess.run(command(tmp_path, *settings(text)), capture_output=True, text=True)
    assert again.returncode == 0 and "going on after step" in again.stderr, again.stderr
    assert (tmp_path / "losses.jsonl").read_bytes() == (whole[0] / "losses.jsonl").read_bytes()
    ours, theirs = weights(tmp_path / "model"), weights(whole[0] / "model")
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    metrics, _ = run(text, tmp_path)  # done: nothing is trained again
    assert metrics["validation_loss"] == whole[1]["validation_loss"]


def test_another_run_in_the_same_folder_is_refused(text: Path, whole: tuple[Path, dict, list[str]]) -> None:
    with pytest.raises(UsageError, match="context: 32 then, 64 now"):
        run(text, whole[0], context=64)
    run(text, whole[0], train__keep_checkpoints=5)  # when to save is no part of what is computed


@pytest.mark.parametrize(
    "changes, error, told",
    [
        ({"data": None}, UsageError, "needs data"),
        ({"size": ""}, UsageError, "needs a size"),
        ({"size": "huge"}, UsageError, "This is no size"),
        ({"budget": ""}, UsageError, "needs a budget"),
        ({"budget": "soon"}, UsageError, "This is no budget"),
        ({"budget": "10 tokens"}, UsageError, "does not reach for one step"),
        ({"batch_tokens": 300}, UsageError, "set batch_tokens=288"),
        ({"objective": "casual"}, UsageError, "did you mean causal"),
        ({"objective": "mlm", "z_loss": 0.1}, UsageError, "belongs to causal"),
        ({"train__optimizer": "adamv"}, UsageError, "adam"),
        ({"train__schedule": "cosinus"}, UsageError, "schedule"),
        ({"train__learning_rates": 1}, UsageError, "did you mean train.learning_rate"),
        ({"layout": "zero3"}, UsageError, "launched"),
        ({"sizes": "dp"}, UsageError, "sizes='dp=2,tp=2'"),
        ({"average": 9}, UsageError, "train.keep_checkpoints=9"),
        ({"data": "/nowhere"}, DataError, "/nowhere"),
        ({"tokenizer": "/nowhere"}, UsageError, "nowhere"),
    ],
)  # fmt: skip
def test_bad_input_is_told_with_what_to_do(
    text: Path, tmp_path: Path, changes: dict, error: type[OwnlmError], told: str
) -> None:
    with pytest.raises(error) as found:
        run(text, tmp_path, **changes)
    assert told in str(found.value), str(found.value)


def test_shards_are_read_where_they_are_and_a_foreign_tokenizer_is_refused(
    text: Path, whole: tuple[Path, dict, list[str]], tmp_path: Path
) -> None:
    metrics, _ = run(whole[0] / "data", tmp_path / "a")
    assert (
        metrics["validation_loss"] == whole[1]["validation_loss"] and not (tmp_path / "a" / "data").exists()
    )
    other = tmp_path / "other.txt"
    other.write_text("Ω" + text.read_text().replace("cat", "ΨΞ"))
    run(other, tmp_path / "b", budget="1 steps")
    with pytest.raises((UsageError, ArtifactError), match="belong together"):
        run(whole[0] / "data", tmp_path / "c", tokenizer=str(tmp_path / "b" / "data" / "tokenizer"))


def test_a_model_is_led_back_to_its_shards(
    text: Path, whole: tuple[Path, dict, list[str]], tmp_path: Path
) -> None:
    shards, model = artifact.read(whole[0] / "data"), artifact.read(whole[0] / "model")
    assert model.inputs == {"shards": shards.digest} and model.licences == shards.licences == {"unknown": 2}


@pytest.mark.parametrize(
    "changes",
    [{"vocab_size": 64}, {"tokenizer": "bpe"}, {"validation": "input.txt"}],
    ids=lambda changes: next(iter(changes)),
)
def test_what_is_for_text_is_refused_beside_shards(
    text: Path, whole: tuple[Path, dict, list[str]], tmp_path: Path, changes: dict
) -> None:
    if "validation" in changes:
        changes = {"validation": str(text)}
    with pytest.raises(UsageError, match=f"(?s)already.*{next(iter(changes))}"):
        run(whole[0] / "data", tmp_path, **changes)


def test_what_cannot_be_read_is_counted(text: Path, tmp_path: Path) -> None:
    folder = tmp_path / "texts"
    folder.mkdir()
    (folder / "good.txt").write_text(text.read_text())
    (folder / "bad.txt").write_bytes(bytes(range(256)) * 20)
    _, told = run(folder, tmp_path / "out", budget="1 steps")
    assert any("1 left out: " in line for line in told), told


def test_the_model_speaks(whole: tuple[Path, dict, list[str]]) -> None:
    for folder in (whole[0], whole[0] / "model"):
        with open_generator(folder, raw=True) as generator:
            request = Request(prompt="the cat", sampling=Sampling(max_tokens=5, temperature=0.0))
            assert complete(generator, request).usage.completion_tokens == 5
    with pytest.raises(ArtifactError, match="not an ownlm artifact"), open_generator(whole[0], raw=False):
        pass


def test_the_mean_of_the_last_checkpoints(text: Path, tmp_path: Path) -> None:
    run(text, tmp_path, average=2, train__keep_checkpoints=3)
    last = [
        checkpoint.read(tmp_path / "checkpoints" / f"step-{n:06d}").model["blocks.0.mixer.q.weight"]
        for n in (8, 12)
    ]
    torch.testing.assert_close(
        weights(tmp_path / "model")["blocks.0.mixer.q.weight"], (last[0] + last[1]) / 2
    )


def test_untrained_weights_are_no_part_of_a_mean(text: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="1 kept, 2 wanted"):  # step 0 and the last one are kept
        run(text, tmp_path, average=2, train__checkpoint_steps=None)


def test_a_warm_up_longer_than_the_trial_steps(
    text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[TrainConfig] = []
    monkeypatch.setattr(
        measure, "step_seconds", lambda model, batch_at, trial, *rest: seen.append(trial) or 1.0
    )
    metrics, _ = run(text, tmp_path, budget="40 s", train__warmup_steps=8)
    assert len(seen) == 1 and 8 <= metrics["num_steps"] <= 40


@pytest.mark.parametrize("objective", ["mlm", "spans", "diffusion"])
def test_other_objectives_bring_the_tokens_they_need(text: Path, tmp_path: Path, objective: str) -> None:
    metrics, _ = run(text, tmp_path, objective=objective, budget="3 steps")
    assert metrics["validation_loss"] > 0 and (tmp_path / "model" / "model.safetensors").is_file()


@pytest.mark.slow
def test_time_is_kept(text: Path, tmp_path: Path) -> None:
    began = time.perf_counter()
    metrics, told = run(text, tmp_path, budget="20 s", train__compile=True)
    assert time.perf_counter() - began < 40 and metrics["num_steps"] > 10
    assert any("a step takes" in line for line in told)


def test_two_processes_train_the_model_of_one(text: Path, tmp_path: Path) -> None:
    few = {"train__optimizer": "adamw", "budget": "4 steps", "train__checkpoint_steps": 2}
    alone, _ = run(text, tmp_path / "alone", **few)
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    done = subprocess.run(
        command(tmp_path / "two", *settings(text, layout="zero3", **few), launcher=launcher), capture_output=True, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert artifact.read(tmp_path / "two" / "model").metrics["validation_loss"] == pytest.approx(
        alone["validation_loss"], rel=1e-5
    )


@pytest.mark.parametrize(
    "text, wanted",
    [("10 min", Budget(600, "seconds")), ("1.5h", Budget(5400, "seconds")), ("20 s", Budget(20, "seconds")), ("2 days", Budget(172800, "seconds")), ("5000 steps", Budget(5000, "steps")),
     ("200M tokens", Budget(2e8, "tokens")), ("3 epochs", Budget(3, "epochs")), ("1e16 flops", Budget(1e16, "flops")),
     ("1 step", Budget(1, "steps"))],
)  # fmt: skip
def test_budgets(text: str, wanted: Budget) -> None:
    assert budget(text) == wanted


@pytest.mark.parametrize(
    "text, wanted",
    [("10M", 1e7), ("1.3b", 1.3e9), ("4e6", 4e6), ("depth 8", None), ("", None), ("1..2M", None)],
)
def test_counts(text: str, wanted: float | None) -> None:
    assert count(text) == wanted
