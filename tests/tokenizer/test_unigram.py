"""Unigram: the best cut against all cuts, EM against enumeration, ids against `tokenizers`, quality against sentencepiece."""

from __future__ import annotations

import io
import itertools
import json
import math
import random
from pathlib import Path

import numpy as np
import pytest
import token_texts

from ownlm.errors import ArtifactError, DataError, UsageError
from ownlm.tokenizer import unigram_train
from ownlm.tokenizer.lattice import Lattice
from ownlm.tokenizer.pipeline import PipelineTokenizer
from ownlm.tokenizer.unigram import Unigram


def cuts(text: str) -> list[list[str]]:
    """All ways to cut a text."""
    out = []
    for borders in itertools.product([False, True], repeat=max(0, len(text) - 1)):
        parts, last = [], 0
        for at, border in enumerate(borders, 1):
            if border:
                parts.append(text[last:at])
                last = at
        out.append([*parts, text[last:]])
    return out


@pytest.mark.parametrize("seed", range(6))
def test_the_cut_is_the_most_likely_of_all(seed: int) -> None:
    rng = random.Random(seed)
    pieces = sorted({"".join(rng.choices("abc", k=rng.randint(1, 4))) for _ in range(15)} - {"c"})
    scores = {piece: -rng.uniform(1, 12) for piece in pieces}
    model = Unigram(["<unk>", *pieces], [0.0, *scores.values()], 0)
    lost = min(scores.values()) - 10
    for _ in range(60):
        text = "".join(rng.choices("abc", k=rng.randint(1, 9)))
        best = -math.inf
        for cut in cuts(text):
            costs = [scores.get(part, lost if len(part) == 1 else -math.inf) for part in cut]
            best = max(best, sum(costs))
        assert model.score(text) == pytest.approx(best, abs=1e-9)
        assert "".join(text[a:b] for a, b, _ in model.cut(text)) == text


@pytest.mark.parametrize("seed", range(4))
def test_expected_counts_equal_enumeration(seed: int) -> None:
    rng = random.Random(seed)
    pieces = ["a", "b", *sorted({"".join(rng.choices("ab", k=rng.randint(2, 3))) for _ in range(6)})]
    logp = np.array([-rng.uniform(0.5, 4) for _ in pieces])
    strings = ["".join(rng.choices("ab", k=rng.randint(1, 7))) for _ in range(9)]
    weights = np.array([float(rng.randint(1, 5)) for _ in strings])
    lattice = Lattice(strings, {piece: n for n, piece in enumerate(pieces)}, 3)
    got, total = lattice.expected(logp, weights)
    want = np.zeros(len(pieces))
    for string, weight, log in zip(strings, weights, total, strict=True):
        ways = [[pieces.index(p) for p in cut] for cut in cuts(string) if all(p in pieces for p in cut)]
        chances = [math.exp(sum(logp[n] for n in way)) for way in ways]
        assert log == pytest.approx(math.log(sum(chances)))
        for way, chance in zip(ways, chances, strict=True):
            for n in way:
                want[n] += weight * chance / sum(chances)
    np.testing.assert_allclose(got, want, rtol=1e-9)


def test_em_never_lowers_the_likelihood() -> None:
    """Without the digamma and without pruning, each round of EM raises the likelihood."""
    strings = [text.replace(" ", "")[:20] for text in token_texts.synthetic(1, 400)]
    pieces, counts = unigram_train.seed_pieces(
        unigram_train.count_words(strings)[0],
        sorted({c for s in strings for c in "▁" + s.replace("\n", "")}),
        200,
        4,
        set(),
    )
    words = [word for s in strings for word in unigram_train.count_words([s])[0]]
    lattice = Lattice(words, {piece: n for n, piece in enumerate(pieces)}, 4)
    logp, before = np.log(counts / counts.sum()), -math.inf
    for _ in range(5):
        expected, total = lattice.expected(logp, np.ones(len(words)))
        assert total.sum() > before - 1e-9
        before = total.sum()
        with np.errstate(divide="ignore"):
            logp = np.log(expected / expected.sum())
    assert np.isfinite(before)


