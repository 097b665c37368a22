"""Every recipe runs from its own command line, tiny, on a text of a few kilobytes, and writes what it says it writes."""

import json
import random
import runpy
import sys
from pathlib import Path

import pytest
import torch

RECIPES = Path(__file__).parents[2] / "recipes"
TINY = ["--steps", "6", "--rows", "4", "--context", "64"]


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    r = random.Random(0)
    words = "the model learns a word and then another word from text that is short".split()
    path = tmp_path / "corpus.txt"
    path.write_text("\n".join(" ".join(r.choices(words, k=12)) + "." for _ in range(300)))
    return path


def run(name: str, *arguments: str, corpus: Path, out: Path) -> dict:
    """Run a recipe as a script would be; the JSON file that it writes."""
    before, threads = sys.argv, torch.get_num_threads()
    sys.argv = [name, *arguments, "--data", str(corpus), "--out", str(out)]
    torch.set_num_threads(1)
    try:
        runpy.run_path(str(RECIPES / name), run_name="__main__")
    finally:
        sys.argv = before
        torch.set_num_threads(threads)
    (found,) = out.glob("*.json")
    return json.loads(found.read_text())


def test_every_recipe_is_short_and_is_tested_here() -> None:
    for path in RECIPES.glob("*.py"):
        assert len(path.read_text().splitlines()) <= 150, f"{path.name}: a recipe has at most 150 lines"
        tests = "".join(file.read_text() for file in Path(__file__).parents[1].rglob("test_*.py"))
        assert path.stem in tests, f"{path.name} has no test"


