"""The profile of a few steps: operations that were run, a trace that loads, a timeline that adds up."""

import json

import pytest
import world
from typer.testing import CliRunner

from ownlm.errors import UsageError
from ownlm.train.profile import _timeline, profile


def test_operations_trace_and_memory_of_a_few_steps(tmp_path):
    found = profile(
        world.model(), world.batches(), world.settings(num_steps=3), tmp_path, lambda text: None, warm_up=1
    )
    names = {one.name: one for one in found.operations}
    assert found.num_steps == 2 and sum(one.share for one in found.operations) == pytest.approx(1.0)
    # 2 pieces x 2 blocks x (q, k, v, o, gate, up, down) products forward
    assert names["aten::linear"].calls_per_step == 28
    assert found.operations[0].milliseconds_per_step >= found.operations[-1].milliseconds_per_step
    events = json.loads(found.trace.read_text())["traceEvents"]
    assert {f"ownlm step {n}" for n in (2, 3)} <= {e.get("name") for e in events}
    rows = [json.loads(line) for line in found.memory.read_text().splitlines()]
    assert max(row["bytes"] for row in rows) == found.peak_bytes > 100_000
    assert all(a["microseconds"] <= b["microseconds"] for a, b in zip(rows, rows[1:], strict=False))
    assert found.peak_operation.startswith("aten::")


def test_the_timeline_names_the_innermost_operation():
    events = [
        {"ph": "X", "cat": "cpu_op", "name": "outer", "ts": 0, "dur": 100, "tid": 1},
        {"ph": "X", "cat": "cpu_op", "name": "inner", "ts": 10, "dur": 20, "tid": 1},
        {"ph": "i", "name": "[memory]", "ts": 15, "tid": 1, "args": {"Bytes": 64}},
        {"ph": "i", "name": "[memory]", "ts": 50, "tid": 1, "args": {"Bytes": -64}},
        {"ph": "i", "name": "[memory]", "ts": 200, "tid": 1, "args": {"Bytes": 8}},
    ]
    assert [(row["bytes"], row["operation"]) for row in _timeline(events)] == [
        (64, "inner"),
        (0, "outer"),
        (8, ""),
    ]


def test_without_a_step_to_look_at_it_is_refused(tmp_path):
    with pytest.raises(UsageError, match="2 of them warm-up"):
        profile(world.model(), world.batches(), world.settings(num_steps=2), tmp_path, lambda text: None)


def test_the_command_prints_a_table_and_json(tmp_path):
    import typer

    from ownlm.cli.profile import profile as command

    app = typer.Typer()
    app.command()(command)
    small = ["--depth", "1", "--vocab-size", "64", "--context", "16", "--rows", "2", "--steps", "1", "--eager",
             "--precision", "float32", "--out", str(tmp_path)]  # fmt: skip
    shown = CliRunner().invoke(app, small)
    assert shown.exit_code == 0 and "aten::" in shown.output and "trace.json" in shown.output
    again = CliRunner().invoke(app, [*small, "--json", "--top", "2"])
    facts = json.loads(again.stdout[again.stdout.index("{") :])
    assert len(facts["operations"]) == 2 and facts["peak_bytes"] > 0
