import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ownlm.errors import DataError, UsageError
from ownlm.records import Encode
from ownlm.tokenizer import bpe
from ownlm.tokenizer.stream import Detokenizer
from ownlm.tokenizer.tokenizer import Tokenizer


@settings(max_examples=150, deadline=None)
@given(st.text())
def test_decode_inverts_encode(tokenizer: Tokenizer, text: str) -> None:
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert tokenizer.decode(tokenizer.encode_batch([text])[0]) == text
    assert max(ids, default=0) < min(tokenizer.specials.values())


@settings(max_examples=150, deadline=None)
@given(st.lists(st.integers(0, 2047), max_size=40))
def test_stream_equals_decode_and_never_cuts(tokenizer: Tokenizer, ids: list[int]) -> None:
    stream = Detokenizer(tokenizer)
    pieces = [stream.push(id) for id in ids]
    assert "".join(pieces) + stream.flush() == tokenizer.decode(ids)


def test_stream_holds_an_incomplete_character_back(tokenizer: Tokenizer) -> None:
    stream = Detokenizer(tokenizer)
    assert [stream.push(byte) for byte in "😀".encode()] == ["", "", "", "😀"]
    stream.push(0xE4)
    assert stream.flush() == "\ufffd"


def test_specials_in_text_are_ordinary_text(tokenizer: Tokenizer) -> None:
    for name, id in tokenizer.specials.items():
        ids = tokenizer.encode(f"a{name}b")
        assert id not in ids and tokenizer.decode(ids) == f"a{name}b"
        assert tokenizer.decode([id]) == name and tokenizer.special_id(name) == id


@pytest.mark.parametrize("native", ["1", "0"])
def test_lone_surrogates_are_a_data_error(native: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OWNLM_NATIVE", native)
    tokenizer = bpe.train(["ab ab"], 320)
    for call in (tokenizer.encode, lambda text: tokenizer.encode_batch(["x", text])):
        with pytest.raises(DataError, match="character 2"):
            call("ab\ud83dcd")


def test_foreign_ids_and_names_are_refused(tokenizer: Tokenizer) -> None:
    for ids in ([2048], [5, -1], np.array([70000])):
        with pytest.raises(DataError, match="vocabulary of 2048"):
            tokenizer.decode(ids)
    with pytest.raises(UsageError, match="nobody"):
        tokenizer.special_id("<|nobody|>")


def test_is_an_encode(tokenizer: Tokenizer) -> None:
    encode: Encode = tokenizer
    assert encode.vocab_size == 2048


@pytest.mark.parametrize("native", ["1", "0"])
@pytest.mark.timeout(60)
def test_hostile_repetition_is_not_quadratic(tokenizer: Tokenizer, native: str, monkeypatch) -> None:
    """A quadratic merge loop would need hours for one piece of this length."""
    monkeypatch.setenv("OWNLM_NATIVE", native)
    fresh = Tokenizer(tokenizer.vocabulary)
    for text in (" " * 60_000, "a" * 60_000, "1" * 60_000, "\n" * 60_000, "é" * 30_000):
        assert fresh.decode(fresh.encode(text)) == text
