"""The planner: the same on the same type of machine, monotone, overridable, and every formula true."""

from __future__ import annotations

import ast
import io
import itertools
import math
import operator
import subprocess
import sys
from typing import Any

import pytest

from ownlm.errors import ArtifactError, DataError, MachineError, UsageError
from ownlm.model.count import num_parameters
from ownlm.model.presets import from_dial
from ownlm.plan.hardware import EDGES, EFFICIENCY, Machine, efficiency, floor_peak
from ownlm.plan.plan import Plan
from ownlm.plan.predict import plan
from ownlm.plan.quantity import human

MACHINE = Machine(390.0, 24 * 10**9, 100 * 10**9, 2)
MB = 1_000_000


def make(size: int = 12 * MB, minutes: float | None = 8.0, machine: Machine = MACHINE, **sizes: Any) -> Plan:
    return plan(size, minutes=minutes, machine=machine, **sizes)


def at(gflops: float, **changes: int) -> Machine:
    return Machine(gflops, changes.get("memory", MACHINE.memory), changes.get("disk", MACHINE.disk), 2)


def test_two_runs_on_a_noisy_machine_plan_the_same() -> None:
    expected = make(machine=at(300)).as_dict()
    for gflops in (301.7, 333.0, 380.0, 403.0, 420.0):
        assert make(machine=at(gflops)).as_dict() == expected
    assert make(machine=at(390, memory=23 * 10**9, disk=50 * 10**9)).as_dict() == expected


@pytest.mark.parametrize(("low", "high"), [(300, 420), (157, 198), (75, 120)])
def test_measured_machine_types_lie_inside_one_bin(low: float, high: float) -> None:
    assert floor_peak(low) == floor_peak(high) <= low


def test_bins_double_and_round_down() -> None:
    assert all(upper == 2 * lower for lower, upper in itertools.pairwise(EDGES))
    assert floor_peak(280) == 280 and floor_peak(279.9) == 140
    for bad in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(MachineError):
            floor_peak(bad)


def test_efficiency_goes_through_its_table() -> None:
    for width, share in EFFICIENCY:
        assert efficiency(width) == pytest.approx(share)
    assert efficiency(8) == EFFICIENCY[0][1] and efficiency(10**6) == EFFICIENCY[-1][1]


_OPERATORS = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv}


def evaluate(node: ast.AST, plan_: Plan) -> float:
    if isinstance(node, ast.Expression):
        return evaluate(node.body, plan_)
    if isinstance(node, ast.BinOp):
        return float(_OPERATORS[type(node.op)](evaluate(node.left, plan_), evaluate(node.right, plan_)))
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        return node.value
    if isinstance(node, ast.Name) and node.id in plan_:
        return plan_[node.id]
    raise SyntaxError("words, not arithmetic")


