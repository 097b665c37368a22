"""Predictions: a real ladder's held-back larger run lies inside its interval; made-up worlds say when it would not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ownlm.errors import ArtifactError, DataError, UsageError
from ownlm.plan.scaling import chinchilla, page, predict, summary
from ownlm.plan.scaling.chinchilla import Point, fit
from ownlm.train.ladder.result import LadderRun, from_row, read_results

RESULTS = Path(__file__).parents[3] / "bench" / "results" / "scaling-2026-11-21.json"


@pytest.fixture(scope="module")
def real() -> list[LadderRun]:
    return read_results(RESULTS)


def split(runs: list[LadderRun]) -> tuple[list[LadderRun], LadderRun]:
    """(the ladder, the run with the most compute, held back)."""
    largest = max(runs, key=lambda r: r.parameters * r.tokens)
    return [r for r in runs if r is not largest], largest


def test_the_held_back_larger_run_lies_in_its_interval(real: list[LadderRun]) -> None:
    ladder, held = split(real)
    found = predict.predict(fit(predict.points(ladder), 60), held.parameters, held.tokens, held.unique_tokens)
    assert found.contains(held.loss), f"{held.loss} not in [{found.low}, {found.high}]"
    assert found.reach > 1.4 and found.num_backtests >= 1
    assert abs(found.loss / held.loss - 1) < 0.1


def test_the_interval_says_something(real: list[LadderRun]) -> None:
    """It is narrower than the range of the ladder's own losses: guessing any of them would be wider."""
    ladder, held = split(real)
    found = predict.predict(fit(predict.points(ladder), 60), held.parameters, held.tokens, held.unique_tokens)
    losses = [r.loss for r in ladder]
    assert found.high - found.low < max(losses) - min(losses)


def test_the_summary_and_the_page_hold_every_law(real: list[LadderRun]) -> None:
    found = summary.summarise(real, samples=20)
    names = " ".join(row.name for row in found.rows)
    for word in ("alpha", "beta", "gamma", "joint", "Chinchilla", "1 envelope", "2 isoFLOP", "3 parametric"):
        assert word in names
    assert {row.published for row in found.rows if row.name.startswith(("alpha", "beta"))} == {"0.076", "0.095"}  # fmt: skip
    drawn = page.render(real, found)
    assert drawn.count("<svg") == 4 and "<script" not in drawn and "http://" not in drawn.replace("http://www.w3.org/2000/svg", "")  # fmt: skip
    assert "nan" not in drawn.lower().replace("nano", "")


def made_up(noise: float, seed: int) -> list[Point]:
    random = np.random.default_rng(seed)
    truth = np.array([[1.5, 60.0, 0.3, 500.0, 0.4]])
    return [Point(n, d, float(chinchilla.losses(truth, n, d)[0] * np.exp(random.normal(0, noise))))
            for n in np.geomspace(1e5, 3e6, 4) for d in np.geomspace(1e6, 3e7, 4)]  # fmt: skip


def test_intervals_contain_new_runs_of_worlds_that_follow_the_law() -> None:
    """A run of four times the size and length, over 12 worlds: at least 10 are inside at 95 %."""
    truth = np.array([[1.5, 60.0, 0.3, 500.0, 0.4]])
    inside = 0
    for seed in range(12):
        found = predict.predict(fit(made_up(0.01, seed), 30), 1.2e7, 1.2e8, 1e12)
        new = float(chinchilla.losses(truth, 1.2e7, 1.2e8)[0] * np.exp(np.random.default_rng(100 + seed).normal(0, 0.01)))  # fmt: skip
        inside += found.contains(new)
    assert inside >= 10


def test_a_world_that_breaks_the_law_gets_a_wider_interval() -> None:
    straight = made_up(0.002, 0)
    bent = [replace(p, loss=p.loss * (1 + 0.15 * (p.parameters > 5e5))) for p in straight]
    widths = []
    for points in (straight, bent):
        found = predict.predict(fit(points, 30), 6e6, 6e7, 1e12)
        widths.append((found.high - found.low) / found.loss)
    assert widths[1] > 3 * widths[0]


def test_a_backtest_looks_only_at_cheaper_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[float, float]] = []
    points = made_up(0.0, 0)
    genuine = chinchilla.fit

    def spy(before: list[Point], samples: int = 200) -> chinchilla.ParametricFit:
        seen.append((len(before), max(p.parameters * p.tokens for p in before)))
        return genuine(before, samples)

    monkeypatch.setattr(chinchilla, "fit", spy)
    errors = predict.backtest(points)
    assert len(errors) == len(seen) >= 3 and max(map(abs, errors)) < 1e-3
    assert max(most for _, most in seen) <= 0.5 * max(p.parameters * p.tokens for p in points)


def test_impossible_questions_are_refused() -> None:
    fitted = fit(made_up(0.01, 0), 20)
    for question in ((0.0, 1e6, 1e6), (1e6, -1.0, 1e6)):
        with pytest.raises(UsageError):
            predict.predict(fitted, *question)
    with pytest.raises(UsageError):
        predict.predict(fit(made_up(0.01, 0), 0), 1e6, 1e6, 1e6)


def test_files_that_are_no_ladder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError):
        read_results(tmp_path)
    (tmp_path / "results.jsonl").write_text("{", encoding="utf-8")
    with pytest.raises(ArtifactError):
        read_results(tmp_path)
    with pytest.raises(ArtifactError, match="parameters"):
        from_row({"name": "x"}, "here")
