"""Rank files against tiktoken itself, built from the same file."""

from __future__ import annotations

import base64
import random
from pathlib import Path

import pytest
import token_texts

from ownlm.errors import ArtifactError, UsageError
from ownlm.tokenizer.adapters import tiktoken as adapter
from ownlm.tokenizer.pretokenize import PATTERNS

NAMES = ("r50k_base", "cl100k_base", "o200k_base", "whisper_multilingual")


@pytest.mark.parametrize("name", [NAMES[0], *(pytest.param(n, marks=pytest.mark.slow) for n in NAMES[1:])])
def test_ids_equal_tiktoken(data: Path, name: str) -> None:
    import tiktoken

    folder = data / "tokenizers" / "tiktoken"
    ours, ranks = adapter.load(folder / f"{name}.tiktoken"), adapter.read_ranks(folder / f"{name}.tiktoken")
    other = tiktoken.Encoding(
        name, pat_str=PATTERNS[ours.family], mergeable_ranks=ranks, special_tokens=adapter.KNOWN[name][1]
    )
    texts = [
        (folder / "TestPlans.txt").read_text("utf-8"), "", " ", *token_texts.naughty(data), *token_texts.declarations(data, 20),
        *token_texts.techdocs(data, 100), *token_texts.code(data, 200), *token_texts.random_texts(2, 100, 100),
    ]  # fmt: skip
    for text in texts:
        ids = other.encode_ordinary(text)
        assert ours.encode(text) == ids
        assert ours.decode(ids) == text
    for special, id in adapter.KNOWN[name][1].items():
        assert ours.special_id(special) == id
        assert id not in ours.encode(special)


@pytest.mark.slow
def test_known_sizes(data: Path) -> None:
    folder = data / "tokenizers" / "tiktoken"
    assert (
        adapter.load(folder / "whisper_multilingual.tiktoken").vocab_size == 51865
    )  # n_vocab of Whisper's models
    assert adapter.load(folder / "r50k_base.tiktoken").vocab_size == 50257


def write(path: Path, ranks: dict[bytes, int]) -> Path:
    path.write_bytes(b"".join(base64.b64encode(token) + b" %d\n" % rank for token, rank in ranks.items()))
    return path


@pytest.mark.parametrize("seed", range(6))
def test_random_ranks_equal_tiktoken(tmp_path: Path, seed: int) -> None:
    """Vocabularies as BPE learns them, over runs of few letters, where ties and borders are hardest."""
    import tiktoken

    rng = random.Random(seed)
    tokens = [bytes([byte]) for byte in range(256)]
    while len(tokens) < 330:
        parts = [t for t in tokens if set(t) <= set(b"ab ")]
        joined = rng.choice(parts) + rng.choice(parts)
        ranks = {token: rank for rank, token in enumerate(tokens)}
        if joined not in ranks and len(joined) < 12 and adapter._pair(joined, len(tokens), ranks):
            tokens.append(joined)
    ranks = {token: rank for rank, token in enumerate(tokens)}
    ours = adapter.load(write(tmp_path / "own.tiktoken", ranks), family="gpt2")
    other = tiktoken.Encoding("own", pat_str=PATTERNS["gpt2"], mergeable_ranks=ranks, special_tokens={})
    for _ in range(500):
        text = "".join(rng.choices("aab ", k=rng.randint(0, 40)))
        assert ours.encode(text) == other.encode_ordinary(text)


def test_what_is_wrong_is_named(tmp_path: Path) -> None:
    ranks = {bytes([byte]): byte for byte in range(256)}
    path = write(tmp_path / "mine.tiktoken", ranks)
    with pytest.raises(UsageError, match="family="):
        adapter.load(path)
    assert adapter.load(path, family="gpt2", specials={"<|x|>": 300}).vocab_size == 301
    with pytest.raises(ArtifactError, match="special token"):
        adapter.load(path, family="gpt2", specials={"<|x|>": 3})
    with pytest.raises(ArtifactError, match="cannot be merged"):
        adapter.load(write(tmp_path / "a", {**ranks, b"abc": 256}), family="gpt2")
    for line in (b"YQ== -1", b"YQ==", b"?? 256", b"YQ== 300", b"YWI= 99999999999999", b"YWI= 5", b"YWI= 3 4"):
        path.write_bytes(write(tmp_path / "b", ranks).read_bytes() + line + b"\n")
        with pytest.raises(ArtifactError, match="line 257"):
            adapter.load(path, family="gpt2")
    with pytest.raises(ArtifactError, match="no token for byte"):
        adapter.load(write(tmp_path / "c", {b"a": 0}), family="gpt2")
