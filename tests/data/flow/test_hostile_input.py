"""Poison among good files, whole pipelines: everything good comes out, every poison file is in quarantine with a reason.

The quick size runs in the fast tier; 300 poison files among 20,000 good ones, and the loss of throughput when one
document in a hundred kills its worker, in the slow one.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest
import yaml

from ownlm.data import store
from ownlm.data.flow import recipe, snapshot
from ownlm.data.flow.execute import read_output
from ownlm.data.flow.workers import LocalWorkers
from ownlm.data.funnel import unbalanced

sys.path.insert(0, str(Path(__file__).parents[1]))
import poison

MINE = Path(__file__).parent / "steps_of_mine.py"


@pytest.mark.parametrize(
    ("num_poison", "num_good"),
    [(30, 60), pytest.param(300, 20_000, marks=[pytest.mark.slow, pytest.mark.timeout(900)])],
)
def test_good_files_come_out_and_poison_is_quarantined(tmp_path, num_poison, num_good):
    pytest.importorskip("pypdfium2")
    data = tmp_path / "data"
    made = {file.name for file in poison.make(data / "poison", num_poison, seed=1)}
    for number in range(num_good):
        folder = data / f"good{number % 20:02d}"
        folder.mkdir(exist_ok=True)
        (folder / f"{number:05d}.txt").write_text(f"Good document number {number}.\n")
    outside = sorted(path.name for path in tmp_path.iterdir())
    file = tmp_path / "pipeline.yaml"
    file.write_text(yaml.safe_dump({"name": "poison", "read": [str(data)], "steps": ["clean"]}))
    manifest, _ = snapshot.make(recipe.load(file), tmp_path / "out", LocalWorkers(2))
    texts = {document.text for document in read_output(tmp_path / "out")}
    assert texts == {f"Good document number {number}.\n" for number in range(num_good)}
    rows = list(store.read_rows(tmp_path / "out" / "quarantine.jsonl.zst"))
    found = {
        row["source"].rpartition("poison/")[2].partition("#")[0].partition("@")[0].partition("!")[0]
        for row in rows
    }
    assert made <= found and all(row["reason"] for row in rows)
    assert unbalanced(manifest.metrics["funnel"]["steps"]) == []
    assert sorted(path.name for path in tmp_path.iterdir() if not path.name.startswith(".")) == sorted(
        [*outside, "out", "pipeline.yaml"]
    )


@pytest.mark.slow
def test_one_killer_in_a_hundred_costs_little(tmp_path):
    """C2: in = out + quarantine, and the run is not much longer. The killers crash or want too much memory; a hang
    costs its time limit by definition (here there is none)."""
    seconds = {}
    for name, every in (("calm", 0), ("killers", 100)):
        data = tmp_path / f"{name}.jsonl"
        lines = []
        for number in range(4000):
            bad = every and number % every == 50
            word = ("CRASH " if number % 200 == 50 else "MEMORY ") if bad else "calm "
            lines.append('{"text": "%s"}' % (word * 300))
        data.write_text("\n".join(lines))
        file = tmp_path / f"{name}.yaml"
        steps = ["clean", {f"{MINE}:Trouble": {}}]
        file.write_text(yaml.safe_dump({"name": name, "read": [str(data)], "steps": steps}))
        started = time.monotonic()
        manifest, _ = snapshot.make(recipe.load(file), tmp_path / name, LocalWorkers(2))
        seconds[name] = time.monotonic() - started
        lost = 40 if every else 0
        assert (
            manifest.metrics["num_quarantined"] == lost and manifest.metrics["num_documents"] == 4000 - lost
        )
    assert seconds["killers"] < 5 * seconds["calm"] + 5, seconds
