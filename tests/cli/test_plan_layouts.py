"""`ownlm plan layouts` as one types it; `ownlm plan` itself still plans a build."""

import json

import pytest
from typer.testing import CliRunner

from ownlm.cli.main import app
from ownlm.errors import UsageError


def run(*arguments: str) -> str:
    found = CliRunner().invoke(app, ["plan", *arguments])
    if found.exception is not None and not isinstance(found.exception, SystemExit):
        raise found.exception
    assert found.exit_code == 0, found.output
    return found.output


def test_the_known_layout_of_175b_on_1024_gpus_is_listed() -> None:
    facts = json.loads(
        run("layouts", "--model", "175b", "--gpus", "1024", "--gpu", "a100-80", "--rows", "1536", "--json")
    )
    listed = {(row["dp"], row["tp"], row["pp"], row["cp"]) for row in facts["layouts"]}
    assert (8, 8, 16, 1) in listed
    row = facts["layouts"][0]
    assert row["usd"] == pytest.approx(row["days"] * 24 * 1024 * 4.0)
    assert row["days"] == pytest.approx(1e12 / row["tokens_per_second"] / 86_400)


def test_a_table_for_people_says_what_it_leaves_out() -> None:
    shown = run("layouts", "--gpus", "8", "--rows", "64", "--count", "1")
    assert "DP 8" in shown or "DP 4" in shown or "DP 2" in shown
    assert "slower layouts" in shown


def test_a_model_that_is_not_known() -> None:
    with pytest.raises(UsageError, match="not known"):
        run("layouts", "--model", "8t")


def test_without_a_verb_a_build_is_planned() -> None:
    assert any(row["name"] == "steps" for row in json.loads(run("--minutes", "5", "--json"))["quantities"])
    assert "KEY=VALUE" in run("--help")
