"""`ownlm model ...` as one types it: on our folder, on another's, on a GGUF file's absence; clean errors."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ownlm.cli.main import app
from ownlm.errors import ArtifactError, UsageError
from ownlm.model.adapters import hf
from ownlm.model.decoder import Decoder
from ownlm.model.presets import tiny


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model")
    hf.save(Decoder(tiny()), path)
    return path


def run(*arguments: str) -> str:
    found = CliRunner().invoke(app, ["model", *arguments])
    if found.exception is not None and not isinstance(found.exception, SystemExit):
        raise found.exception
    assert found.exit_code == 0, found.output
    return found.output


def test_inspect(folder: Path) -> None:
    facts = json.loads(run("inspect", str(folder), "--json", "--tokens", "5", "--context", "64"))
    model = Decoder(tiny())
    assert (
        facts["num_parameters"] == model.num_parameters() == sum(c["parameters"] for c in facts["components"])
    )
    assert facts["costs"] == [
        {
            "context": 64,
            "flops_per_token": model.flops_per_token(64) // 3,
            "cache_bytes": 64 * model.cache_bytes_per_token(),
        }
    ]
    assert {call["name"]: call["shape"] for call in facts["trace"]}["blocks.1.mixer"] == [1, 5, 64]
    text = run("inspect", str(folder))
    for word in (
        "blocks.*.feed_forward.down",
        "ModelConfig" if "ModelConfig" in text else "num_heads",
        "FLOPs",
    ):
        assert word in text


def test_inspect_without_a_forward_pass(folder: Path) -> None:
    assert "trace" not in json.loads(run("inspect", str(folder), "--no-trace", "--json"))


def test_presets() -> None:
    rows = json.loads(run("presets", "gpt2", "--check", "--json"))["models"]
    assert rows[0]["parameters"] == rows[0]["module_parameters"] == 124_439_808
    config = json.loads(run("presets", "llama-3.1-70b", "--config"))
    assert (config["hidden_size"], config["num_hidden_layers"], config["num_key_value_heads"]) == (
        8192,
        80,
        8,
    )
    assert config["rope_scaling"]["factor"] == 8.0 and config["vocab_size"] == 128256


def test_isotropy(folder: Path, tmp_path: Path) -> None:
    picture = tmp_path / "cosines.svg"
    facts = json.loads(run("isotropy", str(folder), "--picture", str(picture), "--json", "--pairs", "2000"))
    assert abs(facts["mean"]) < 0.02 and sum(facts["counts"]) == 2000
    assert "<svg" in picture.read_text()


def test_mistakes_are_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such model"):
        run("presets", "gpt-9")
    with pytest.raises(UsageError, match="--config needs"):
        run("presets", "--config")
    with pytest.raises(ArtifactError, match="not a model folder"):
        run("inspect", str(tmp_path))
    with pytest.raises(UsageError, match="format"):
        run("isotropy", str(_tiny(tmp_path)), "--picture", "x.gif")


def _tiny(tmp_path: Path) -> Path:
    hf.save(Decoder(tiny()), tmp_path / "m")
    return tmp_path / "m"
