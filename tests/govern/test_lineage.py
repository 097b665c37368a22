"""The tree over a made-up build, whole and tampered with in every way a folder can be."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import pytest
from builds import make
from rich.console import Console

from ownlm.errors import ArtifactError
from ownlm.govern.lineage import Lineage, tree, verify
from ownlm.runtime import artifact, files
from ownlm.runtime.artifact import Stage


@pytest.fixture
def build(tmp_path: Path) -> Path:
    make(tmp_path / "mine")
    return tmp_path / "mine"


def text_of(lineage: Lineage) -> str:
    console = Console(file=io.StringIO(), width=200)
    console.print(lineage.render())
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_nodes_and_edges(build: Path) -> None:
    found = tree(build)
    assert found.problems == () and found.unfinished == ()
    order = [node.path for node in found.nodes]
    assert set(order) == {"corpus", "tokenizer", "shards", "pretrained", "model", "eval", "."}
    for edge in found.edges:
        assert edge.source is not None and order.index(edge.source) < order.index(edge.to), (
            "inputs come first"
        )
        assert next(n for n in found.nodes if n.path == edge.source).digest == edge.digest
    assert {(e.name, e.to) for e in found.edges if e.to != "."} == {
        ("corpus", "tokenizer"), ("corpus", "shards"), ("tokenizer", "shards"), ("shards", "pretrained"),
        ("pretrained", "model"), ("tokenizer", "model"), ("model", "eval"), ("shards", "eval"),
    }  # fmt: skip
    assert {e.name for e in found.inputs(".")} == set(order) - {"."}


def test_json_and_text(build: Path) -> None:
    found = tree(build)
    assert json.loads(json.dumps(found.as_dict()))["root"] == "mine"
    text = text_of(found)
    for node in found.nodes:
        assert node.digest[:12] in text
    assert "(above)" in text and "problem" not in text


def test_verify_counts_files_and_is_quiet(build: Path) -> None:
    assert verify(build) == (6, [])
    assert verify(build / "model") == (1, [])


def test_a_rendered_card_changes_no_digest_and_is_checked(build: Path) -> None:
    before = tree(build)
    artifact.attach(build / "model", "README.md", "# card")
    assert tree(build).edges == before.edges and tree(build).problems == ()
    assert verify(build) == (7, [])
    (build / "model" / "README.md").write_text("# forged")
    assert "README.md" in verify(build)[1][0]


def test_flipped_bit_names_the_file(build: Path) -> None:
    path = build / "pretrained" / "pretrained.txt"
    path.write_bytes(bytes([path.read_bytes()[0] ^ 1]) + path.read_bytes()[1:])
    checked, problems = verify(build)
    assert checked == 6 and len(problems) == 1 and str(path) in problems[0]


def test_missing_and_additional_files(build: Path) -> None:
    (build / "shards" / "shards.txt").unlink()
    (build / "corpus" / "stranger.txt").write_text("x")
    problems = "\n".join(verify(build)[1])
    assert "shards.txt: missing" in problems and "stranger.txt: not listed" in problems


def test_an_input_made_anew_is_a_mismatch(build: Path) -> None:
    def work(stage: Stage) -> None:
        files.write_atomic(stage.folder / "tokenizer.txt", "another one")

    shutil.rmtree(build / "tokenizer")
    artifact.run(build, "tokenizer", "tokenizer", {"corpus": artifact.read(build / "corpus")}, {}, work)
    found = tree(build)
    assert {problem.split(" ")[0] for problem in found.problems} == {"shards", "model", "."}
    assert all("tokenizer is now" in problem for problem in found.problems)
    assert verify(build)[1] == list(found.problems)
    assert "problem: shards was made from tokenizer" in text_of(found)


def test_a_removed_input_is_missing(build: Path) -> None:
    shutil.rmtree(build / "corpus")
    found = tree(build)
    assert any(
        p.startswith("tokenizer was made from corpus") and "not in this folder" in p for p in found.problems
    )
    assert "not in this folder" in text_of(found)


def test_an_edited_manifest_is_noticed(build: Path) -> None:
    path = build / "model" / "ownlm.json"
    manifest = json.loads(path.read_text("utf-8"))
    manifest["config"]["steps"] = 201
    path.write_text(json.dumps(manifest), "utf-8")
    problems = verify(build)[1]
    assert len(problems) == 1 and str(path) in problems[0] and "digest" in problems[0]
    with pytest.raises(ArtifactError):
        tree(build)


def test_an_artifact_alone_has_its_inputs_elsewhere(build: Path) -> None:
    found = tree(build / "model")
    assert found.problems == () and [edge.source for edge in found.edges] == [None, None]
    assert "not in this folder" in text_of(found)


def test_unfinished_stages_are_shown(build: Path) -> None:
    (build / "eval.partial").mkdir()
    assert tree(build).unfinished == ("eval.partial",)
    assert "eval.partial (unfinished)" in text_of(tree(build))


def test_not_an_artifact(tmp_path: Path) -> None:
    for ask in (tree, verify):
        with pytest.raises(ArtifactError, match="not an ownlm artifact"):
            ask(tmp_path)
        with pytest.raises(ArtifactError):
            ask(tmp_path / "nowhere")
