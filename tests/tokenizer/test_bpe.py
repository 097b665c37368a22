import itertools
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from token_texts import code, naughty, random_texts, synthetic, techdocs

from ownlm.errors import DataError, UsageError
from ownlm.tokenizer import bpe
from ownlm.tokenizer.encoder import ReferenceEncoder
from ownlm.tokenizer.pretokenize import PATTERNS, class_table
from ownlm.tokenizer.tokenizer import Tokenizer
from ownlm.tokenizer.vocabulary import SPECIALS


def naive_merges(words: Counter[bytes], num_merges: int, min_count: int) -> list[tuple[int, int]]:
    """The rule and nothing else: recount everything before each merge."""
    pieces = {word: list(word) for word in words}
    merges: list[tuple[int, int]] = []
    while len(merges) < num_merges:
        counts: Counter[tuple[int, int]] = Counter()
        for word, ids in pieces.items():
            for pair in itertools.pairwise(ids):
                counts[pair] += words[word]
        best = min(counts, key=lambda pair: (-counts[pair], pair), default=None)
        if best is None or counts[best] < min_count:
            break
        merges.append(best)
        for ids in pieces.values():
            at = 0
            while at + 1 < len(ids):
                if (ids[at], ids[at + 1]) == best:
                    ids[at : at + 2] = [255 + len(merges)]
                at += 1
    return merges


def native_merges(kernels, texts: list[str], family: str, num_merges: int, min_count: int, threads: int):
    counter = kernels.WordCounter(list(PATTERNS).index(family), class_table())
    for at in range(0, len(texts), 7):  # in several portions, as a stream comes
        counter.add(texts[at : at + 7], threads)
    return [tuple(row) for row in counter.learn(num_merges, min_count).tolist()], counter.num_words


@pytest.mark.parametrize("seed", range(4))
def test_reference_trainer_follows_the_rule(seed: int) -> None:
    words: Counter[bytes] = Counter()
    bpe.count_words([text[:300] for text in synthetic(seed)], "llama3", words)
    assert bpe.learn_merges(words, 120, 2) == naive_merges(words, 120, 2)


def test_overlapping_pairs_count_as_often_as_they_stand() -> None:
    words = Counter({b"aaaaa": 3, b"abab": 4, b"ba": 9})
    assert bpe.learn_merges(words, 9, 1) == naive_merges(words, 9, 1)


@pytest.mark.parametrize("family", PATTERNS)
@pytest.mark.parametrize(("seed", "min_count", "threads"), [(0, 1, 1), (1, 2, 2), (2, 3, 3)])
def test_native_trainer_equals_reference(
    kernels, family: str, seed: int, min_count: int, threads: int
) -> None:
    texts = [*synthetic(seed), *random_texts(seed, 60, 80), "a" * 1000, "ab" * 500, "aab" * 333, ""]
    words: Counter[bytes] = Counter()
    bpe.count_words(texts, family, words)
    merges, num_words = native_merges(kernels, texts, family, 3000, min_count, threads)
    assert merges == bpe.learn_merges(words, 3000, min_count)
    assert num_words == len(words)


def test_native_trainer_equals_reference_on_real_text(kernels, data) -> None:
    texts = [*techdocs(data, 200), *code(data, 100)]
    words: Counter[bytes] = Counter()
    bpe.count_words(texts, "llama3", words)
    assert native_merges(kernels, texts, "llama3", 4000, 2, 2)[0] == bpe.learn_merges(words, 4000, 2)


def test_train_is_the_same_with_and_without_kernels(kernels, monkeypatch: pytest.MonkeyPatch) -> None:
    fast = bpe.train(synthetic(5), 600)
    monkeypatch.setenv("OWNLM_NATIVE", "0")
    slow = bpe.train(iter(synthetic(5)), 600)
    assert fast.digest == slow.digest and fast.training == slow.training
    for text in random_texts(9, 50, 50):
        assert fast.encode(text) == slow.encode(text)


def test_vocabulary_is_laid_out_as_promised(tokenizer: Tokenizer) -> None:
    tokens = tokenizer.vocabulary.tokens
    assert tokenizer.vocab_size == len(tokens) == 2048
    assert tokens[:256] == tuple(bytes([byte]) for byte in range(256))
    assert list(tokenizer.specials.items()) == list(zip(SPECIALS, range(2041, 2048)))
    assert tokenizer.training and tokenizer.training.notice() == ""
    assert len(set(tokens)) == 2048


