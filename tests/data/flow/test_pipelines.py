"""Pipelines run: the same bytes with any workers and after any kill, everything counted, hostile documents quarantined."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from ownlm.data import store
from ownlm.data.flow import compare, recipe, snapshot
from ownlm.data.flow.execute import read_output
from ownlm.data.flow.workers import Inline, LocalWorkers
from ownlm.data.funnel import unbalanced
from ownlm.errors import DataError, MachineError, MissingDependency, UsageError
from ownlm.runtime import artifact

MINE = Path(__file__).parent / "steps_of_mine.py"


def words(number: int, count: int) -> str:
    rng = random.Random(number)
    return " ".join(rng.choice(["sea", "boat", "wind", "rope", "sail", "tide"]) for _ in range(count))


def corpus(folder: Path, count: int = 60, troubles: dict[int, str] | None = None) -> Path:
    """JSON lines files of 10 documents each; document n of the corpus says troubles[n]."""
    folder.mkdir(parents=True, exist_ok=True)
    for start in range(0, count, 10):
        rows = []
        for number in range(start, min(start + 10, count)):
            text = words(number, number % 7 + 1) + " " + (troubles or {}).get(number, "")
            rows.append(json.dumps({"text": text, "number": number}))
        (folder / f"{start:04d}.jsonl").write_text("\n".join(rows) + "\n")
    return folder


def pipeline(folder: Path, data: Path, *steps: Any, **options: Any) -> recipe.Pipeline:
    file = folder / "pipeline.yaml"
    facts = {"name": "test", "read": [str(data)], "steps": list(steps), "part_megabytes": 0.001, **options}
    file.write_text(yaml.safe_dump(facts))
    return recipe.load(file)


def mine(name: str, **options: Any) -> dict[str, Any]:
    return {f"{MINE}:{name}": options}


def files_of(folder: Path) -> dict[str, bytes]:
    """Every file that must not depend on how the work was done."""
    names = [
        *folder.glob("documents/*"),
        *(folder / name for name in ("funnel.json", "dropped.jsonl.zst", "quarantine.jsonl.zst")),
    ]
    return {str(path.relative_to(folder)): path.read_bytes() for path in names}


STEPS = ("clean", mine("Short", least=3), mine("FirstOfLength"), mine("Short", least=2))


def test_the_same_bytes_with_any_number_of_workers(tmp_path):
    chosen = pipeline(tmp_path, corpus(tmp_path / "data"), *STEPS)
    made = {}
    for name, workers in (("inline", Inline()), ("one", LocalWorkers(1)), ("three", LocalWorkers(3))):
        manifest, ran = snapshot.make(chosen, tmp_path / name, workers)
        assert ran and not (tmp_path / name / "work").exists()
        made[name] = files_of(tmp_path / name), manifest.digest
    assert made["inline"] == made["one"] == made["three"]
    assert len(made["one"][0]) > 4  # several files of documents
    again, ran = snapshot.make(chosen, tmp_path / "one", Inline())
    assert not ran and again.digest == made["one"][1]
    assert artifact.verify(tmp_path / "one") == []


def test_counts_add_up_and_the_output_is_what_the_steps_say(tmp_path):
    chosen = pipeline(tmp_path, corpus(tmp_path / "data"), *STEPS)
    manifest, _ = snapshot.make(chosen, tmp_path / "out", Inline())
    steps = manifest.metrics["funnel"]["steps"]
    assert [step["step"] for step in steps] == ["read", "clean", "Short", "FirstOfLength", "Short-2"]
    assert unbalanced(steps) == [] and steps[0]["num_in"] == 60
    few = sum(number % 7 + 1 < 3 for number in range(60))
    assert steps[2]["dropped"] == {"few words": few}
    kept = [document.meta["number"] for document in read_output(tmp_path / "out")]
    seen: set[int] = set()
    expected = []
    for number in range(60):
        text = words(number, number % 7 + 1) + " "
        if number % 7 + 1 >= 3 and len(text) not in seen:
            seen.add(len(text))
            expected.append(number)
    assert kept == expected and manifest.metrics["num_documents"] == len(expected)
    samples = list(store.read_rows(tmp_path / "out" / "dropped.jsonl.zst"))
    assert {row["step"] for row in samples} == {"Short", "FirstOfLength"}


def test_hostile_documents_are_quarantined_and_their_neighbours_kept(tmp_path):
    troubles = {3: "CRASH", 17: "HANG", 21: "MEMORY", 22: "RAISE", 38: "CRASH", 39: "RAISE"}
    chosen = pipeline(
        tmp_path, corpus(tmp_path / "data", 60, troubles), mine("Trouble"), seconds_per_document=0.3
    )
    manifest, _ = snapshot.make(chosen, tmp_path / "out", LocalWorkers(2))
    kept = [document.meta["number"] for document in read_output(tmp_path / "out")]
    assert kept == [number for number in range(60) if number not in troubles]
    rows = list(store.read_rows(tmp_path / "out" / "quarantine.jsonl.zst"))
    reasons = [row["reason"] for row in rows]
    assert len(rows) == len(troubles) == manifest.metrics["num_quarantined"]
    for part, count in (
        ("killed the worker: signal 11", 2),
        ("took too long", 1),
        ("MemoryError", 1),
        ("ValueError: no good", 2),
    ):
        assert sum(part in reason for reason in reasons) == count, reasons
    assert unbalanced(manifest.metrics["funnel"]["steps"]) == []


def test_trouble_behind_a_corpus_step_is_counted_where_it_happens(tmp_path):
    chosen = pipeline(
        tmp_path,
        corpus(tmp_path / "data", 30, {5: "CRASH", 12: "RAISE"}),
        mine("FirstOfLength"),
        mine("Trouble"),
    )
    manifest, _ = snapshot.make(chosen, tmp_path / "out", LocalWorkers(1))
    assert unbalanced(manifest.metrics["funnel"]["steps"]) == []
    assert {row["step"] for row in store.read_rows(tmp_path / "out" / "quarantine.jsonl.zst")} == {
        "FirstOfLength"
    }
    quiet = pipeline(
        tmp_path, corpus(tmp_path / "data", 30, {5: "CRASH", 12: "RAISE"}), mine("FirstOfLength")
    )
    snapshot.make(quiet, tmp_path / "quiet", Inline())
    first = [document.meta["number"] for document in read_output(tmp_path / "quiet")]
    kept = [document.meta["number"] for document in read_output(tmp_path / "out")]
    assert 5 in first and kept == [number for number in first if number not in (5, 12)]


def test_a_step_that_always_fails_stops_the_run(tmp_path):
    chosen = pipeline(tmp_path, corpus(tmp_path / "data"), mine("Broken"), part_megabytes=1.0)
    for workers in (Inline(), LocalWorkers(1)):
        with pytest.raises(DataError, match="failed on 20 documents in a row"):
            snapshot.make(chosen, tmp_path / "out", workers)


RUN = """
import sys
from pathlib import Path
from ownlm.data.flow import recipe, snapshot
from ownlm.data.flow.workers import LocalWorkers
snapshot.make(recipe.load(sys.argv[1]), Path(sys.argv[2]), LocalWorkers(2))
"""


def killed_until_done(file: Path, out: Path, moments: list[float]) -> int:
    """Start the run again and again and kill -9 it at those moments, the last time not at all; returns the kills."""
    kills = 0
    for moment in [*moments, 600.0]:
        process = subprocess.Popen([sys.executable, "-c", RUN, str(file), str(out)], stderr=subprocess.DEVNULL,
                                   env={**os.environ, "OWNLM_QUIET": "1"}, start_new_session=True)  # fmt: skip
        try:
            process.wait(moment)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            kills += 1
            continue
        assert process.returncode == 0
        break
    return kills


@pytest.mark.parametrize("num_kills", [3, pytest.param(20, marks=pytest.mark.slow)])
def test_killed_at_random_moments_it_gives_the_same_bytes(tmp_path, num_kills):
    chosen = pipeline(tmp_path, corpus(tmp_path / "data", 200, {50: "CRASH"}), mine("Trouble"), *STEPS)
    manifest, _ = snapshot.make(chosen, tmp_path / "undisturbed", LocalWorkers(2))
    rng = random.Random(num_kills)
    kills = killed_until_done(
        tmp_path / "pipeline.yaml", tmp_path / "killed", [rng.uniform(0.4, 1.6) for _ in range(num_kills)]
    )
    assert kills >= 1
    assert files_of(tmp_path / "killed") == files_of(tmp_path / "undisturbed")
    assert artifact.read(tmp_path / "killed").digest == manifest.digest


def test_a_worker_killed_from_outside_is_an_error_and_the_run_goes_on_afterwards(tmp_path):
    chosen = pipeline(
        tmp_path, corpus(tmp_path / "data", 40, {20: "SLEEP"}), mine("Trouble"), seconds_per_document=100
    )
    process = subprocess.Popen([sys.executable, "-c", RUN, str(tmp_path / "pipeline.yaml"), str(tmp_path / "out")],
                               stderr=subprocess.PIPE, text=True, start_new_session=True)  # fmt: skip
    deadline = time.monotonic() + 30
    while not list((tmp_path / "out.partial").glob("work/stage-0/*.events")) and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    time.sleep(0.2)
    left = subprocess.run(
        ["pgrep", "-f", f"flow.worker {process.pid}"], capture_output=True, text=True
    ).stdout
    assert left == ""
    assert chosen.recipe.name == "test"


def test_removing_a_source_and_comparing_versions(tmp_path):
    data = corpus(tmp_path / "data")
    whole = pipeline(tmp_path, data, "clean")
    snapshot.make(whole, tmp_path / "one", Inline())
    facts = whole.as_dict()
    facts["recipe"]["steps"].insert(0, {"remove": {"sources": ["0010.jsonl*"]}})
    snapshot.make(recipe.from_dict(facts), tmp_path / "two", Inline())
    found = compare.compare(tmp_path / "one", tmp_path / "two")
    assert (found["num_added"], found["num_removed"], found["num_changed"]) == (0, 10, 0)
    assert all(row["source"].startswith("0010.jsonl") for row in found["removed"])
    assert any("remove" in line for line in found["settings"])
    assert compare.compare(tmp_path / "one", tmp_path / "one")["same"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"steps": ["cleen"]}, "did you mean clean"), ({"steps": [{"clean": {"x": 1}}]}, "clean.x"), ({"stepps": []}, "stepps"),
        ({"steps": [{"a": {}, "b": {}}]}, "not written as one"), ({"steps": ["gone.py:Step"]}, "does not exist"),
        ({"steps": [f"{MINE}:Nothing"]}, "Nothing"), ({"steps": [f"{MINE}:np"]}, "Settings"), ({"seed": -1}, "seed"),
        ({"read": [{"path": "x", "formatt": "auto"}]}, "formatt"),
    ],
)  # fmt: skip
def test_a_wrong_pipeline_is_refused_by_name(tmp_path, change, said):
    file = tmp_path / "pipeline.yaml"
    file.write_text(yaml.safe_dump({"name": "x", "read": ["data"], **change}))
    with pytest.raises(UsageError) as caught:
        recipe.load(file)
    assert said in str(caught.value)


def test_changed_texts_are_told_from_new_ones(tmp_path):
    data = corpus(tmp_path / "data", 20)
    snapshot.make(pipeline(tmp_path, data, "clean"), tmp_path / "one", Inline())
    snapshot.make(pipeline(tmp_path, data, "clean", mine("Shout")), tmp_path / "two", Inline())
    found = compare.compare(tmp_path / "one", tmp_path / "two")
    assert (found["num_added"], found["num_removed"], found["num_changed"]) == (0, 0, 20)


def test_an_error_keeps_its_kind_on_the_way_from_a_worker(tmp_path):
    """A missing package is no fault of the documents: none is quarantined, and the user reads what to install."""
    chosen = pipeline(tmp_path, corpus(tmp_path / "data", 20), mine("NeedsPackage"))
    for workers in (Inline(), LocalWorkers(1)):
        with pytest.raises(MissingDependency, match="pip install nothing"):
            snapshot.make(chosen, tmp_path / "out", workers)


def test_a_step_that_hangs_on_everything_ends(tmp_path):
    chosen = pipeline(
        tmp_path, corpus(tmp_path / "data", 3), mine("HangsFromTheStart"), seconds_per_document=0.2
    )
    with pytest.raises(DataError, match="3 x took too long"):
        snapshot.make(chosen, tmp_path / "out", LocalWorkers(1))


@pytest.mark.parametrize("write", [1, 2, 5])
def test_a_full_disk_is_said_and_loses_nothing(tmp_path, monkeypatch, write):
    """The k-th durable write of every process fails; no document is blamed, and the run goes on afterwards."""
    chosen = pipeline(tmp_path, corpus(tmp_path / "data"), *STEPS)
    monkeypatch.setenv("OWNLM_FAULT", f"ENOSPC@{write}-")
    with pytest.raises(MachineError, match="No space left"):
        snapshot.make(chosen, tmp_path / "out", LocalWorkers(2))
    monkeypatch.delenv("OWNLM_FAULT")
    manifest, _ = snapshot.make(chosen, tmp_path / "out", LocalWorkers(2))
    assert manifest.metrics["num_quarantined"] == 0 and artifact.verify(tmp_path / "out") == []


def test_nothing_left_says_why(tmp_path):
    chosen = pipeline(tmp_path, corpus(tmp_path / "data"), mine("Short", least=99))
    with pytest.raises(DataError, match="60 x few words"):
        snapshot.make(chosen, tmp_path / "out", Inline())


def test_the_output_of_something_else_is_not_overwritten(tmp_path):
    (tmp_path / "out").mkdir()
    with pytest.raises(UsageError, match="not a data snapshot"):
        snapshot.make(pipeline(tmp_path, corpus(tmp_path / "data"), "clean"), tmp_path / "out", Inline())
