"""Every kind of trainer gives a folder that reads back the same and that Hugging Face `tokenizers` encodes with equally."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from token_texts import random_texts, synthetic

from ownlm.errors import DataError, UsageError
from ownlm.records import Message
from ownlm.tokenizer import trainers
from ownlm.tokenizer.chat import encode_chat
from ownlm.tokenizer.load import load
from ownlm.tokenizer.vocabulary import SPECIALS

TEXTS = [*synthetic(3, 1000), "Łódź is not Lodz.  Two  spaces,\n\ttab and 3.14 語言模型\n"] * 2
SIZES = {"bpe": 400, "unigram": 420, "wordpiece": 120, "characters": 60, "bytes": 263}
KNOWN = "".join(sorted(set("".join(TEXTS))))
FOUND = {kind: trainers.train(kind, TEXTS, size) for kind, size in SIZES.items()}


@pytest.mark.parametrize("kind", SIZES)
def test_the_folder_reads_back_and_hugging_face_agrees(kind: str, tmp_path: Path) -> None:
    import tokenizers

    ours = FOUND[kind].tokenizer
    ours.save(tmp_path)
    again = load(tmp_path)
    assert again == ours or again.digest == ours.digest
    assert again.named == ours.named and again.chat_template == ours.chat_template
    theirs = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    theirs.encode_special_tokens = True
    texts = [
        *TEXTS[:6],
        "",
        " ",
        "a",
        " a",
        "a ",
        "\n",
        "x" * 300,
        "<|end|> [MASK] [UNK]",
        TEXTS[-1] * 3,
    ]
    if kind != "characters":
        texts += random_texts(5, 60, 40)
    else:
        texts = [text for text in texts if set(text) <= set(KNOWN)]
    for text in texts:
        ids = again.encode(text)
        assert ids == theirs.encode(text, add_special_tokens=False).ids, text
        assert not set(ids) & set(ours.specials.values()) - {
            ours.specials.get("[UNK]"),
            ours.specials.get("<unk>"),
        }
        assert ours.decode(ids) == theirs.decode(ids, skip_special_tokens=False), text
    if kind == "wordpiece":
        assert again.encode("ab", add_special_tokens=True) == theirs.encode("ab").ids
        assert again.encode_pair("ab", "c") == theirs.encode("ab", "c").ids


@given(st.text(st.characters(exclude_categories=("Cs",), exclude_characters="▁"), max_size=30))
@example(" a")
@example("  ")
@example("\n a  ")
@settings(max_examples=100, deadline=None)
def test_what_should_be_loss_free_is(text: str) -> None:
    for kind in ("bpe", "unigram", "bytes"):
        ours = FOUND[kind].tokenizer
        assert ours.decode(ours.encode(text)) == text


@given(st.text(st.sampled_from(KNOWN), max_size=30))
@settings(max_examples=50, deadline=None)
def test_characters_are_loss_free_and_one_id_each(text: str) -> None:
    ours = FOUND["characters"].tokenizer
    ids = ours.encode(text)
    assert len(ids) == len(text) and ours.decode(ids) == text


def test_an_unknown_character_is_an_error_before_and_after_reading_back(tmp_path: Path) -> None:
    ours = FOUND["characters"].tokenizer
    ours.save(tmp_path)
    for tokenizer in (ours, load(tmp_path)):
        with pytest.raises(DataError, match="not in the vocabulary"):
            tokenizer.encode("abc Ω")


@pytest.mark.parametrize("kind", ["bpe", "unigram", "bytes"])
def test_conversations_use_the_special_tokens(kind: str) -> None:
    ours = FOUND[kind].tokenizer
    assert set(SPECIALS) <= ours.specials.keys()
    ids = encode_chat(ours, [Message("user", "hello <|end|>")]).ids
    assert ids.count(ours.special_id("<|end|>")) == 1, "the one of the template, none of the text"
    assert ours.special_id("<|assistant|>") == ids[-1] or ours.special_id("<|assistant|>") in ids


def test_accounts_and_notices() -> None:
    for kind, size in SIZES.items():
        found = FOUND[kind]
        assert found.num_bytes == sum(len(text.encode()) for text in TEXTS) and found.seconds >= 0
        assert found.tokenizer.vocab_size <= size
        if found.tokenizer.vocab_size < size:
            assert found.notices, kind
    assert trainers.train("wordpiece", TEXTS, 100_000).notices
    assert FOUND["unigram"].tokenizer.vocab_size == 420


@pytest.mark.parametrize(
    ("kind", "size", "options"),
    [
        ("neural", 500, {}), ("bpe", 200, {}), ("bpe", 400, {"min_count": 0}), ("bpe", 400, {"family": "gpt9"}),
        ("unigram", 500, {"family": "gpt2"}), ("unigram", 265, {}), ("wordpiece", 9, {}), ("bytes", 100, {}),
        ("bytes", 263, {"min_count": 2}), ("characters", 12, {}), ("characters", 50, {"min_count": 10**9}),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_refused(kind: str, size: int, options: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        trainers.train(kind, TEXTS, size, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["bpe", "unigram", "wordpiece", "characters"])
@pytest.mark.parametrize("texts", [[], [""], ["a\ud800"]])
def test_no_text_and_half_characters_are_data_errors(kind: str, texts: list[str]) -> None:
    with pytest.raises(DataError):
        trainers.train(kind, texts, 500)
