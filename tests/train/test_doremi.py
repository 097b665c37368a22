"""DoReMi: the update by hand; weights go where there is something to learn and the worst domain gains."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from ownlm.data.mix.mix import Mix
from ownlm.errors import UsageError
from ownlm.model.config import ModelConfig
from ownlm.model.decoder import Decoder
from ownlm.train import doremi
from ownlm.train.batches import ShardBatches
from ownlm.train.config import TrainConfig
from ownlm.train.loop import train

V, T, ROWS, STEPS = 32, 16, 12, 40


def text(name: str, length: int, seed: int) -> np.ndarray:
    """noise: nothing to learn. easy: counts. hard: a random table of 32 entries, a tenth of it wrong."""
    random, table = np.random.default_rng(seed), np.random.default_rng(5).permutation(V)
    if name == "noise":
        return random.integers(0, V, length).astype(np.uint16)
    if name == "easy":
        return (np.arange(length) % 4).astype(np.uint16)
    found = np.zeros(length, np.uint16)
    wrong = random.random(length) < 0.1
    for n in range(1, length):
        found[n] = random.integers(V) if wrong[n] else table[found[n - 1]]
    return found


FLOOR = {"noise": np.log(V), "easy": 0.0, "hard": 0.1 * np.log(V) + 0.325}  # nats: what no model goes below
DOMAINS = {name: ShardBatches(text(name, 8000, 0), T, ROWS, 1) for name in FLOOR}
SAID: list[str] = []


def model(seed: int) -> Decoder:
    return Decoder(ModelConfig(V, 32, 64, 1, 2, 1, 16, T), seed)


def settings(seed: int, steps: int = STEPS) -> TrainConfig:
    return TrainConfig(
        steps, seed=seed, compile=False, precision="float32", checkpoint_seconds=1e9, threads=1
    )


def trained(weights: dict[str, float], seed: int, folder: Path) -> Decoder:
    found = model(seed)
    for _ in train(found, doremi.mixture(DOMAINS, weights, ROWS, seed), settings(seed), folder, SAID.append):
        pass
    return found


def excess(found: Decoder) -> dict[str, float]:
    """Nats per token above the floor, on text of another seed."""
    held = {name: ShardBatches(text(name, 3000, 9), T, 100, 0)(0) for name in FLOOR}
    return {n: float(doremi.losses(found, b.inputs, b.targets).mean()) - FLOOR[n] for n, b in held.items()}


def test_update_by_hand() -> None:
    found = doremi.updated(np.array([0.5, 0.5]), np.array([0.5, 0.5]), np.array([np.log(3), 0.0]), 1.0, 0.1)
    np.testing.assert_allclose(found, [0.9 * 0.75 + 0.05, 0.9 * 0.25 + 0.05])
    far = doremi.updated(np.array([0.5, 0.5]), np.array([0.5, 0.5]), np.array([2000.0, 0.0]), 1.0, 0.0)
    np.testing.assert_allclose(far, [1.0, 0.0])


def test_mixture_is_pure_and_has_the_asked_shares() -> None:
    marked = {n: ShardBatches(np.full(2000, k, np.uint16), T, ROWS, 1) for k, n in enumerate(("a", "b"))}
    batch_at = doremi.mixture(marked, {"a": 3.0, "b": 1.0}, ROWS, 7)
    first = batch_at(5)
    assert first.inputs.shape == (ROWS, T) and torch.equal(first.inputs, batch_at(5).inputs)
    share = np.mean([float((batch_at(step).inputs == 0).float().mean()) for step in range(200)])
    assert share == pytest.approx(0.75, abs=0.03)
    for wrong in ({"a": 1.0}, {"a": -1.0, "b": 2.0}, {"a": 0.0, "b": 0.0}, {"a": float("nan"), "b": 1.0}):
        with pytest.raises(UsageError, match="needs a weight"):
            doremi.mixture(marked, wrong, ROWS, 7)
    with pytest.raises(UsageError, match="too small"):
        doremi.mixture(marked, {"a": 1.0, "b": 0.0}, ROWS + 1, 7)(0)


def test_the_worst_domain_gains(tmp_path: Path) -> None:
    uniform = dict.fromkeys(FLOOR, 1.0)
    reference = trained(uniform, 0, tmp_path / "reference")
    steps = list(doremi.proxy(model(10), reference, DOMAINS, settings(0), smoothing=0.05, notice=SAID.append))
    assert len(steps) == STEPS
    for step in steps:
        assert (
            sum(step.weights.values()) == pytest.approx(1) and min(step.weights.values()) >= 0.05 / 3 - 1e-9
        )
        assert min(step.excess.values()) >= 0
    weights = doremi.write(tmp_path / "weights.json", steps)
    assert (
        weights["hard"] > 1 / 3 > weights["noise"]
    )  # "easy" is soon learned, and near "hard" at so few steps
    plain, chosen = (excess(trained(w, 1, tmp_path / n)) for n, w in (("a", uniform), ("b", weights)))
    assert max(chosen.values()) < max(plain.values()), (plain, chosen)
    # the file is what `mix` reads
    mix = Mix(weights_file=tmp_path / "weights.json")
    assert mix._normalised() == pytest.approx(weights)
    assert json.loads((tmp_path / "weights.json").read_text())["method"] == "DoReMi"


def test_average_of_the_steps() -> None:
    steps = [
        doremi.WeightStep(n, {"a": share, "b": 1 - share}, {}, 0.0)
        for n, share in enumerate((1.0, 0.5, 0.3, 0.1))
    ]
    assert doremi.averaged(steps)["a"] == pytest.approx(0.475)
    assert doremi.averaged(steps, 0.5) == pytest.approx({"a": 0.2, "b": 0.8})
    with pytest.raises(UsageError):
        doremi.averaged([])


def test_one_reference_for_each_domain(tmp_path: Path) -> None:
    """A reference that knows `hard` by heart and none of the rest: the weight goes to hard."""
    blank = model(20)
    knows = model(21)
    with torch.no_grad():
        knows.embedding.weight.mul_(0)  # every token equally likely: log V, what noise costs at best
    references = {
        "noise": knows,
        "easy": knows,
        "hard": trained(dict(FLOOR, noise=0.0, easy=0.0), 2, tmp_path),
    }
    steps = list(
        doremi.proxy(blank, references, DOMAINS, settings(0, 25), smoothing=0.01, notice=SAID.append)
    )
    last = steps[-1].weights
    assert last["hard"] == max(last.values()) and last["hard"] > 0.5
    with pytest.raises(UsageError, match="no reference"):
        next(doremi.proxy(blank, {"noise": knows}, DOMAINS, settings(0), notice=SAID.append))
    with pytest.raises(UsageError, match="average"):
        doremi.averaged(steps, 1.0)
