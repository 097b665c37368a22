"""GGUF vocabularies against the ids that came with them; the container itself is tested in tests/runtime/test_gguf.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ownlm.errors import ArtifactError
from ownlm.runtime.gguf import Header, read_header
from ownlm.tokenizer.adapters import gguf as adapter
from ownlm.tokenizer.spelling import byte_letters
from ownlm.tokenizer.tokenizer import Tokenizer


@pytest.mark.parametrize("name", ["gpt-2", "mpt", "phi-3", "bert-bge"])
def test_ids_equal_the_published_ones(data: Path, name: str) -> None:
    path = data / "tokenizers" / "gguf_vocab" / f"ggml-vocab-{name}.gguf"
    tokenizer = adapter.load(path)
    texts = Path(f"{path}.inp").read_bytes().decode().split("\n__ggml_vocab_test__\n")
    wanted = [[int(id) for id in line.split()] for line in Path(f"{path}.out").read_text().split("\n")]
    assert len(texts) == len(wanted) > 40
    for text, ids in zip(texts, wanted, strict=True):
        assert tokenizer.encode(text) == ids
    controls = set(tokenizer.specials.values())
    assert controls
    for special in tokenizer.specials:
        unknown = {tokenizer.specials.get("[UNK]")}
        assert controls.isdisjoint(set(tokenizer.encode(f"a{special} {special}")) - unknown)


def header(**changes: Any) -> Header:
    keys: dict[str, Any] = {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "falcon",
        "tokenizer.ggml.tokens": [*byte_letters(), "11", "111", "Ġa", "!!", "<eos>"],
        "tokenizer.ggml.token_type": np.array([1] * 260 + [3], dtype=np.int32),
        "tokenizer.ggml.merges": ["1 1", "11 1", "Ġ a", "! !"],
        "tokenizer.ggml.eos_token_id": 260,
    }
    keys.update({f"tokenizer.ggml.{key}": value for key, value in changes.items()})
    return Header(3, {key: value for key, value in keys.items() if value is not None}, {}, 0, 32)


def pieces(made: Any, text: str) -> list[str]:
    return [made.token_bytes(id).decode() for id in made.encode(text)]


def test_falcon_splits_marks_words_and_three_digits() -> None:
    made = adapter.from_header(header(), "falcon.gguf")
    assert pieces(made, " a!!11111<eos>") == [" a", "!!", "111", "11", "<", "e", "o", "s", ">"]
    assert pieces(made, " !! a") == [" ", "!!", " a"]


def test_one_digit_a_piece() -> None:
    assert pieces(adapter.from_header(header(pre="starcoder"), "x"), " a111") == [" a", "1", "1", "1"]


def test_a_plain_vocabulary_is_the_native_tokenizer() -> None:
    made = adapter.from_header(header(pre="qwen2"), "x")
    assert isinstance(made, Tokenizer) and made.family == "qwen2"
    assert made.specials == {"<eos>": 260}


@pytest.mark.parametrize(
    ("changes", "field"),
    [({"model": "rwkv"}, "rwkv"), ({"model": None}, "ggml.model"), ({"pre": "chatglm-bpe"}, "chatglm"), ({"pre": None}, "ggml.pre"),
     ({"tokens": None}, "tokens"), ({"tokens": ["a", "a"]}, "token_type"), ({"eos_token_id": 10**6}, "eos"),
     ({"merges": ["a"]}, "merges"), ({"token_type": np.array([9] * 261)}, "token_type"), ({"model": "llama"}, "scores")],
)  # fmt: skip
def test_what_cannot_be_read_is_refused_by_name(changes: dict, field: str) -> None:
    with pytest.raises(ArtifactError, match=field):
        adapter.from_header(header(**changes), "x.gguf")


def test_keys_equal_the_reference_reader(data: Path) -> None:
    import gguf

    path = data / "tokenizers" / "gguf_vocab" / "ggml-vocab-phi-3.gguf"
    ours, other = read_header(path).metadata, gguf.GGUFReader(path).fields
    assert ours.keys() == {key for key in other if not key.startswith("GGUF.")}
    for key, value in ours.items():
        wanted = other[key].contents()
        assert (value.tolist() if isinstance(value, np.ndarray) else value) == wanted, key
