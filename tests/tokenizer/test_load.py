"""`load` on every form, and its errors."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from foreign import trained
from token_texts import naughty, synthetic

from ownlm.errors import ArtifactError, UsageError
from ownlm.tokenizer import bpe
from ownlm.tokenizer.load import load
from ownlm.tokenizer.pipeline import PipelineTokenizer
from ownlm.tokenizer.tokenizer import Tokenizer


def golden(data: Path, name: str) -> list[tuple[str, list[int]]]:
    with gzip.open(data / "tokenizers" / "golden_encodings.jsonl.gz", "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    return [(row["text"], row[name] if name in row else row["ids"][name]) for row in rows][::6]


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("gpt2/vocab.json", "r50k_base"),
        ("gpt2", "r50k_base"),
        ("gpt2/merges.txt", "r50k_base"),
        ("tiktoken/r50k_base.tiktoken", "r50k_base"),
        ("wordpiece/bert-base-uncased-vocab.txt", "bert_base_uncased"),
        ("sentencepiece/mistral_v3.model", "mistral_v3"),
    ],
)
def test_published_forms_give_the_golden_ids(data: Path, path: str, name: str) -> None:
    ours = load(data / "tokenizers" / path)
    for text, ids in golden(data, name):
        assert ours.encode(text) == ids


@pytest.mark.slow
def test_gguf(data: Path) -> None:
    folder = data / "tokenizers" / "gguf_vocab"
    ours = load(folder / "ggml-vocab-gpt-2.gguf")
    assert ours.encode("Hello world") == load(data / "tokenizers" / "gpt2").encode("Hello world")


def test_own_folder_is_the_native_class(tmp_path: Path) -> None:
    own = bpe.train(synthetic(1), 512)
    own.save(tmp_path)
    again = load(tmp_path)
    assert isinstance(again, Tokenizer) and again.digest == own.digest and again.named == own.named
    assert isinstance(load(tmp_path / "tokenizer.json"), Tokenizer)


def test_native_and_pipeline_agree(data: Path, tmp_path: Path) -> None:
    """The same file through both classes, and a byte-level file with roles of other names."""
    own = bpe.train(synthetic(1), 512)
    own.save(tmp_path)
    other = PipelineTokenizer(json.loads((tmp_path / "tokenizer.json").read_text()))
    assert (
        other.family == own.family and other.vocab_size == own.vocab_size and other.specials == own.specials
    )
    for text in [*naughty(data), *synthetic(2)]:
        ids = own.encode(text)
        assert other.encode(text) == ids and other.decode(ids) == own.decode(ids) == text
        assert other.decode_bytes(ids) == own.decode_bytes(ids)


def test_foreign_roles_survive(tmp_path: Path) -> None:
    raw = trained("llama3", synthetic(1), 400)
    raw["post_processor"], raw["model"]["ignore_merges"] = None, False
    (tmp_path / "tokenizer.json").write_text(json.dumps(raw))
    config = {
        "bos_token": {"content": "<|a|>"},
        "eos_token": "<|b|>",
        "model_max_length": 1e30,
        "chat_template": "{{ bos_token }}!",
    }
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    ours = load(tmp_path)
    assert (
        isinstance(ours, Tokenizer)
        and ours.named == {"bos": "<|a|>", "eos": "<|b|>"}
        and ours.model_max_length is None
    )
    assert ours.chat_template == "{{ bos_token }}!"
    ours.save(tmp_path / "again")
    assert load(tmp_path / "again").named == ours.named


def test_bert_case_from_the_configuration(data: Path, tmp_path: Path) -> None:
    source = data / "tokenizers" / "wordpiece" / "bert-base-uncased-vocab.txt"
    (tmp_path / "vocab.txt").write_bytes(source.read_bytes())
    guessed = load(tmp_path)
    assert isinstance(guessed, PipelineTokenizer) and "lower case" in guessed.notices[0]
    assert guessed.encode("Hello") == guessed.encode("hello") != load(tmp_path, cased=True).encode("Hello")
    (tmp_path / "tokenizer_config.json").write_text('{"do_lower_case": false}')
    told = load(tmp_path)
    assert isinstance(told, PipelineTokenizer) and told.notices == ()
    assert told.encode("Hello") == load(tmp_path, cased=True).encode("Hello")
    assert guessed.encode("a", add_special_tokens=True)[0] == guessed.special_id("[CLS]")


def test_mistakes(tmp_path: Path, data: Path) -> None:
    def refused(match: str, name: str, content: str | bytes | None = None, **options) -> None:
        path = tmp_path / name
        if content is not None:
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        with pytest.raises((ArtifactError, UsageError), match=match):
            load(path, **options)

    refused("no tokenizer", "nothing")
    refused("no form of tokenizer", "model.bin", "x")
    refused("not valid JSON", "tokenizer.json", "{")
    refused("given twice", "tokenizer.json", '{"model": 1, "model": 2}')
    refused("given twice", "tokenizer.json", '{"model": {"vocab": {"a": 0, "a": 1}}}')
    refused("NaN", "tokenizer.json", '{"a": NaN}')
    refused("not valid JSON", "tokenizer.json", "[" * 100_000)
    refused("model: ", "tokenizer.json", "{}")
    refused("not an object", "tokenizer.json", "[]")
    refused("merges.txt", "a-vocab.json", "{}")
    (tmp_path / "merges.txt").write_text("#version: 0.2\na\n")
    refused("line 2", "vocab.json", "{}")
    refused("line 2", "vocab.txt", "a\na\n")
    refused("no WordPiece", "vocab.txt", "a\nb\n")
    refused("UTF-8", "vocab.txt", b"\xff\n")
    refused("says its family itself", "vocab.txt", "a\n", family="gpt2")
    refused("cased", "x.json", "{}", cased=True)
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(ArtifactError, match="holds no tokenizer"):
        load(empty)
    (empty / "a.tiktoken").write_text("")
    (empty / "b.tiktoken").write_text("")
    with pytest.raises(ArtifactError, match="more than one"):
        load(empty)
