"""Published encodings as an independent oracle: GPT-2's own vocabulary and the ids tiktoken gives with it."""

import gzip
import json
from pathlib import Path

import pytest

from ownlm.tokenizer.spelling import unspell
from ownlm.tokenizer.tokenizer import Tokenizer
from ownlm.tokenizer.vocabulary import Vocabulary


def gpt2(folder: Path) -> Tokenizer:
    ids = json.loads((folder / "vocab.json").read_text("utf-8"))
    special = {"<|endoftext|>": ids["<|endoftext|>"]}
    tokens = tuple(unspell(text) or text.encode() for text in sorted(ids, key=ids.__getitem__))
    lines = (folder / "merges.txt").read_text("utf-8").splitlines()
    pairs = [line.split(" ") for line in lines if line and not line.startswith("#version")]
    return Tokenizer(Vocabulary("gpt2", tokens, tuple((ids[a], ids[b]) for a, b in pairs), special))


@pytest.mark.parametrize("native", ["1", pytest.param("0", marks=pytest.mark.slow)])
def test_gpt2_gives_the_published_ids(
    data: Path, native: str, monkeypatch: pytest.MonkeyPatch, tmp_path
) -> None:
    monkeypatch.setenv("OWNLM_NATIVE", native)
    tokenizer = gpt2(data / "tokenizers" / "gpt2")
    tokenizer.save(tmp_path)
    for encoder in (tokenizer, Tokenizer.load(tmp_path)):
        with gzip.open(data / "tokenizers" / "golden_encodings.jsonl.gz", "rt", encoding="utf-8") as file:
            rows = [json.loads(line) for line in file]
        assert len(rows) > 300
        for row in rows:
            assert encoder.encode(row["text"]) == row["r50k_base"]
            assert encoder.decode(row["r50k_base"]) == row["text"]
