"""Every command of `ownlm tokenizer` as a stranger would use it: what it prints, what it writes, how it refuses."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from ownlm.cli.tokenizer import app
from ownlm.errors import ArtifactError, DataError, OwnlmError, UsageError
from ownlm.tokenizer.compare import SAMPLES
from ownlm.tokenizer.load import load

RUNNER = CliRunner()
COMMANDS = ("train", "encode", "decode", "explain", "compare", "extend", "cost")
KINDS = {"bpe": 400, "unigram": 420, "wordpiece": 150, "characters": 120, "bytes": 300}
WORDS = (
    "The assistant answers with the pages from which it learned: 12 steps, 3.14 seconds.\n\tdef mean(x): pass\n"
    * 6
)


def run(*arguments: object, stdin: str | None = None) -> str:
    """stdout of a command; its error is raised, and any other exception fails the test."""
    result = RUNNER.invoke(app, [str(argument) for argument in arguments], input=stdin)
    if result.exception is not None and not (
        isinstance(result.exception, SystemExit) and not result.exit_code
    ):
        raise result.exception
    return result.stdout


def parsed(*arguments: object, stdin: str | None = None) -> dict[str, Any]:
    found = json.loads(run(*arguments, "--json", stdin=stdin))
    assert found["version"]
    return found


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """docs/, hindi/, and one trained folder per kind."""
    folder = tmp_path_factory.mktemp("tokenizers")
    for name, text in (("docs", WORDS), ("hindi", SAMPLES["Hindi"] * 6)):
        (folder / name).mkdir()
        (folder / name / "a.txt").write_text(text, "utf-8")
    for kind, size in KINDS.items():
        found = parsed("train", folder / "docs", "--kind", kind, "--vocab-size", size, "--out", folder / kind)
        again = load(folder / kind)
        assert found["vocab_size"] == again.vocab_size <= size and found["digest"] == again.digest
        assert found["num_bytes"] > 400 and (found["vocab_size"] == size) != bool(found["notices"])
    return folder


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example(command: str) -> None:
    text = run(command, "--help")
    assert f"ownlm tokenizer {command}" in text and "Example" in text


@pytest.mark.parametrize("kind", KINDS)
def test_encode_and_decode(world: Path, kind: str) -> None:
    text = "The pages: 3.14 steps"
    found = parsed("encode", world / kind, text)
    assert found["ids"] == load(world / kind).encode(text) and found["num_tokens"] == len(found["ids"])
    back = parsed("decode", world / kind, *found["ids"])["text"]
    assert back == text if kind != "wordpiece" else back.split()[0] == "The"
    assert parsed("decode", world / kind, stdin=", ".join(map(str, found["ids"])))["text"] == back
    (world / "t.txt").write_text(text)
    assert parsed("encode", world / kind, "--file", world / "t.txt")["ids"] == found["ids"]
    assert parsed("encode", world / kind, "--file", "-", stdin=text)["ids"] == found["ids"]
    assert str(found["num_tokens"]) in run("encode", world / kind, text)


def test_special_tokens_are_added_where_the_file_says_so(world: Path) -> None:
    plain, around = (
        parsed("encode", world / "wordpiece", "pages", *on)["tokens"] for on in ([], ["--add-special"])
    )
    assert around == ["[CLS]", *plain, "[SEP]"]
    for kind in ("bpe", "unigram"):
        with pytest.raises(UsageError, match="no special tokens"):
            run("encode", world / kind, "x", "--add-special")


@pytest.mark.parametrize("kind", KINDS)
def test_explain(world: Path, kind: str) -> None:
    text = "the pages it"
    assert parsed("explain", world / kind, text)["ids"] == load(world / kind).encode(text)
    shown = run("explain", world / kind, text)
    mark = {
        "bpe": "rank",
        "unigram": "next best",
        "wordpiece": "longest token",
        "characters": "[id",
        "bytes": "start",
    }
    assert mark[kind] in shown


def test_compare(world: Path) -> None:
    folders = [world / kind for kind in KINDS]
    found = parsed(
        "compare", *folders, "--picture", world / "f.png", "--train-sizes", "300,420", "--width", 16
    )
    assert (world / "f.png").read_bytes().startswith(b"\x89PNG")
    assert len(found["rows"]) == len(KINDS) * len(SAMPLES) and [
        row["vocab_size"] for row in found["sizes"]
    ] == [300, 420]
    assert found["embedding_parameters"]["bpe"] == 16 * load(world / "bpe").vocab_size
    refused = [row for row in found["rows"] if row["refused"]]
    assert {row["tokenizer"] for row in refused} == {"characters"} and len(refused) >= 8
    hindi = next(row for row in found["rows"] if (row["tokenizer"], row["text"]) == ("bytes", "Hindi"))
    assert hindi["num_tokens"] == len(SAMPLES["Hindi"].encode()) and hindi["lossless"]
    shown = run("compare", *folders, "--text", f"own={world / 'docs' / 'a.txt'}")
    assert "own" in shown and "cannot" in shown and "(lossy)" in shown and "English" not in shown


def test_cost(world: Path) -> None:
    table = world / "prices.yaml"
    table.write_text(
        "a: {tokenizer: bpe, input: 2, output: 4, context: 10}\nb: {tokenizer: bytes, input: 1, output: 0}\n"
    )
    one, two = parsed("cost", "abc", "--prices", table, "--output-tokens", 20)["estimates"]
    tokens = len(load(world / "bpe").encode("abc"))
    assert one["cost"] == pytest.approx((2 * tokens + 80) / 1e6) and one["fits"] is False
    assert two["input_tokens"] == 3 and two["fits"] is None
    assert "DOES NOT FIT" in run("cost", "abc", "--prices", table, "--output-tokens", 20)
    costs = parsed("compare", world / "unigram", "--prices", table)["costs"]
    assert [row["model"] for row in costs] == ["a", "b"]
    (world / "bad.yaml").write_text("a: {tokenizer: nothing, input: 2, output: 4}\n")
    with pytest.raises(ArtifactError):
        run("cost", "abc", "--prices", world / "bad.yaml")


def test_extend_a_tokenizer(world: Path, tmp_path: Path) -> None:
    found = parsed("extend", world / "bpe", world / "hindi", "--tokens", 30, "--out", tmp_path / "x")
    old, new = load(world / "bpe"), load(tmp_path / "x")
    assert found["new_tokens"] == 30 and not found["model_resized"] and new.vocab_size == old.vocab_size + 30
    assert found["tokens_after"] < found["tokens_before"]
    assert (
        new.encode(WORDS) == old.encode(WORDS)
        and new.decode(new.encode(SAMPLES["Hindi"])) == SAMPLES["Hindi"]
    )


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_extend_a_model_folder(world: Path, tmp_path: Path, dtype: str) -> None:
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)
    from ownlm.model.adapters import hf
    from ownlm.model.config import ModelConfig
    from ownlm.model.decoder import Decoder

    old = load(world / "bpe")
    config = ModelConfig(vocab_size=old.vocab_size, hidden_size=16, intermediate_size=24, num_layers=2, num_heads=2,
                         num_kv_heads=1, head_dim=8, max_positions=32, tie_embeddings=True)  # fmt: skip
    model = Decoder(config, seed=1).to(getattr(torch, dtype))
    end = [old.special_id("<|end|>"), old.special_id("<|user|>")]
    hf.save(model, tmp_path / "m", eos_ids=end, bos_id=old.special_id("<|bos|>"), pad_id=old.special_id("<|pad|>"),
            tokenizer_folder=world / "bpe")  # fmt: skip
    found = parsed("extend", tmp_path / "m", world / "hindi", "--tokens", 20, "--out", tmp_path / "out")
    assert found["model_resized"] and found["vocab_size"] == old.vocab_size + 20
    grown, new = hf.load(tmp_path / "out", getattr(torch, dtype)), load(tmp_path / "out")
    assert (
        grown.embedding.weight.shape == (new.vocab_size, 16)
        and grown.embedding.weight.dtype == model.embedding.weight.dtype
    )
    assert list(hf.stop_ids(tmp_path / "out")) == end
    before, after = (json.loads((tmp_path / name / "config.json").read_text()) for name in ("m", "out"))
    changed = {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}
    assert changed == {"vocab_size"}
    ids = torch.tensor([old.encode("the pages")])
    with torch.no_grad():
        assert torch.equal(grown(ids)[..., : old.vocab_size], model(ids))
        assert torch.isfinite(grown(torch.tensor([new.encode(SAMPLES["Hindi"])[:20]])).float()).all()
    with pytest.raises(UsageError, match="model in this folder"):
        run("extend", tmp_path / "m", world / "hindi", "--out", tmp_path / "m")


def refusals(world: Path) -> list[tuple[type[OwnlmError], list[object]]]:
    bpe, docs, out = world / "bpe", world / "docs", world / "never"
    (world / "empty").mkdir(exist_ok=True)
    (world / "latin.txt").write_bytes(b"caf\xe9")
    return [
        (ArtifactError, ["encode", world / "nothing", "x"]),
        (ArtifactError, ["encode", docs, "x"]),
        (UsageError, ["encode", bpe]),
        (UsageError, ["encode", bpe, "x", "--file", "y"]),
        (DataError, ["encode", bpe, "--file", world / "nothing"]),
        (DataError, ["encode", bpe, "--file", world / "latin.txt"]),
        (DataError, ["encode", world / "characters", "Ω"]),
        (UsageError, ["encode", bpe, "x", "--family", "gpt2"]),
        (DataError, ["decode", bpe, 10**6]),
        (DataError, ["decode", bpe, "--", -1]),
        (UsageError, ["explain", bpe, "a" * 30_000]),
        (UsageError, ["compare", bpe, bpe]),
        (UsageError, ["compare", bpe, "--train-sizes", "3,x"]),
        (UsageError, ["compare", bpe, "--train-sizes", "30"]),
        (UsageError, ["compare", bpe, "--picture", world / "f.txt"]),
        (DataError, ["compare", bpe, "--text", "x=nothing.txt"]),
        (UsageError, ["cost", "x"]),
        (UsageError, ["cost", "x", "--prices", world / "nothing.yaml"]),
        (DataError, ["train", world / "nothing", "--out", out]),
        (DataError, ["train", world / "empty", "--out", out]),
        (UsageError, ["train", docs, "--out", out, "--vocab-size", 100]),
        (UsageError, ["train", docs, "--out", out, "--family", "gpt9"]),
        (UsageError, ["train", docs, "--out", out, "--kind", "unigram", "--family", "gpt2"]),
        (UsageError, ["train", docs, "--out", out, "--kind", "bytes", "--min-count", 3]),
        (UsageError, ["train", docs, "--out", world / "t.txt"]),
        (UsageError, ["extend", world / "unigram", docs, "--out", out]),
        (DataError, ["extend", bpe, world / "empty", "--out", out]),
    ]


def test_mistakes_are_refused_with_a_fix(world: Path) -> None:
    (world / "t.txt").write_text("x")
    for kind, arguments in refusals(world):
        with pytest.raises(kind) as caught:
            run(*arguments)
            pytest.fail(str(arguments))
        assert caught.value.what and caught.value.fix, arguments
    assert not (world / "never").exists()


def test_decoding_of_standard_input_wants_numbers(world: Path) -> None:
    with pytest.raises(UsageError, match="no token id"):
        run("decode", world / "bpe", stdin="1 2 x")
    assert isinstance(io.StringIO(run("decode", world / "bpe", stdin="")), io.StringIO)
