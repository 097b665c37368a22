"""The card: front matter that parses, and no number that the manifests do not hold."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from builds import EVAL, MEASURED, PREDICTED, make

from ownlm.errors import ArtifactError
from ownlm.govern.card import NOT_MEASURED, model_card
from ownlm.runtime import artifact


def parts(card: str) -> tuple[dict[str, Any], str]:
    assert card.startswith("---\n")
    _, front, body = card.split("---\n", 2)
    return yaml.safe_load(front), body


def numbers(value: Any) -> set[str]:
    """Every number of a JSON value as the card writes it."""
    if isinstance(value, dict):
        return (
            set().union(*map(numbers, value.values()), *(numbers(key) for key in value)) if value else set()
        )
    if isinstance(value, list | tuple):
        return set().union(*map(numbers, value)) if value else set()
    if isinstance(value, bool) or value is None:
        return set()
    if isinstance(value, int):
        return {f"{value:,}"}
    if isinstance(value, float):
        return {f"{value:.6g}"}
    return set(re.findall(r"\d[\d,.]*\d|\d", str(value)))


def test_front_matter(tmp_path: Path) -> None:
    make(tmp_path / "mine")
    front, _ = parts(model_card(tmp_path / "mine"))
    assert {
        "language",
        "license",
        "library_name",
        "pipeline_tag",
        "tags",
        "datasets",
        "metrics",
        "model-index",
    } <= set(front)
    assert front["license"] == "unknown" and front["datasets"] == ["notes"]
    assert front["pipeline_tag"] == "text-generation" and front["library_name"] == "transformers"
    results = {
        row["metrics"][0]["type"]: row["metrics"][0]["value"] for row in front["model-index"][0]["results"]
    }
    assert results == {
        "bits_per_byte": 1.4142135623,
        "hit@3": 0.9125,
        "right": 0.7651,
        "refusal_correct": 0.8733,
    }


def test_every_number_in_the_tables_is_in_a_manifest(tmp_path: Path) -> None:
    made = make(tmp_path / "mine")
    known: set[str] = {f"{share:.1%}"[:-1] for share in (6 / 9, 3 / 9)}
    for manifest in [*made.values(), artifact.read(tmp_path / "mine")]:
        known |= numbers(manifest.model_dump())
    _, body = parts(model_card(tmp_path / "mine"))
    for line in body.splitlines():
        if not line.startswith("|"):
            continue
        line = (
            line.replace("95 % interval", "")
            .replace("in the first 3", "")
            .replace("xz -9e", "")
            .replace("5-gram", "")
        )
        line = re.sub(r"`[0-9a-f]{12,}`", "", line)
        for found in re.findall(r"(?<![\w.])\d[\d,.]*\d|(?<![\w.])\d(?!\w)", line):
            assert found in known, (found, line)


def test_the_measured_numbers_are_there(tmp_path: Path) -> None:
    made = make(tmp_path / "mine")
    _, body = parts(model_card(tmp_path / "mine"))
    for task in ("heldout", "grounded", "unanswerable"):
        for i in EVAL[task].values():  # type: ignore[union-attr]
            row = f"| {i['value']:.6g} | {i['low']:.6g} to {i['high']:.6g} | {i['count']} |"
            assert row in body, row
    assert "| xz -9e on the held-out text alone | 1.81818 | alone |" in body
    for name in PREDICTED:
        assert f"| {name} | {PREDICTED[name]:.6g} | {MEASURED[name]:.6g} |" in body
    assert "| dedup | 10 | 9 | 1 | exact duplicate: 1 | repaired: 4 |" in body
    assert "empty \\| blank: 1" in body, "a bar in a reason must not break the table"
    assert "| PSF-2.0 | 6 | 66.7% |" in body and "| unknown | 3 | 33.3% |" in body
    assert "3 of 9 documents (33.3%) have no known licence" in body
    for manifest in made.values():
        assert f"`{manifest.digest}`" in body
    assert "/home/somebody" not in body, "the path on the maker's machine is nobody's business"


def test_every_table_has_the_same_number_of_cells_in_each_row(tmp_path: Path) -> None:
    make(tmp_path / "mine")
    width = 0
    for line in model_card(tmp_path / "mine").splitlines():
        cells = len(re.findall(r"(?<!\\)\|", line)) if line.startswith("|") else 0
        assert not (cells and width) or cells == width, line
        width = cells


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    make(tmp_path / "mine", licences={}, evaluated=False)
    front, body = parts(model_card(tmp_path / "mine"))
    assert "model-index" not in front and front["license"] == "unknown" and front["language"] == ["und"]
    evaluation = body.split("## Evaluation")[1].split("## Environmental")[0]
    assert evaluation.count(NOT_MEASURED) == 2
    assert f"Energy and emissions: {NOT_MEASURED}." in body


def test_one_known_licence(tmp_path: Path) -> None:
    make(tmp_path / "a", licences={"MIT": 9})
    assert parts(model_card(tmp_path / "a"))[0]["license"] == "mit"
    make(tmp_path / "b", licences={"MIT": 8, "PSF-2.0": 1})
    front = parts(model_card(tmp_path / "b"))[0]
    assert front["license"] == "other" and front["license_name"] == "mit-and-psf-2.0"


def test_it_is_the_same_after_it_was_attached(tmp_path: Path) -> None:
    make(tmp_path / "mine")
    card = model_card(tmp_path / "mine")
    artifact.attach(tmp_path / "mine" / "model", "README.md", card)
    assert model_card(tmp_path / "mine") == card


def test_not_an_artifact(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError):
        model_card(tmp_path)
