"""Normalizers against Hugging Face `tokenizers` over the characters that Unicode 3.2 had, and on random text."""

from __future__ import annotations

import base64
import io
import json
import random
import unicodedata
from pathlib import Path

import pytest
import token_texts

from ownlm.errors import ArtifactError
from ownlm.tokenizer.charsmap import Charsmap
from ownlm.tokenizer.normalize import normalizer

OLD = unicodedata.ucd_3_2_0
EVERYTHING = [chr(c) for c in range(0x30000) if OLD.category(chr(c)) not in ("Cn", "Cs")]
KINDS: list[dict] = [
    {"type": "NFC"}, {"type": "NFD"}, {"type": "NFKC"}, {"type": "NFKD"}, {"type": "Lowercase"}, {"type": "StripAccents"},
    {"type": "Nmt"}, {"type": "Strip", "strip_left": True, "strip_right": True}, {"type": "Strip", "strip_left": False, "strip_right": True},
    {"type": "Replace", "pattern": {"String": "a"}, "content": "bb"}, {"type": "Replace", "pattern": {"Regex": "\\s+|a"}, "content": "_"},
    {"type": "Prepend", "prepend": "▁"}, {"type": "ByteLevel"},
    *({"type": "BertNormalizer", "clean_text": c, "handle_chinese_chars": h, "strip_accents": s, "lowercase": low}
      for c, h, s, low in [(True, True, None, True), (True, False, None, False), (False, True, True, False), (False, False, False, True)]),
    {"type": "Sequence", "normalizers": [{"type": "NFKD"}, {"type": "StripAccents"}, {"type": "Lowercase"}]},
    {"type": "Sequence", "normalizers": []},
]  # fmt: skip


@pytest.mark.parametrize("raw", KINDS, ids=lambda raw: raw["type"])
def test_equal_tokenizers(data: Path, raw: dict) -> None:
    from tokenizers import Tokenizer as Oracle

    model = {"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "a"}
    oracle = Oracle.from_str(
        json.dumps({"version": "1.0", "added_tokens": [], "normalizer": raw, "model": model})
    ).normalizer
    ours = normalizer(raw, "x")
    rng = random.Random(1)
    texts = [
        "",
        " ",
        "ΑΣ ΣΑΣ Σ",
        "İstanbul",
        *token_texts.naughty(data),
        *("a" + c + "a" for c in EVERYTHING[::3]),
    ]
    texts += ["".join(rng.choices(EVERYTHING, k=20)) for _ in range(300)]
    for text in texts:
        assert ours(text) == oracle.normalize_str(text), text[:40]


@pytest.fixture(scope="module")
def blob() -> bytes:
    """The rules nmt_nfkc_cf, as the sentencepiece package writes them."""
    import sentencepiece

    from ownlm.tokenizer.adapters import protobuf

    out = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["ab ba aab"] * 9), model_writer=out, vocab_size=8, hard_vocab_limit=False,
        normalization_rule_name="nmt_nfkc_cf", minloglevel=2,
    )  # fmt: skip
    spec = dict(protobuf.fields(out.getvalue(), "m"))[3]
    assert isinstance(spec, bytes)
    rules = dict(protobuf.fields(spec, "m"))[2]
    assert isinstance(rules, bytes)
    return rules


def test_precompiled_equals_tokenizers(data: Path, blob: bytes) -> None:
    from tokenizers import normalizers

    raw = {"type": "Precompiled", "precompiled_charsmap": base64.b64encode(blob).decode()}
    ours, oracle = normalizer(raw, "x"), normalizers.Precompiled(blob)
    rng = random.Random(2)
    texts = ["", *token_texts.naughty(data), *("a" + c + "b" for c in EVERYTHING[::50])]
    texts += ["".join(rng.choices(EVERYTHING, k=20)) for _ in range(200)]
    texts += token_texts.declarations(data, 90)
    wrong = [text for text in texts if ours(text) != oracle.normalize_str(text)]
    assert not wrong, wrong[:5]


@pytest.mark.parametrize("cut", [0, 3, 4, 7, 100, 5000])
def test_cut_rules_are_refused(blob: bytes, cut: int) -> None:
    if cut:
        with pytest.raises(ArtifactError, match="rules"):
            Charsmap(blob[:cut], "rules")
    loop = (8).to_bytes(4, "little") + (1 << 10 | 97).to_bytes(4, "little") * 2
    Charsmap(loop + b"\0", "rules")  # no leaf: no rule


@pytest.mark.parametrize(
    ("raw", "field"),
    [({"type": "Magic"}, "Magic"), ({"type": "NFC", "x": 1}, "x"), ({"type": "Replace", "pattern": {"Glob": "a"}, "content": ""}, "String"),
     ({"type": "Prepend"}, "prepend"), ({"type": "Precompiled", "precompiled_charsmap": "?"}, "base64"), ([], "object"),
     ({"type": "Sequence", "normalizers": [{"type": "Nope"}]}, r"normalizers\[0\]")],
)  # fmt: skip
def test_what_is_not_known_is_refused_by_name(raw: dict, field: str) -> None:
    with pytest.raises(ArtifactError, match=field):
        normalizer(raw, "tokenizer.json: normalizer")


@pytest.mark.parametrize("text", ["", "b", "b\n"])
@pytest.mark.parametrize("pattern", ["$", "^", "x*"])
def test_a_pattern_that_matches_nothing_finds_nothing_in_an_empty_text(pattern: str, text: str) -> None:
    normalizers, regex = (
        pytest.importorskip("tokenizers.normalizers"),
        pytest.importorskip("tokenizers").Regex,
    )
    raw = {"type": "Replace", "pattern": {"Regex": pattern}, "content": "-"}
    assert normalizer(raw, "file")(text) == normalizers.Replace(regex(pattern), "-").normalize_str(text)
