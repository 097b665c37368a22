"""WordPiece against Hugging Face `tokenizers` and BERT's published ids; the trainer against its definition."""

from __future__ import annotations

import gzip
import itertools
import json
import random
from collections import Counter
from pathlib import Path

import pytest
import token_texts

from ownlm.errors import ArtifactError, DataError, UsageError
from ownlm.tokenizer import wordpiece_train
from ownlm.tokenizer.pipeline import PipelineTokenizer
from ownlm.tokenizer.wordlevel import WordLevel
from ownlm.tokenizer.wordpiece import WordPiece


def bert(data: Path) -> WordPiece:
    path = data / "tokenizers" / "wordpiece" / "bert-base-uncased-vocab.txt"
    return WordPiece(path.read_text("utf-8").splitlines())


def test_bert_gives_the_published_ids(data: Path) -> None:
    pipeline = PipelineTokenizer(wordpiece_train.tokenizer_json(bert(data)))
    with gzip.open(data / "tokenizers" / "golden_encodings.jsonl.gz", "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    assert len(rows) > 300
    for row in rows:
        assert pipeline.encode(row["text"]) == row["bert_base_uncased"]


def test_words_equal_tokenizers(data: Path) -> None:
    from tokenizers import models

    model = bert(data)
    oracle = models.WordPiece(
        vocab={token: id for id, token in enumerate(model.vocab)},
        unk_token="[UNK]",
        max_input_chars_per_word=100,
    )
    texts = [
        *token_texts.declarations(data, 12),
        *token_texts.techdocs(data, 100),
        *token_texts.code(data, 300),
    ]
    words = {word for text in texts for word in (*text.split(), *text.lower().split())}
    words |= {
        "a" * 100,
        "a" * 101,
        "a" * 5000,
        "##ing",
        "[UNK]",
        "½",
        "unaffable",
        *token_texts.naughty(data),
    } - {""}
    assert len(words) > 10_000
    for word in words:
        assert model.encode_piece(word) == [token.id for token in oracle.tokenize(word)], word


@pytest.mark.parametrize("seed", range(5))
def test_random_vocabularies_equal_tokenizers(seed: int) -> None:
    from tokenizers import models

    rng = random.Random(seed)
    prefix, limit = rng.choice(["##", "@", ""]), rng.choice([1, 5, 100])
    tokens = {
        rng.choice(["", prefix]) + "".join(rng.choices("abé中", k=rng.randint(1, 4))) for _ in range(40)
    }
    model = WordPiece(["[UNK]", *sorted(tokens - {"", "[UNK]"})], "[UNK]", prefix, limit)
    oracle = models.WordPiece(
        vocab={t: n for n, t in enumerate(model.vocab)}, unk_token="[UNK]", max_input_chars_per_word=limit
    )
    oracle.continuing_subword_prefix = prefix
    again = WordPiece.from_json(json.loads(json.dumps(model.to_json())), "x")
    for _ in range(300):
        word = "".join(rng.choices("abé中z", k=rng.randint(1, 8)))
        assert model.encode_piece(word) == [t.id for t in oracle.tokenize(word)] == again.encode_piece(word)


def test_longest_match_equals_the_plain_definition() -> None:
    """Greedy longest match, written as the definition says."""
    rng = random.Random(3)
    tokens = [
        "[UNK]",
        *{rng.choice(["", "##"]) + "".join(rng.choices("ab", k=rng.randint(1, 6))) for _ in range(30)},
    ]
    model = WordPiece(tokens)
    for _ in range(500):
        word, at, ids = "".join(rng.choices("ab", k=rng.randint(1, 12))), 0, []
        while at < len(word):
            fits = [
                t
                for t in tokens
                if (("##" if at else "") + word[at:]).startswith(t) and len(t) > 2 * (at > 0)
            ]
            if not fits:
                ids = [0]
                break
            best = max(fits, key=len)
            ids.append(tokens.index(best))
            at += len(best) - 2 * (at > 0)
        assert model.encode_piece(word) == ids


def test_unknown_words_without_an_unknown_token_are_an_error() -> None:
    with pytest.raises(DataError, match="'b'"):
        WordPiece(["a"]).encode_piece("b")
    with pytest.raises(DataError, match="'b'"):
        WordLevel(["a"]).encode_piece("b")
    assert WordLevel(["a", "<unk>"]).encode_piece("b") == [1]


@pytest.mark.parametrize(
    ("change", "field"),
    [({"vocab": {"a": -1}}, "vocab"), ({"vocab": {"a": 0, "b": 0}}, "vocab"), ({"vocab": {"a": 2**62}}, "vocab"),
     ({"max_input_chars_per_word": "9"}, "max_input"), ({"magic": 1}, "magic"), ({"unk_token": 3}, "unk_token")],
)  # fmt: skip
def test_damaged_models_are_refused_by_field(change: dict, field: str) -> None:
    with pytest.raises(ArtifactError, match=field):
        WordPiece.from_json({**WordPiece(["[UNK]", "a"]).to_json(), **change}, "tokenizer.json: model")


def naive_train(words: Counter[str], size: int, min_count: int) -> list[str]:
    """The definition: count everything again for each merge."""
    split = {word: [word[0], *("##" + c for c in word[1:])] for word in words}
    tokens = ["[UNK]", *sorted({t for piece in split.values() for t in piece})]
    while len(tokens) < size:
        single, pair = Counter(), Counter()
        for word, piece in split.items():
            for token in piece:
                single[token] += words[word]
            for both in itertools.pairwise(piece):
                pair[both] += words[word]
        often = {both: n for both, n in pair.items() if n >= min_count}
        if not often:
            break
        top = max(n / (single[a] * single[b]) for (a, b), n in often.items())
        ties = [both for both, n in often.items() if n / (single[both[0]] * single[both[1]]) == top]
        a, b = min(ties, key=lambda both: (tokens.index(both[0]), tokens.index(both[1])))
        if a + b[2:] not in tokens:
            tokens.append(a + b[2:])
        for word, piece in split.items():
            out: list[str] = []
            at = 0
            while at < len(piece):
                if piece[at : at + 2] == [a, b]:
                    out.append(a + b[2:])
                    at += 2
                else:
                    out.append(piece[at])
                    at += 1
            split[word] = out
    return tokens


@pytest.mark.parametrize("seed", range(4))
def test_the_trainer_equals_its_definition(seed: int) -> None:
    rng = random.Random(seed)
    words = Counter("".join(rng.choices("abcd", k=rng.randint(1, 7))) for _ in range(300))
    model = wordpiece_train.train(words, 60, specials=["[UNK]"], min_count=3)
    assert model.vocab == naive_train(words, 60, 3)


def test_a_trained_vocabulary_encodes_its_text_and_loads_in_tokenizers(data: Path) -> None:
    from tokenizers import Tokenizer as Oracle

    text = "\n".join(token_texts.techdocs(data, 300))[:60_000]
    words = Counter(text.lower().split())
    model = wordpiece_train.train(words, 1000)
    assert len(model.vocab) == 1000
    assert all(model.encode_piece(word) != [1] for word in words if len(word) <= 100)
    raw = wordpiece_train.tokenizer_json(model)
    oracle, ours = Oracle.from_str(json.dumps(raw)), PipelineTokenizer(raw)
    for line in text.splitlines():
        assert ours.encode(line) == oracle.encode(line, add_special_tokens=False).ids


def test_impossible_wishes_are_refused() -> None:
    with pytest.raises(UsageError, match="too small"):
        wordpiece_train.train(["abc"], 5)
    with pytest.raises(DataError):
        wordpiece_train.train([], 500)
    with pytest.raises(UsageError, match="unknown token"):
        wordpiece_train.train(["abc"], 50, specials=["[PAD]"])
