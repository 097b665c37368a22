"""The documents name files that exist, commands that work, and links that lead somewhere."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
COMMANDS = (
    "doctor",
    "plan",
    "build",
    "quickstart",
    "pretrain",
    "profile",
    "generate",
    "chat",
    "serve",
    "eval",
    "trace",
    "lineage",
    "verify",
    "card",
    "config",
)


def test_capabilities_name_files_and_proofs_that_exist():
    rows = [
        line
        for line in (ROOT / "docs/capabilities.md").read_text().splitlines()
        if re.match(r"\| [A-Z]+-\d", line)
    ]
    assert len(rows) >= 25
    for row in rows:
        _, _, what, code, proof, _ = row.split("|")
        assert what.strip().startswith(("whole:", "part:")), row
        for cell, top in ((code, ("src/", "native/", "recipes/")), (proof, ("tests/",))):
            names = re.findall(r"`([^`]+)`", cell)
            assert names, row
            for name in names:
                assert name.startswith(top) and (ROOT / name).is_file(), f"{row}\n{name}"


def test_walk_names_files_that_exist():
    for name in re.findall(r"`([a-z_]+/[A-Za-z0-9_./-]+)`", (ROOT / "docs/walk.md").read_text()):
        assert (ROOT / "src/ownlm" / name).exists(), name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#\s]+)", page.read_text()):
        if not target.startswith(("http://", "https://")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(command):
    names = [command, "show"] if command == "config" else [command]
    result = subprocess.run(
        [sys.executable, "-m", "ownlm.cli.main", *names, "--help"], capture_output=True, text=True
    )
    assert result.returncode == 0 and "Example: ownlm" in result.stdout


def test_readme_names_every_command():
    text = (ROOT / "README.md").read_text()
    assert all(f"ownlm {command}" in text for command in COMMANDS)


def test_nothing_names_its_makers_workplace():
    """Whoever clones this has other paths."""
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    for name in listed:
        path = ROOT / name
        if path.suffix in (".png", ".ico") or not path.is_file():
            continue
        text = path.read_text(encoding="utf-8", errors="replace")
        assert "/work/" + "main" not in text and "/tmp/" + "setup" not in text, name


@pytest.mark.parametrize("name", ["data.md", "models.md", "tokenizers.md", "training.md"])
def test_python_examples_run(name, tmp_path, monkeypatch):
    """The blocks of one page are one program."""
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```python\n(.*?)^```", (ROOT / "docs" / name).read_text(), re.M | re.S)
    assert blocks
    exec(compile("\n".join(blocks), name, "exec"), {"__name__": "example"})
