"""A stage is done once, redone when its inputs or settings change, and survives a kill at any moment."""

import subprocess
import sys

import pytest

from ownlm.errors import ArtifactError
from ownlm.runtime import artifact


def write(name, text):
    def work(stage):
        (stage.folder / name).write_text(text)
        stage.metrics["length"] = len(text)

    return work


def test_done_once(tmp_path):
    first, ran = artifact.run(tmp_path, "a", "kind", {}, {"x": 1}, write("f", "one"))
    again, ran_again = artifact.run(tmp_path, "a", "kind", {}, {"x": 1}, write("f", "two"))
    assert ran and not ran_again
    assert first == again
    assert (tmp_path / "a" / "f").read_text() == "one"


def test_redone_when_config_or_input_changes(tmp_path):
    a, _ = artifact.run(tmp_path, "a", "kind", {}, {"x": 1}, write("f", "one"))
    b, _ = artifact.run(tmp_path, "b", "kind", {"a": a}, {}, write("g", "b"))
    a2, ran = artifact.run(tmp_path, "a", "kind", {}, {"x": 2}, write("f", "two"))
    assert ran and a2.digest != a.digest
    b2, ran = artifact.run(tmp_path, "b", "kind", {"a": a2}, {}, write("g", "b"))
    assert ran and b2.inputs == {"a": a2.digest} and b2.digest != b.digest


def test_digest_covers_content_not_time(tmp_path):
    one, _ = artifact.run(tmp_path / "1", "a", "kind", {}, {}, write("f", "x"))
    two, _ = artifact.run(tmp_path / "2", "a", "kind", {}, {}, write("f", "x"))
    three, _ = artifact.run(tmp_path / "3", "a", "kind", {}, {}, write("f", "y"))
    assert one.digest == two.digest != three.digest


def test_verify_names_the_wrong_file(tmp_path):
    artifact.run(tmp_path, "a", "kind", {}, {}, write("f", "hello"))
    assert artifact.verify(tmp_path / "a") == []
    (tmp_path / "a" / "f").write_text("hellp")
    (tmp_path / "a" / "extra").write_text("?")
    problems = artifact.verify(tmp_path / "a")
    assert (
        len(problems) == 2
        and "/f: SHA-256" in problems[1] + problems[0]
        and "extra: not listed" in " ".join(problems)
    )
    (tmp_path / "a" / "f").unlink()
    assert "missing" in artifact.verify(tmp_path / "a")[0]


def test_damaged_artifact_is_made_again_with_notice(tmp_path):
    artifact.run(tmp_path, "a", "kind", {}, {}, write("f", "good"))
    (tmp_path / "a" / "f").write_text("bad!")
    said = []
    _, ran = artifact.run(tmp_path, "a", "kind", {}, {}, write("f", "good"), said.append)
    assert ran and "damaged" in said[0] and artifact.verify(tmp_path / "a") == []


def test_edited_manifest_is_refused(tmp_path):
    artifact.run(tmp_path, "a", "kind", {}, {"x": 1}, write("f", "good"))
    path = tmp_path / "a" / artifact.NAME
    path.write_text(path.read_text().replace('"x": 1', '"x": 2'))
    with pytest.raises(ArtifactError, match="own digest"):
        artifact.read(tmp_path / "a")


def test_not_an_artifact(tmp_path):
    with pytest.raises(ArtifactError, match="not an ownlm artifact"):
        artifact.read(tmp_path)


def test_interrupted_work_goes_on_in_the_same_folder(tmp_path):
    def dies(stage):
        (stage.folder / "checkpoint").write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        artifact.run(tmp_path, "a", "kind", {}, {"x": 1}, dies)
    seen = []

    def goes_on(stage):
        seen.append((stage.resumed, (stage.folder / "checkpoint").read_text()))
        (stage.folder / "checkpoint").unlink()
        (stage.folder / "f").write_text("whole")

    artifact.run(tmp_path, "a", "kind", {}, {"x": 1}, goes_on)
    assert seen == [(True, "half")]
    assert artifact.verify(tmp_path / "a") == []


def test_interrupted_work_with_other_settings_is_not_reused(tmp_path):
    def dies(stage):
        (stage.folder / "checkpoint").write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        artifact.run(tmp_path, "a", "kind", {}, {"x": 1}, dies)
    said = []
    artifact.run(tmp_path, "a", "kind", {}, {"x": 2}, write("f", "new"), said.append)
    assert not (tmp_path / "a" / "checkpoint").exists() and "afresh" in said[0]


def test_attached_report_is_verified_but_not_in_the_digest(tmp_path):
    before, _ = artifact.run(tmp_path, "a", "kind", {}, {}, write("f", "x"))
    artifact.attach(tmp_path / "a", "README.md", "# card")
    assert artifact.read(tmp_path / "a").digest == before.digest
    assert artifact.verify(tmp_path / "a") == []
    (tmp_path / "a" / "README.md").write_text("# other")
    assert "README.md" in artifact.verify(tmp_path / "a")[0]


def test_one_build_at_a_time(tmp_path):
    code = f"from ownlm.runtime import artifact; from pathlib import Path; artifact.exclusive(Path({str(tmp_path)!r})).__enter__()"
    with artifact.exclusive(tmp_path):
        result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert "MachineError" in result.stderr
    subprocess.run([sys.executable, "-c", code], check=True)


KILLED = """
import os, sys
from pathlib import Path
from ownlm.runtime import artifact, files
import shutil
calls, limit = 0, int(sys.argv[2])
def count(function):
    def wrapper(*args, **kwargs):
        global calls
        calls += 1
        if calls == limit: os._exit(9)
        return function(*args, **kwargs)
    return wrapper
for module, name in ((os, "rename"), (os, "replace"), (os, "fsync"), (shutil, "rmtree"), (os, "unlink")):
    setattr(module, name, count(getattr(module, name)))
def work(stage): files.write_atomic(stage.folder / "f", "new")
artifact.run(Path(sys.argv[1]), "a", "kind", {}, {"x": 2}, work)
"""


def test_killed_before_every_file_operation(tmp_path):
    """Die before the k-th rename, sync or removal, for every k: old or new afterwards, and the rerun finishes."""
    for limit in range(1, 60):
        root = tmp_path / str(limit)
        artifact.run(root, "a", "kind", {}, {"x": 1}, write("f", "old"))
        died = subprocess.run([sys.executable, "-c", KILLED, root, str(limit)]).returncode == 9
        artifact.run(root, "a", "kind", {}, {"x": 2}, write("f", "new"))
        assert (root / "a" / "f").read_text() == "new" and artifact.verify(root / "a") == []
        assert sorted(p.name for p in root.iterdir()) == ["a"]
        if not died:
            break
    assert not died and limit > 5, "the loop must end with a run that was not killed"