def test_digamma() -> None:
    """Known values (Gauss), and the recurrence."""
    euler = 0.57721566490153286
    got = unigram_train.digamma(np.array([1.0, 0.5, 0.25]))
    np.testing.assert_allclose(
        got, [-euler, -euler - 2 * np.log(2), -euler - np.pi / 2 - 3 * np.log(2)], rtol=1e-9
    )
    x = np.geomspace(1e-3, 1e6, 50)
    np.testing.assert_allclose(
        unigram_train.digamma(x + 1) - unigram_train.digamma(x), 1 / x, rtol=1e-6, atol=1e-9
    )


@pytest.fixture(scope="module")
def lines(data: Path) -> list[str]:
    texts = token_texts.techdocs(data, 150)
    return [line for text in texts for line in text.split("\n") if line.strip()][:1500]


@pytest.mark.parametrize("byte_fallback", [False, True])
def test_a_trained_vocabulary_gives_equal_ids_in_tokenizers(
    data: Path, lines: list[str], byte_fallback: bool
) -> None:
    from tokenizers import Tokenizer as Oracle

    model, account = unigram_train.train(lines[:250], 900, specials=["<s>"], byte_fallback=byte_fallback)
    assert account.vocab_size == len(model.vocab) == 900
    raw = unigram_train.tokenizer_json(model, ["<s>"])
    oracle, ours = Oracle.from_str(json.dumps(raw)), PipelineTokenizer(raw)
    texts = [*lines[::20], *token_texts.declarations(data, 60), *token_texts.naughty(data), "", "a  b "]
    for text in texts:
        assert ours.encode(text, parse_special=True) == oracle.encode(text, add_special_tokens=False).ids
        if byte_fallback and not text.startswith(" ") and "▁" not in text and "<" not in text:
            assert ours.decode(ours.encode(text)) == text


@pytest.mark.slow
def test_quality_is_that_of_sentencepiece(lines: list[str]) -> None:
    """Tokens and likelihood per byte at the same vocabulary size, on the text learned from."""
    import sentencepiece

    model, _ = unigram_train.train(lines, 1500)
    out = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines), model_writer=out, vocab_size=1500, normalization_rule_name="identity",
        hard_vocab_limit=False, num_threads=1, minloglevel=2, bos_id=-1, eos_id=-1,
    )  # fmt: skip
    other = sentencepiece.SentencePieceProcessor(model_proto=out.getvalue())
    size = other.vocab_size()
    theirs = Unigram(
        [other.id_to_piece(n) for n in range(size)], [other.get_score(n) for n in range(size)], 0
    )
    words, _ = unigram_train.count_words(lines)

    def tokens(m: Unigram) -> int:
        return sum(count * len(m.encode_piece(word)) for word, count in words.items())

    def likelihood(m: Unigram) -> float:
        return sum(count * m.score(word) for word, count in words.items())

    assert tokens(model) <= 1.03 * tokens(theirs)
    assert likelihood(model) >= 1.03 * likelihood(theirs)  # both negative


def test_impossible_wishes_are_refused() -> None:
    with pytest.raises(UsageError, match="too small"):
        unigram_train.train(["abcdefgh"], 4)
    with pytest.raises(DataError):
        unigram_train.train(["", " "], 400)
    with pytest.raises(DataError, match="surrogate"):
        unigram_train.train(["\ud800"], 400)
    with pytest.raises(DataError, match="unknown token"):
        Unigram(["a"], [-1.0]).encode_piece("b")


@pytest.mark.parametrize(
    ("change", "field"),
    [({"unk_id": 9}, "unk_id"), ({"vocab": [["a", "x"]]}, r"vocab\[0\]"), ({"vocab": [["a", 1], ["a", 2]]}, "twice"),
     ({"vocab": [["a", math.nan]]}, "finite"), ({"nbest": 3}, "nbest"), ({"byte_fallback": 1}, "byte_fallback")],
)  # fmt: skip
def test_damaged_models_are_refused_by_field(change: dict, field: str) -> None:
    with pytest.raises(ArtifactError, match=field):
        Unigram.from_json(
            {**Unigram(["<unk>", "a"], [0, -1], 0).to_json(), **change}, "tokenizer.json: model"
        )
