"""Characters and bytes: every code point comes back, and what is unknown follows the stated rule."""

from __future__ import annotations

import json

import pytest

from ownlm.errors import ArtifactError, DataError, UsageError
from ownlm.tokenizer import characters
from ownlm.tokenizer.byte_level import byte_tokenizer
from ownlm.tokenizer.characters import Characters

EVERYTHING = "".join(chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000)


def test_every_code_point_comes_back() -> None:
    model = characters.train([EVERYTHING])
    assert len(model.vocab) == 1_112_064
    ids = model.encode_piece(EVERYTHING)
    assert ids == list(range(1_112_064))
    assert model.decode(ids) == EVERYTHING


def test_every_code_point_is_its_bytes() -> None:
    tokenizer = byte_tokenizer()
    ids = tokenizer.encode(EVERYTHING)
    assert bytes(ids) == EVERYTHING.encode("utf-8")
    assert tokenizer.decode(ids) == EVERYTHING
    assert tokenizer.vocab_size == 256 + len(tokenizer.specials)


def test_the_rule_for_unknown_characters() -> None:
    strict = characters.train(["abc"])
    with pytest.raises(DataError, match="character 1: 'x'"):
        strict.encode_piece("axby")
    loose = characters.train(["abc"], unknown="unknown")
    assert loose.encode_piece("axby") == [1, 0, 2, 0]
    assert loose.num_unknown == 2
    assert loose.decode([1, 0]) == "a<unk>"
    assert characters.train(["aab"], min_count=2).vocab == ["a"]
    assert strict.encode_piece("") == []


def test_json_round_trip_equals_tokenizers() -> None:
    from tokenizers import Tokenizer as Oracle

    model = characters.train(["grüße 中\n"], unknown="unknown")
    raw = json.loads(json.dumps(model.to_json()))
    again = Characters.from_json(raw, "x")
    oracle = Oracle.from_str(json.dumps({"version": "1.0", "added_tokens": [], "model": raw}))
    for text in ("grüße", "中 中\n", "xyz g", ""):
        assert again.encode_piece(text) == model.encode_piece(text) == oracle.encode(text).ids


def test_what_is_wrong_is_named() -> None:
    with pytest.raises(DataError, match="no text"):
        characters.train([""])
    with pytest.raises(DataError, match="surrogate"):
        characters.train(["\udc00"])
    with pytest.raises(UsageError, match="maybe"):
        Characters(["a"], "maybe")
    with pytest.raises(DataError, match="id 5"):
        characters.train(["a"]).decode([5])
    raw = characters.train(["ab"]).to_json()
    for change, field in (
        ({"merges": [["a", "b"]]}, "merges"),
        ({"vocab": {"ab": 0}}, "vocab"),
        ({"dropout": 0.1}, "dropout"),
    ):
        with pytest.raises(ArtifactError, match=field):
            Characters.from_json({**raw, **change}, "x")
