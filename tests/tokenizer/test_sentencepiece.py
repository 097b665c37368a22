"""SentencePiece files against the sentencepiece package: published models, and small ones trained here in many settings."""

from __future__ import annotations

import gzip
import io
import json
from pathlib import Path

import pytest
import token_texts
from hypothesis import given, settings
from hypothesis import strategies as st

from ownlm.errors import ArtifactError, DataError
from ownlm.tokenizer.adapters import sentencepiece as adapter
from ownlm.tokenizer.sentencepiece import SentencePieceTokenizer

ODD = [
    "",
    " ",
    "  ",
    " a  b ",
    "▁",
    "a▁b",
    "\u3000x\u200b",
    "ﬁ½ Ⅷ",
    "é e\u0301",
    "<s></s><unk>",
    "<0x41>",
    "\0",
    "中 the the",
]
SETTINGS: dict[str, dict] = {
    "unigram_bytes": {"model_type": "unigram", "byte_fallback": True},
    "unigram_whole": {"model_type": "unigram", "user_defined_symbols": ["<sep>", "ab c", "the", " ,", "中"]},
    "unigram_identity": {"model_type": "unigram", "normalization_rule_name": "identity"},
    "unigram_folded": {
        "model_type": "unigram", "normalization_rule_name": "nmt_nfkc_cf", "add_dummy_prefix": False,
        "control_symbols": ["<ctl>", "of"],
    },
    "unigram_spaces": {"model_type": "unigram", "remove_extra_whitespaces": False, "treat_whitespace_as_suffix": True},
    "unigram_over_words": {"model_type": "unigram", "split_by_whitespace": False, "normalization_rule_name": "nfkc"},
    "bpe_bytes": {"model_type": "bpe", "byte_fallback": True, "user_defined_symbols": ["<sep>", "the"], "control_symbols": ["of"]},
    "bpe_over_words": {"model_type": "bpe", "split_by_whitespace": False, "treat_whitespace_as_suffix": True},
    "bpe_spaces": {"model_type": "bpe", "remove_extra_whitespaces": False, "normalization_rule_name": "nmt_nfkc"},
    "char": {"model_type": "char", "user_defined_symbols": ["the"]},
    "word": {"model_type": "word", "treat_whitespace_as_suffix": True},
}  # fmt: skip


@pytest.fixture(scope="module")
def texts(data: Path) -> list[str]:
    return [
        *ODD, *token_texts.naughty(data)[::6], *token_texts.declarations(data, 90), *token_texts.techdocs(data, 600),
        *token_texts.code(data, 500), *token_texts.random_texts(1, 30, 60),
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["mistral_v1", pytest.param("mistral_v3", marks=pytest.mark.slow)])
def test_published_models(data: Path, texts: list[str], name: str) -> None:
    import sentencepiece

    path = data / "tokenizers" / "sentencepiece" / f"{name}.model"
    ours, other = adapter.load(path), sentencepiece.SentencePieceProcessor(model_file=str(path))
    with gzip.open(data / "tokenizers" / "golden_encodings.jsonl.gz", "rt", encoding="utf-8") as file:
        for row in map(json.loads, file):
            assert ours.encode(row["text"]) == row[name]
    for text in texts:
        ids = other.encode(text)
        assert ours.encode(text) == ids
        assert ours.decode(ids) == other.decode(ids)
    controls = {id for id in range(other.vocab_size()) if other.is_control(id) or other.is_unknown(id)}
    spelled = " ".join(other.id_to_piece(id) for id in controls)
    assert controls.isdisjoint(ours.encode(spelled + spelled.replace(" ", "")))


_QUICK = ("unigram_whole", "bpe_bytes")


@pytest.mark.parametrize(
    "name", [name if name in _QUICK else pytest.param(name, marks=pytest.mark.slow) for name in SETTINGS]
)
def test_trained_models(data: Path, texts: list[str], name: str) -> None:
    import sentencepiece

    lines = [line for text in token_texts.techdocs(data, 200) for line in text.split("\n") if line.strip()][
        :700
    ]
    out = io.BytesIO()
    options = {"vocab_size": 1500, "hard_vocab_limit": False, "character_coverage": 0.999, "num_threads": 1}
    if SETTINGS[name]["model_type"] == "word":
        options["vocab_size"] = 300
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines), model_writer=out, minloglevel=2, **{**options, **SETTINGS[name]}
    )
    other = sentencepiece.SentencePieceProcessor(model_proto=out.getvalue())
    ours = SentencePieceTokenizer(adapter.read_spec(out.getvalue(), "trained.model"))
    assert ours.vocab_size == other.vocab_size()
    for text in texts:
        ids = other.encode(text)
        assert ours.encode(text) == ids, text[:80]
        assert ours.decode(ids) == other.decode(ids)
    for ids in ([], [0], [1, 2], [5, 0, 7], list(range(3, 300))):
        assert ours.decode(ids) == other.decode(ids)


@pytest.fixture(scope="module")
def small() -> bytes:
    import sentencepiece

    out = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["aab abb a b abab"] * 20), model_writer=out, vocab_size=268, model_type="bpe",
        byte_fallback=True, hard_vocab_limit=False, minloglevel=2, normalization_rule_name="identity",
    )  # fmt: skip
    return out.getvalue()


@settings(max_examples=100, deadline=None)
@given(at=st.integers(0, 10**6), byte=st.integers(0, 255), cut=st.booleans())
def test_damaged_files_are_refused_or_work(small: bytes, at: int, byte: int, cut: bool) -> None:
    at %= len(small)
    damaged = small[:at] if cut else small[:at] + bytes([byte]) + small[at + 1 :]
    try:
        tokenizer = SentencePieceTokenizer(adapter.read_spec(damaged, "m.model"))
    except ArtifactError as error:
        assert "m.model" in str(error)
    else:
        tokenizer.decode(tokenizer.encode("aab ab xyz"))


def test_errors_say_what_is_wrong(small: bytes, tmp_path: Path) -> None:
    tokenizer = SentencePieceTokenizer(adapter.read_spec(small, "m"))
    with pytest.raises(DataError, match="surrogate"):
        tokenizer.encode("\ud800")
    with pytest.raises(DataError, match="id 9999"):
        tokenizer.decode([9999])
    with pytest.raises(ArtifactError, match=r"none\.model"):
        adapter.load(tmp_path / "none.model")
    with pytest.raises(ArtifactError, match="UNKNOWN"):
        adapter.read_spec(b"", "empty")