def test_small_text_gives_a_smaller_vocabulary_and_says_so() -> None:
    tokenizer = bpe.train(["ab ab ab cd"], 1024)
    report = tokenizer.training
    assert report and report.num_merges == 2 and tokenizer.vocab_size == 320 == report.vocab_size
    assert report.num_reserved == 320 - 256 - 2 - 7
    assert "<|reserved_0|>" in tokenizer.specials and list(tokenizer.specials)[-7:] == list(SPECIALS)
    assert "320 tokens instead of 1024" in report.notice()


def test_bad_requests_are_named() -> None:
    with pytest.raises(UsageError, match="vocab_size = 200"):
        bpe.train(["x"], 200)
    with pytest.raises(UsageError, match="Special"):
        bpe.train(["x"], 512, specials=("<a>", "<a>"))
    with pytest.raises(UsageError, match="ordinary token too"):
        bpe.train(["abc abc"], 512, specials=("abc",))
    with pytest.raises(DataError, match="no text"):
        bpe.train([], 512)
    with pytest.raises(DataError, match="character 1"):
        bpe.train(["a\ud800"], 512)


def naive_encode(tokenizer: Tokenizer, word: bytes) -> list[int]:
    """The rule and nothing else; ids of ours are 256 + rank."""
    ranks = {pair: rank for rank, pair in enumerate(tokenizer.vocabulary.merges)}
    ids = list(word)
    while True:
        ranked = [(ranks[pair], at) for at, pair in enumerate(itertools.pairwise(ids)) if pair in ranks]
        if not ranked:
            return ids
        rank, at = min(ranked)
        ids[at : at + 2] = [256 + rank]


def encoders(tokenizer: Tokenizer):
    table = tokenizer.vocabulary
    return ReferenceEncoder(table.family, table.byte_ids(), table.merge_table(), np.uint16), tokenizer


@settings(max_examples=60, deadline=None)
@given(st.text(alphabet="etains()_ \n", min_size=1, max_size=120).map(lambda s: s.replace(" ", "x")))
def test_both_encoders_merge_lowest_rank_leftmost_first(tokenizer: Tokenizer, text: str) -> None:
    from ownlm.tokenizer.pretokenize import split

    expected = [
        id for piece in split(text, tokenizer.family) for id in naive_encode(tokenizer, piece.encode())
    ]
    for encoder in encoders(tokenizer):
        assert encoder.encode(text) == expected


def test_long_words_merge_as_short_ones_do(tokenizer: Tokenizer) -> None:
    """The heap for long pieces, the scan for short ones, and the naive loop agree on either side of the border."""
    rng = np.random.default_rng(4)
    for size in (2, 15, 16, 31, 32, 47, 48, 49, 64, 200):
        word = "".join(rng.choice(list("etainsr"), size))
        for encoder in encoders(tokenizer):
            assert encoder.encode(word) == naive_encode(tokenizer, word.encode())


def test_native_encoder_equals_reference_on_odd_text(kernels, tokenizer: Tokenizer, data) -> None:
    reference, native = encoders(tokenizer)
    texts = [*random_texts(6, 400, 60), *naughty(data), *techdocs(data, 100), ""]
    batch = native.encode_batch(texts)
    for text, ids in zip(texts, batch, strict=True):
        assert ids.dtype == np.uint16
        assert ids.tolist() == reference.encode(text) == native.encode(text)


def test_cache_pressure_and_threads_change_nothing(kernels, tokenizer: Tokenizer) -> None:
    """More distinct words than the word cache holds, on several threads, twice."""
    rng = np.random.default_rng(8)
    texts = ["".join(rng.choice(list("etaoinshrdlu  \n"), 30_000)) for _ in range(40)]
    expected = [ids.tolist() for ids in encoders(tokenizer)[0].encode_batch(texts[:3])]
    once = tokenizer.encode_batch(texts, threads=1)
    again = tokenizer.encode_batch(texts, threads=3)
    assert [ids.tolist() for ids in once[:3]] == expected
    assert all(np.array_equal(a, b) for a, b in zip(once, again, strict=True))
    assert tokenizer.decode(np.concatenate(again)) == "".join(texts)


def test_wide_vocabularies_give_wide_ids(kernels) -> None:
    specials = [f"<|{n}|>" for n in range(1 << 16)]
    tokenizer = bpe.train(synthetic(1), 256 + (1 << 16) + 64, specials=specials)
    ids = tokenizer.encode_batch(["hello ab"])[0]
    assert ids.dtype == np.uint32 and ids.tolist() == tokenizer.encode("hello ab")