@pytest.mark.parametrize(
    "line",
    [
        "attention",
        *(
            pytest.param(n, marks=pytest.mark.slow)
            for n in ("state-space", "linear", "feed-forward", "wiring")
        ),
    ],
)
def test_compare_architectures(line: str, corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    found = run(
        "compare_architectures.py", line, *TINY, "--width", "32", "--layers", "4", corpus=corpus, out=out
    )
    rows = {row["model"]: row for row in found["rows"]}
    assert len(rows) >= 5 and (out / f"{line}.png").stat().st_size > 5000
    sizes = [row["parameters"] for row in rows.values()]
    assert max(sizes) <= 1.06 * min(sizes), "equal parameters"
    for row in rows.values():
        assert 0 < row["bits_per_byte"] < 9 and 0 <= row["recall"] <= 1 and row["tokens_per_second"] > 0
        assert len(row["first_gradient_norms"]) == 4


def test_char_gpt(corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    found = run("char_gpt.py", "--positions", "all", *TINY, "--steps", "10", corpus=corpus, out=out)
    assert set(found["runs"]) == {"rope", "learned", "sinusoidal", "alibi", "none"}
    for name in ("rope", "none"):
        assert 10_000 <= found["runs"][name]["parameters"] <= 100_000
        assert len(found["runs"][name]["gradient_norms"][0][1]) == 2
    assert (out / "validation.png").exists() and (out / "gradient_flow.png").exists()


def test_bpe_gpt(corpus: Path, tmp_path: Path) -> None:
    found = run(
        "bpe_gpt.py",
        "--tokens",
        "all",
        *TINY,
        "--depth",
        "2",
        "--vocab-size",
        "300",
        corpus=corpus,
        out=tmp_path / "out",
    )
    assert set(found["runs"]) == {"bpe", "characters", "bytes"}
    profile = found["runs"]["bpe"]["profile"]
    assert profile["forward_MFLOP_per_token_measured"] == pytest.approx(
        profile["forward_MFLOP_per_token_formula"], rel=0.02
    )


def test_longer_than_trained(corpus: Path, tmp_path: Path) -> None:
    found = run(
        "longer_than_trained.py",
        *TINY,
        "--context",
        "32",
        "--factor",
        "4",
        "--width",
        "32",
        "--layers",
        "4",
        corpus=corpus,
        out=tmp_path / "out",
    )
    assert found["lengths"] == [32, 64, 128]
    assert {"rope", "alibi", "none", "sinusoidal", "irope", "rope + yarn", "rope + longrope"} <= set(
        found["bits"]
    )


def test_ways_of_writing(corpus: Path, tmp_path: Path) -> None:
    found = run(
        "ways_of_writing.py", *TINY, "--width", "32", "--layers", "2", corpus=corpus, out=tmp_path / "out"
    )
    assert [row["model"] for row in found["rows"]] == [
        "autoregressive",
        "patches",
        "diffusion",
        "diffusion",
        "diffusion",
    ]


def test_sink_and_noise(corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    found = run("sink_and_noise.py", *TINY, corpus=corpus, out=out)["models"]
    assert set(found) == {"plain", "gated", "gated by head", "differential"}
    sizes = [row["parameters"] for row in found.values()]
    assert max(sizes) <= 1.02 * min(sizes), "equal parameters"
    for row in found.values():
        assert all(0 <= row[share] <= 1 for share in ("recall", "sink", "answer", "noise"))
        assert row["answer"] + row["noise"] < 1
    assert (out / "sink_and_noise.png").stat().st_size > 5000


@pytest.mark.slow
def test_data_order(corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = ["--piece", "100", "--orders", "shuffled", "easy-first", "grouped", "--width", "32"]
    found = run("data_order.py", *TINY, *arguments, corpus=corpus, out=out)
    assert [(row["order"], row["seed"]) for row in found["rows"]] == [
        (order, seed) for seed in (0, 1) for order in ("shuffled", "easy-first", "grouped")
    ]
    for row in found["rows"]:
        assert 0.8 < row["epochs"] <= 1.0 and len(row["losses"]) == 6
        assert row["curve"][-1][0] == 6 and row["curve"][-1][1] < row["curve"][0][1]
    first = [row["losses"][0] for row in found["rows"] if row["seed"] == 0]
    assert len(set(first)) == 3  # each order begins with other documents
    assert (out / "data_order.png").stat().st_size > 1000


def test_attribution(corpus: Path, tmp_path: Path) -> None:
    sizes = ["--texts", "40", "--width", "16", "--models", "2", "--subsets", "0", "--seeds", "0"]
    found = run(
        "attribution.py", "--context", "32", "--steps", "12", *sizes, corpus=corpus, out=tmp_path / "out"
    )
    assert [row["method"] for row in found["rows"]] == ["gradients", "tracin", "influence", "ekfac", "trak"]
    for row in found["rows"]:
        assert len(row["ranks"]) == 2 and 1 <= row["ranks"][0] < row["ranks"][1] <= 40 and row["lds"] is None


def test_prune_data(corpus: Path, tmp_path: Path) -> None:
    found = run("prune_data.py", *TINY, "--width", "16", "--seeds", "0", corpus=corpus, out=tmp_path / "out")[
        "rows"
    ]
    assert [row["way"] for row in found] == ["whole", "random", "loss", "middle", "el2n", "influence"]
    whole, *others = found
    assert whole["noise_kept"] == whole["noise"] > 0
    for row in others:
        assert (
            row["texts"] < whole["texts"] and row["tokens"] < whole["tokens"] and 0 < row["bits_per_byte"] < 9
        )


def test_doremi(corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    found = run("doremi.py", *TINY, "--width", "16", "--layers", "1", "--seeds", "3", corpus=corpus, out=out)[
        "rows"
    ]
    equal, chosen = found
    assert set(equal["weights"]) == {"noise", "counting", "corpus"} == set(chosen["excess"])
    assert (
        sum(chosen["weights"].values()) == pytest.approx(1, abs=1e-3)
        and chosen["weights"] != equal["weights"]
    )
    assert chosen["worst_excess"] == max(chosen["excess"].values())
    written = json.loads((out / "weights" / "weights-3.json").read_text())["weights"]
    assert written == pytest.approx(chosen["weights"], abs=1e-4)


def test_flywheel(corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    found = run(
        "flywheel.py", *TINY, "--width", "16", "--piece", "150", "--seeds", "0", corpus=corpus, out=out
    )
    first, chosen, blind = found["rows"]
    assert chosen["documents"] == blind["documents"] < first["documents"]
    assert all(0 < row["bits_per_byte"] < 9 for row in found["rows"])
    assert found["logs"]["refused"] == {"no consent": 1, "rated down without a correction": 1}
    assert found["logs"]["rows"] == 3 and found["logs"]["forgotten"] == 1
    rows = [json.loads(line) for line in (out / "rows" / "messages.jsonl").read_text().splitlines()]
    assert [row["id"] for row in rows] == ["a1", "a3"] and "example.org" not in str(rows)


def test_optimizers_on_a_bowl(tmp_path: Path) -> None:
    import numpy as np

    random, labels = np.random.default_rng(0), np.arange(300) % 10
    pictures = np.clip(random.random((10, 8, 8, 3))[labels] + 0.02 * random.random((300, 8, 8, 3)), 0, 1)
    np.savez(tmp_path / "own.npz", images=pictures, labels=labels)
    out, names = tmp_path / "out", ("sgd", "adam", "lion", "muon")
    found = run(
        "optimizers_on_a_bowl.py", "--names", *names, "--steps", "60", corpus=tmp_path / "own.npz", out=out
    )
    assert set(found["bowl"]) == set(found["images"]) == set(names)
    assert found["bowl"]["sgd"]["steps_to_target"] is not None
    for row in found["images"].values():
        assert row["steps_to_target"] is not None and row["end"] <= 0.2  # easy pictures
    assert (out / "bowl.png").stat().st_size > 5000 and (out / "images.png").stat().st_size > 5000


def test_optimizer_stability(corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = (*TINY, "--context", "32", "--width", "16", "--steps", "16", "--rates", "3")
    found = run("optimizer_stability.py", *arguments, corpus=corpus, out=out)["optimizers"]
    assert set(found) == {"adam", "lamb", "lion"}
    for one in found.values():
        assert len(one["rows"]) == 3 and one["variance_at_best"] > 0 and 0 < one["best_loss"] < 6
        edge = one["diverges_at"]
        assert edge is None or edge > one["best_rate"]
    assert (out / "loss.png").exists() and (out / "variance.png").exists()