@pytest.mark.parametrize("known", [{}, {"train_bytes": 9 * MB, "heldout_bytes": MB // 2}])
def test_formulas_give_the_values(known: dict[str, int]) -> None:
    found = make(**known)
    checked = []
    for quantity in found.quantities:
        try:
            value = evaluate(ast.parse(quantity.formula, mode="eval"), found)
        except SyntaxError:
            continue
        assert value == pytest.approx(quantity.value, rel=1e-6), quantity
        checked.append(quantity.name)
    expected = {"unique_tokens", "tokens_per_second", "tokens", "epochs", "sft_tokens", "bits_per_byte", "minutes_total",
                "minutes_corpus", "minutes_pretrained", "minutes_model", "memory_corpus", "disk"}  # fmt: skip
    assert expected <= set(checked), expected - set(checked)


def test_numbers_come_from_the_model_itself() -> None:
    found = make(depth=3)
    assert found["parameters"] == num_parameters(from_dial(3, 8192, 1024))


def test_the_budget_is_kept() -> None:
    for minutes in (4, 8, 30, 240):
        for size in (MB // 2, 5 * MB, 12 * MB, 100 * MB):
            try:
                found = make(size, minutes)
            except UsageError:
                assert size / MB > minutes, "refused only when the text is large for the time"
                continue
            assert found["minutes_total"] <= minutes * 1.001
            assert found["steps"] >= 5 and found["sft_steps"] >= 5


def test_more_time_gives_no_smaller_model_no_fewer_tokens_no_higher_loss() -> None:
    plans = [make(minutes=m) for m in (5, 8, 15, 30, 60, 240, 1000)]
    for name in ("depth", "parameters"):
        values = [p[name] for p in plans]
        assert values == sorted(values), name
    losses = [p["loss"] for p in plans]
    assert all(later <= earlier * 1.006 for earlier, later in itertools.pairwise(losses))
    assert plans[-1]["depth"] > plans[0]["depth"]


def test_at_one_depth_more_time_gives_more_steps() -> None:
    steps = [make(minutes=m, depth=2)["steps"] for m in (5, 8, 15, 30)]
    assert steps == sorted(steps) and len(set(steps)) == len(steps)


def test_faster_machines_do_more() -> None:
    assert make(machine=at(600), depth=2)["steps"] > make(machine=at(300), depth=2)["steps"]


def test_small_text_gets_a_smaller_model_and_a_notice() -> None:
    small, large = make(100_000, 60), make(50 * MB, 60)
    assert small["depth"] < large["depth"]
    assert any("passes over it" in notice for notice in small.notices)
    assert not any("passes over it" in notice for notice in large.notices)


def test_repetition_is_capped() -> None:
    found = make(3 * MB, 10_000)
    assert found["epochs"] <= 16.01
    assert any("would only repeat" in notice for notice in found.notices)


@pytest.mark.parametrize(("name", "value"), [("depth", 7), ("steps", 33), ("sft_steps", 17)])
def test_what_is_given_wins_and_is_marked(name: str, value: int) -> None:
    free, fixed = make(), make(**{name: value})
    assert free.quantity(name).source == "derived" and free[name] != value
    assert fixed[name] == value and fixed.quantity(name).source == "override"
    assert fixed.quantity(name).formula == "set explicitly"
    others = {"depth", "steps", "sft_steps"} - {name}
    assert all(fixed.quantity(other).source == "derived" for other in others)


def test_steps_need_no_time_budget() -> None:
    found = make(50_000, None, steps=20, sft_steps=10, depth=2)
    assert (found["steps"], found["sft_steps"], found["depth"]) == (20, 10, 2)
    assert "minutes" not in found and found["minutes_total"] > 0
    with pytest.raises(UsageError, match="time budget"):
        make(50_000, None, steps=20)


def test_explicit_steps_beyond_the_budget_are_done_and_said() -> None:
    found = make(minutes=4, steps=5000, sft_steps=100, depth=4)
    assert found["steps"] == 5000
    assert any("more than the 4 given" in notice for notice in found.notices)


def test_refusals_have_three_parts() -> None:
    with pytest.raises(UsageError) as short:
        make(12 * MB, 0.5)
    assert all((short.value.what, short.value.values, short.value.fix)) and "--minutes" in short.value.fix
    needed = float(short.value.fix.split("--minutes ")[1].split(",")[0])
    assert make(12 * MB, needed)["minutes_total"] <= needed
    with pytest.raises(MachineError, match="memory"):
        make(machine=at(390, memory=10**9))
    with pytest.raises(MachineError, match="disk"):
        make(machine=at(390, disk=10**6))
    with pytest.raises(MachineError, match="depth 40"):
        make(minutes=10_000, depth=40, machine=at(390, memory=8 * 10**9))
    with pytest.raises(DataError):
        make(0)
    with pytest.raises(UsageError, match="8192"):
        make(batch_tokens=8000)
    for bad in ({"depth": 0}, {"steps": -1}, {"minutes": 0}, {"minutes": math.nan}):
        with pytest.raises(UsageError):
            make(**bad)


def test_memory_limits_the_depth() -> None:
    roomy, tight = make(200 * MB, 3000), make(200 * MB, 3000, at(390, memory=6 * 10**9))
    assert tight["depth"] < roomy["depth"] and tight["memory_peak"] <= 0.9 * 6e9


def test_stored_and_read_back() -> None:
    found = make(steps=40)
    assert Plan.from_dict(found.as_dict()) == found
    for broken in (
        {},
        {"format": 2, "quantities": [], "notices": []},
        {"format": 1, "quantities": [{}], "notices": []},
    ):
        with pytest.raises(ArtifactError):
            Plan.from_dict(broken)


def test_compare() -> None:
    found = make()
    rows = found.compare({"minutes_total": found["minutes_total"] * 2, "loss": found["loss"]})
    assert [(row.name, row.ratio) for row in rows] == [("loss", 1.0), ("minutes_total", 2.0)]
    assert rows[1].measured == 2 * rows[1].predicted and rows[1].unit == "min"
    with pytest.raises(UsageError, match="did you mean minutes_total"):
        found.compare({"minutes_totl": 1})


def test_table_shows_every_number_and_the_measured_ones() -> None:
    from rich.console import Console

    found = make()
    console = Console(width=240, record=True, file=io.StringIO())
    console.print(found.table({"loss": found["loss"] * 1.25}))
    text = console.export_text()
    assert all(quantity.name in text for quantity in found.quantities)
    assert "1.25" in text


def test_human() -> None:
    assert human(1234, "steps") == "1,234 steps" and human(5.1e6, "") == "5.10 M"
    assert (
        human(2.5e9, "bytes") == "2.5 GB"
        and human(0.4567, "x") == "0.457 x"
        and human(999, "bytes") == "999 bytes"
    )


def test_torch_is_not_imported() -> None:
    code = "import sys, ownlm.plan.predict, ownlm.govern.card, ownlm.govern.trace; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
