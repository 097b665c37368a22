"""The compiled cutters and mergers equal the readable ones on random vocabularies and texts, ties included."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

from ownlm.tokenizer import piece_kernels
from ownlm.tokenizer.char_bpe import CharBPE, merge_all
from ownlm.tokenizer.scored_bpe import ScoredBPE
from ownlm.tokenizer.sentencepiece import PieceType, SentencePieceTokenizer, Spec
from ownlm.tokenizer.unigram import Unigram
from ownlm.tokenizer.viterbi import best_cut, trie


@pytest.fixture(autouse=True)
def built(kernels: Any) -> None:
    if not hasattr(kernels, "PieceMerger"):
        pytest.skip("the native module is older than these kernels: build it again")


def words(rng: random.Random, letters: str, count: int, longest: int) -> list[str]:
    return sorted({"".join(rng.choices(letters, k=rng.randint(1, longest))) for _ in range(count)})


def test_merges_equal_the_reference() -> None:
    rng = random.Random(1)
    for n in range(300):
        size = rng.randint(2, 12)
        pairs = {
            (rng.randrange(size), rng.randrange(size)): (
                float(rng.randint(-3, 6)),
                rng.randrange(size, 2 * size),
            )
            for _ in range(rng.randint(0, 25))
        }
        pairs |= {(size, rng.randrange(size)): (0.5, 2 * size), (2 * size, 2 * size): (-1.0, 2 * size + 1)}
        ids = [rng.randrange(size + 1) for _ in range(rng.randint(0, 200))]
        fast = piece_kernels.merger(pairs)
        assert fast is not None
        assert fast.merge(ids) == merge_all(ids, lambda a, b, pairs=pairs: pairs.get((a, b))), n


@pytest.mark.parametrize("single", [True, False])
def test_cuts_equal_the_reference(single: bool) -> None:
    rng = random.Random(2)
    for n in range(300):
        pieces = [
            (word, float(np.float32(rng.choice([-1.0, -2.0, -rng.random() * 9]))), id + 5)
            for id, word in enumerate(words(rng, "abc語😀", rng.randint(0, 20), 5))
        ]
        text = "".join(rng.choices("abc語😀x", k=rng.randint(0, 200)))
        fast = piece_kernels.cutter(pieces)
        assert fast is not None
        assert fast.cut(text, -7.5, -1, single) == best_cut(text, trie(pieces), -7.5, -1, single), n


def scored(rng: random.Random) -> ScoredBPE:
    found = [
        word for word in words(rng, "abcd▁", 60, 4) if len(word) > 1 or word != "d"
    ]  # d is no piece by itself
    return ScoredBPE({word: id for id, word in enumerate(found)}, [float(rng.randint(-30, 0)) for _ in found])


def test_scored_pieces_equal_the_reference() -> None:
    rng = random.Random(3)
    for _ in range(60):
        fast, slow = (lambda made: (made, ScoredBPE(made._ids, made._scores)))(scored(rng))
        slow.__dict__["_fast"] = None
        for _ in range(4):
            text = "".join(rng.choices("abcd▁語x", k=rng.randint(60, 300)))
            assert fast._cut(text) == slow._cut(text)
            assert "".join(fast.cut(text)) == text


def test_models_use_the_kernels_for_long_pieces_and_agree() -> None:
    rng = random.Random(4)
    vocab = ["<unk>", *words(rng, "abc", 40, 4), "d"]
    scores = [0.0, *(-rng.random() * 5 for _ in vocab[1:])]
    spec = Spec("unigram", tuple(vocab), tuple(float(np.float32(s)) for s in scores),
                (PieceType.UNKNOWN, *[PieceType.NORMAL] * (len(vocab) - 1)), 0)  # fmt: skip
    letters = ["<unk>", "a", "b", "c"]
    merges = [("a", "b"), ("ab", "c"), ("c", "c"), ("a", "a"), ("aa", "aa")]
    table = [*letters, *(left + right for left, right in merges)]
    for build in (
        lambda: Unigram(vocab, scores, 0),
        lambda: SentencePieceTokenizer(spec),
        lambda: CharBPE(table, merges, unk_token="<unk>", fuse_unk=True),
    ):
        fast, slow = build(), build()
        slow.__dict__["_fast"] = None
        for _ in range(20):
            text = "".join(rng.choices("aabbccdé", k=rng.randint(60, 400)))
            ids = [
                one.encode(text) if hasattr(one, "encode") else one.encode_piece(text) for one in (fast, slow)
            ]
            assert ids[0] == ids[1]
        assert fast._fast is not None


def test_bad_tables_are_refused(kernels: Any) -> None:
    with pytest.raises(ValueError, match="rise"):
        kernels.PieceCutter(
            np.array([97], np.uint32), np.array([2], np.uint64), np.zeros(1), np.zeros(1, np.int64)
        )
    with pytest.raises(ValueError, match="one score"):
        kernels.PieceCutter(
            np.array([97], np.uint32), np.array([1], np.uint64), np.zeros(2), np.zeros(1, np.int64)
        )
