"""A ladder is run, interrupted and gone on with; its results are what a fit needs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from ownlm.errors import ArtifactError, DataError, UsageError
from ownlm.model import count
from ownlm.model.decoder import Decoder
from ownlm.train.ladder import climb, rungs, text
from ownlm.train.ladder.result import read_results
from ownlm.train.ladder.rungs import LadderSettings

SETTINGS = LadderSettings(
    sizes=("1x16", "2x32"), tokens=(512, 1024), context=32, batch_tokens=128, heldout_tokens=520,
    train={"precision": "float32", "threads": 1},
)  # fmt: skip


@pytest.fixture(scope="module")
def words() -> text.LadderText:
    random = np.random.default_rng(0)
    ids = np.repeat(random.integers(0, 64, 3000), 3).astype(np.uint8)  # every token three times: learnable
    return text.split(ids, 64, SETTINGS.heldout_tokens, SETTINGS.context, "made up")


def silent(told: str) -> None:
    del told


def test_sizes_are_depths_or_layers_and_width() -> None:
    assert rungs.shape("4", 512, 64).num_layers == 4
    model = rungs.shape("3x96", 256, 64)
    assert (model.num_layers, model.hidden_size) == (3, 96)
    assert sum(p.numel() for p in Decoder(model).parameters()) == count.num_parameters(model)
    for wrong in ("x", "0x32", "2x33", "2 x 32", "-1"):
        with pytest.raises(UsageError):
            rungs.shape(wrong, 256, 64)


def test_the_grid_is_cheapest_first_within_the_budget() -> None:
    fit, left = rungs.rungs(SETTINGS, 64)
    assert [r.flops for r in fit] == sorted(r.flops for r in fit) and len(fit) == 4 and not left
    assert fit[0].non_embedding == fit[0].parameters - 64 * 16
    budget = 6.0 * fit[2].parameters * fit[2].tokens
    fit, left = rungs.rungs(SETTINGS.model_copy(update={"budget": budget}), 64)
    assert len(fit) == 3 and len(left) == 1
    with pytest.raises(UsageError, match="no run"):
        rungs.rungs(SETTINGS.model_copy(update={"budget": 1.0}), 64)
    with pytest.raises(UsageError, match="whole windows"):
        rungs.rungs(SETTINGS.model_copy(update={"batch_tokens": 100}), 64)


def test_lengths_can_follow_the_size() -> None:
    settings = SETTINGS.model_copy(update={"per_parameter": (1.0,)})
    for rung in rungs.rungs(settings, 64)[0]:
        assert 0 <= rung.parameters - rung.tokens < SETTINGS.batch_tokens


def test_heldout_text_is_cut_out_and_counted(words: text.LadderText) -> None:
    assert len(words.train) + len(words.heldout) == 9000
    assert len(words.heldout) == 2 * (8 * 32 + 1)
    with pytest.raises(DataError):
        text.split(words.train, 64, 5000, 32, "")


def test_heldout_loss_is_the_mean_over_whole_windows(words: text.LadderText) -> None:
    model = Decoder(rungs.shape("1x16", 64, 32))
    found, stderr = text.heldout_loss(model, words.heldout, 32, rows=3)
    import torch

    ids = torch.from_numpy(words.heldout.astype(np.int64))
    by_hand = [
        torch.nn.functional.cross_entropy(model(ids[None, s : s + 32])[0], ids[s + 1 : s + 33]).item()
        for s in range(0, len(ids) - 32, 32)
    ]
    assert found == pytest.approx(np.mean(by_hand), rel=1e-5)
    assert stderr == pytest.approx(np.std(by_hand, ddof=1) / len(by_hand) ** 0.5, rel=1e-3)


def test_a_ladder_is_gone_on_with_and_ends_in_the_same_numbers(tmp_path: Path, words: text.LadderText) -> None:  # fmt: skip
    plan, _ = rungs.rungs(SETTINGS, 64)
    whole = [run for run, _ in climb.climb(plan, SETTINGS, words, tmp_path / "whole", silent)]
    steps = climb.climb(plan, SETTINGS, words, tmp_path / "cut", silent)
    next(steps)
    next(steps)
    steps.close()
    assert len(read_results(tmp_path / "cut")) == 2
    rest = list(climb.climb(plan, SETTINGS, words, tmp_path / "cut", silent))
    assert [new for _, new in rest] == [False, False, True, True]
    assert [run.loss for run, _ in rest] == [run.loss for run in whole]
    assert read_results(tmp_path / "cut") == [run for run, _ in rest]
    assert not list((tmp_path / "cut").glob("runs/*/checkpoints"))
    by_name = {run.name: run.loss for run in whole}
    assert by_name["2x32-1024"] < by_name["2x32-512"] < np.log(64), "longer training is better than shorter"


def test_a_run_killed_in_the_middle_goes_on_inside(tmp_path: Path, words: text.LadderText) -> None:
    plan, _ = rungs.rungs(SETTINGS, 64)
    settings = SETTINGS.model_copy(update={"train": {**SETTINGS.train, "checkpoint_steps": 1}})
    whole = next(climb.climb(plan[:1], settings, words, tmp_path / "whole", silent))[0]

    def stop(rung: rungs.Rung, step: int) -> None:
        if step == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        next(climb.climb(plan[:1], settings, words, tmp_path / "cut", silent, step_seen=stop))
    seen: list[int] = []
    again = next(climb.climb(plan[:1], settings, words, tmp_path / "cut", silent, step_seen=lambda r, s: seen.append(s)))[0]  # fmt: skip
    assert seen[0] == 3 and again.loss == whole.loss


def test_a_folder_of_another_ladder_is_refused(tmp_path: Path, words: text.LadderText) -> None:
    plan, _ = rungs.rungs(SETTINGS, 64)
    next(climb.climb(plan[:1], SETTINGS, words, tmp_path, silent))
    other = SETTINGS.model_copy(update={"seed": 1})
    with pytest.raises(ArtifactError, match="other settings"):
        next(climb.climb(plan[:1], other, words, tmp_path, silent))


def test_an_unknown_training_setting_is_named() -> None:
    plan, _ = rungs.rungs(SETTINGS, 64)
    with pytest.raises(UsageError, match="num_layers"):
        climb.train_config(plan[0], SETTINGS.model_copy(update={"train": {"num_layers": 3}}))


def test_the_estimate_of_what_is_left(tmp_path: Path, words: text.LadderText) -> None:
    plan, _ = rungs.rungs(SETTINGS, 64)
    assert climb.remaining_seconds(plan, []) is None
    done = [run for run, _ in climb.climb(plan, SETTINGS, words, tmp_path, silent)]
    assert climb.remaining_seconds(plan, done) == 0.0
    assert climb.remaining_seconds(plan, done[:1]) == pytest.approx(
        (sum(r.flops for r in plan) - plan[0].flops) * done[0].seconds / done[0].flops
    )
    row = json.loads((tmp_path / "results.jsonl").read_text().splitlines()[0])
    assert row["tokens"] == 512 and row["unique_tokens"] == len(words.train)
