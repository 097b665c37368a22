"""Every command of `ownlm data` as a stranger would use it: what it prints, what it writes, how it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from ownlm.cli.data import app
from ownlm.data.flow import table
from ownlm.errors import ArtifactError, UsageError

RUNNER = CliRunner()
COMMANDS = (
    "run",
    "preview",
    "report",
    "recipe",
    "steps",
    "diff",
    "crawl",
    "shards",
    "attribute",
    "flywheel",
    "forget",
    "train-quality",
    "train-perplexity",
    "score",
    "language",
)


def run(*arguments: object) -> str:
    """stdout of a command; its error is raised, and any other exception fails the test."""
    result = RUNNER.invoke(
        app, [str(argument) for argument in arguments], env={"OWNLM_QUIET": "1", "COLUMNS": "200"}
    )
    if result.exception is not None and not (
        isinstance(result.exception, SystemExit) and not result.exit_code
    ):
        raise result.exception
    return result.stdout


def parsed(*arguments: object) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run(*arguments, "--json"))
    assert found["version"]
    return found


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """docs/ with three documents, one of them twice and one too short; a pipeline over it, run twice."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "docs").mkdir()
    text = "The ship leaves the harbour when the tide is high, and the crew sets every sail.\n"
    for name, content in (
        ("a.txt", text * 3),
        ("b.txt", text * 3),
        ("c.txt", "short"),
        ("d.md", "# Rope\n\n" + text * 2 + "<script>"),
    ):
        (folder / "docs" / name).write_text(content)
    (folder / "p.yaml").write_text("name: ships\nread: docs\nsteps: [clean, basic_quality, dedup_exact]\n")
    made = parsed("run", folder / "p.yaml", "--out", folder / "one", "--workers", 1)
    assert made["made"] and made["num_documents"] == 2 and made["num_quarantined"] == 0
    assert not parsed("run", folder / "p.yaml", "--out", folder / "one", "--workers", 2)["made"]
    parsed("run", folder / "p.yaml", "--out", folder / "two", "--without", "a.txt")
    return folder


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example(command: str) -> None:
    text = run(command, "--help")
    assert f"Example: ownlm data {command}" in text and "Exit codes:" in text


def test_the_funnel_is_printed_and_the_report_escapes_what_it_shows(world: Path) -> None:
    text = run("report", world / "one")
    assert "dedup_exact" in text and "too short" in text and "2 documents" in text
    page = (world / "one" / "report.html").read_text()
    assert (
        "<h1>ships</h1>" in page
        and "&lt;script&gt;" in page
        and "<script" not in page
        and "exact duplicate" in page
    )


def test_preview_shows_what_each_step_did(world: Path) -> None:
    text = run("preview", world / "p.yaml", "--rows", 4)
    assert text.count("kept") == 2 and "exact duplicate" in text and "too short: 5 bytes" in text
    rows = parsed("preview", world / "p.yaml", "--rows", 4)["rows"]
    assert [change["step"] for change in rows[0]["changes"]] == ["clean", "basic_quality", "dedup_exact"]


def test_diff_names_what_went_and_what_was_done(world: Path) -> None:
    found = parsed("diff", world / "one", world / "two")
    assert [row["source"] for row in found["removed"]] == ["a.txt"] and [
        row["source"] for row in found["added"]
    ] == ["b.txt"]
    assert any("remove" in line for line in found["settings"])
    assert "removed: 1" in run("diff", world / "one", world / "two")
    assert "the same data" in run("diff", world / "one", world / "one")


def test_recipes_and_steps_explain_themselves() -> None:
    recipes = parsed("recipe")["recipes"]
    assert {"fineweb", "gopher", "c4", "books", "code", "assistant"} <= set(recipes)
    for name in recipes:
        assert "arXiv" in run("recipe", name) or name in ("books", "assistant")
    found = parsed("steps")["steps"]
    assert set(found) == set(table.STEPS)
    for name, facts in found.items():
        assert facts["about"], name
        assert all(option["about"] for option in facts["options"]), name
    assert "min_prob = 0.65" in run("steps", "language")


def test_every_recipe_runs(tmp_path: Path) -> None:
    """Over ordinary English prose that all of them keep."""
    from ownlm.data.flow import recipe

    for name in recipe.shipped():
        assert recipe.load(name).steps, name


def test_shards_lead_back_to_the_documents(world: Path) -> None:
    found = parsed("shards", world / "one", "--out", world / "shards", "--vocab-size", 512)
    assert found["num_documents"] == 2 and found["num_tokens"] > 20
    from ownlm.data.shards import Shards

    shards = Shards(world / "shards" / "train")
    assert {shards.document(number)[1] for number in range(2)} == {"a.txt", "d.md"}


def test_a_share_is_held_out_and_rows_are_packed(tmp_path: Path) -> None:
    from ownlm.data.adapters.h5py import read_hdf5
    from ownlm.data.pack.webdataset import read_webdataset
    from ownlm.data.shards import Shards

    (tmp_path / "docs").mkdir()
    for number in range(40):
        (tmp_path / "docs" / f"{number:02d}.txt").write_text(
            f"Document number {number} about ships and harbours of the north.\n" * 3
        )
    run("run", "assistant", "--data", tmp_path / "docs", "--out", tmp_path / "data", "--workers", 1)
    found = parsed("shards", tmp_path / "data", "--out", tmp_path / "shards", "--vocab-size", 512, "--heldout", 0.25,
                   "--length", 64, "--webdataset", "--hdf5")  # fmt: skip
    sides = {name: Shards(tmp_path / "shards" / name) for name in ("train", "heldout")}
    sources = {
        name: {side.document(number)[1] for number in range(side.num_documents)}
        for name, side in sides.items()
    }
    assert not sources["train"] & sources["heldout"] and len(sources["train"] | sources["heldout"]) == 40
    assert len(sources["train"]) > len(sources["heldout"]) > 0 and found["num_documents"] == len(
        sources["train"]
    )
    rows = [row["tokens"].tolist() for row in read_webdataset(tmp_path / "shards" / "webdataset")]
    same = [row.tolist() for batch in read_hdf5(tmp_path / "shards" / "rows.h5") for row in batch["tokens"]]
    assert rows == same and len(rows) == found["packing"]["num_rows"]


def test_refusals_say_what_to_do(world: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="one of the recipes"):
        run("run", tmp_path / "none.yaml", "--out", tmp_path / "x")
    with pytest.raises(UsageError, match="does not say what to read"):
        run("run", "assistant", "--out", tmp_path / "x")
    with pytest.raises(UsageError, match="recipes:"):
        run("recipe", "finweb")
    with pytest.raises(UsageError, match="did you mean language"):
        run("steps", "langage")
    with pytest.raises(ArtifactError):
        run("report", tmp_path)
