from __future__ import annotations

import pytest
from token_texts import declarations, naughty, synthetic

from ownlm.errors import DataError, UsageError
from ownlm.tokenizer import bpe
from ownlm.tokenizer.extend import extend
from ownlm.tokenizer.load import load
from ownlm.tokenizer.tokenizer import Tokenizer
from ownlm.tokenizer.vocabulary import Vocabulary

GREEK = "Όλοι οι άνθρωποι γεννιούνται ελεύθεροι και ίσοι στην αξιοπρέπεια και τα δικαιώματα. "


@pytest.fixture(scope="module")
def small() -> Tokenizer:
    return bpe.train(synthetic(1), 512)


def test_new_merges_shorten_the_new_language_and_leave_the_old_alone(small: Tokenizer) -> None:
    more = extend(small, [GREEK * 20], 60)
    new, old = more.tokenizer, small
    assert new.vocab_size == old.vocab_size + len(more.pieces) == old.vocab_size + 60
    assert new.specials == old.specials and new.vocabulary.tokens[: old.vocab_size] == old.vocabulary.tokens
    assert (
        more.tokens_after
        == len(new.encode(GREEK * 20))
        < 0.5 * len(old.encode(GREEK * 20))
        == 0.5 * more.tokens_before
    )
    assert "bytes per token" in more.notice()
    for text in [*synthetic(1)[:5], *synthetic(2)[:5]]:
        if not any(id >= old.vocab_size for id in new.encode(text)):
            assert new.encode(text) == old.encode(text)
        assert new.decode(old.encode(text)) == text == new.decode(new.encode(text))
    assert sum(new.encode(text) == old.encode(text) for text in synthetic(1)) >= 15


def test_pieces_spell_the_new_tokens(small: Tokenizer) -> None:
    more = extend(small, [GREEK * 5], 40)
    for n, pieces in enumerate(more.pieces):
        assert max(pieces) < small.vocab_size
        assert small.decode_bytes(pieces) == more.tokenizer.token_bytes(small.vocab_size + n)


def test_old_tokens_get_no_second_way_to_arise(small: Tokenizer) -> None:
    """Also for tokens that the old merges would have to build in another order."""
    more = extend(small, synthetic(3), 200)
    tokens = more.tokenizer.vocabulary.tokens
    assert len(set(tokens)) == len(tokens)
    named = Tokenizer(Vocabulary.from_merges("gpt2", [], ["hi"]), chat_template="")
    more = extend(named, ["hi\nhi\nhi\nha\nha"], 9)
    assert more.tokenizer.vocabulary.tokens.count(b"hi") == 1 and b"ha" in more.tokenizer.vocabulary.tokens


def test_twice_and_through_a_folder(small: Tokenizer, tmp_path) -> None:
    once = extend(small, [GREEK * 5], 10).tokenizer
    twice = extend(once, [GREEK * 5], 10).tokenizer
    twice.save(tmp_path)
    assert load(tmp_path).encode(GREEK) == twice.encode(GREEK)
    theirs = pytest.importorskip("tokenizers").Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    for text in (GREEK, *synthetic(4)[:4]):
        assert theirs.encode(text).ids == twice.encode(text)
    assert len(twice.encode(GREEK)) < len(once.encode(GREEK)) < len(small.encode(GREEK))


def test_real_languages(data, tokenizer: Tokenizer) -> None:
    """Three languages of the data folder, one each; ids of unrelated text stay."""
    texts = declarations(data, 140)
    for text in texts[:3]:
        more = extend(tokenizer, [text], 100)
        assert more.tokens_after < 0.9 * more.tokens_before
        for other in naughty(data)[:100]:
            ids = more.tokenizer.encode(other)
            assert more.tokenizer.decode(ids) == other
            if max(ids, default=0) < more.old_size:
                assert ids == tokenizer.encode(other)


def test_mistakes(small: Tokenizer) -> None:
    with pytest.raises(UsageError, match="num_tokens = 0"):
        extend(small, ["x"], 0)
    with pytest.raises(DataError, match="no text"):
        extend(small, [""], 5)
    with pytest.raises(DataError):
        extend(small, ["\udc00"], 5)
    few = extend(small, ["q"], 5)
    assert few.pieces == () and "instead of 5" in few.notice()
