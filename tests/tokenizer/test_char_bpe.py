"""Character BPE in every setting against Hugging Face `tokenizers`, on random vocabularies and text."""

from __future__ import annotations

import itertools
import json
import random
import warnings

import pytest

from ownlm.errors import ArtifactError
from ownlm.tokenizer.char_bpe import CharBPE, merge_all


def random_model(rng: random.Random) -> dict:
    prefix, suffix = rng.choice(["", "", "##"]), rng.choice(["", "", "</w>"])
    letters = "abcé"
    vocab = [
        *letters,
        *(prefix + c for c in letters),
        *(c + suffix for c in letters),
        *(prefix + c + suffix for c in letters),
    ]
    merges: list[tuple[str, str]] = []
    for _ in range(30):
        left, right = rng.choice(vocab), rng.choice([t for t in vocab if t.startswith(prefix)])
        if (left, right) not in merges and len(left + right) < 20:
            merges.append((left, right))
            vocab.append(left + right[len(prefix) :])
    unk = rng.choice([None, "<unk>"])
    vocab += [unk] if unk else []
    fallback = rng.random() < 0.5
    vocab += [f"<0x{byte:02X}>" for byte in range(256) if rng.random() < 0.95] if fallback else []
    rng.shuffle(vocab)
    return {
        "type": "BPE", "dropout": None, "unk_token": unk, "continuing_subword_prefix": prefix or None,
        "end_of_word_suffix": suffix or None, "fuse_unk": rng.random() < 0.5, "byte_fallback": fallback,
        "ignore_merges": rng.random() < 0.3, "vocab": {t: n for n, t in enumerate(dict.fromkeys(vocab))}, "merges": merges,
    }  # fmt: skip


@pytest.mark.parametrize("seed", range(25))
def test_ids_equal_tokenizers(seed: int) -> None:
    from tokenizers import Tokenizer as Oracle

    rng = random.Random(seed)
    raw = json.loads(json.dumps(random_model(rng)))
    ours = CharBPE.from_json(raw, "x")
    oracle = Oracle.from_str(json.dumps({"version": "1.0", "added_tokens": [], "model": raw}))
    assert CharBPE.from_json(ours.to_json(), "x").to_json() == ours.to_json()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # characters that are left out are counted: the next test
        for _ in range(150):
            text = "".join(rng.choices("aabbccéxß中", k=rng.randint(1, 14)))
            assert ours.encode_piece(text) == oracle.encode(text, add_special_tokens=False).ids


def test_characters_that_are_left_out_are_counted_and_said() -> None:
    model = CharBPE(["a"], [])
    with pytest.warns(UserWarning, match="left out"):
        assert model.encode_piece("axay") == [0, 0]
    assert model.num_dropped == 2


@pytest.mark.parametrize("seed", range(5))
def test_merging_equals_the_plain_loop(seed: int) -> None:
    """Lowest rank first, leftmost among equals, searched anew for each merge."""
    rng = random.Random(seed)
    table = {(rng.randrange(6), rng.randrange(6)): (float(rank), rng.randrange(6)) for rank in range(12)}
    for _ in range(100):
        ids = rng.choices(range(6), k=rng.randint(0, 30))
        plain = list(ids)
        while found := [
            (table[pair][0], at) for at, pair in enumerate(itertools.pairwise(plain)) if pair in table
        ]:
            at = min(found)[1]
            plain[at : at + 2] = [table[plain[at], plain[at + 1]][1]]
        assert merge_all(ids, lambda a, b: table.get((a, b))) == plain


@pytest.mark.parametrize(
    ("change", "field"),
    [({"dropout": 0.1}, "dropout"), ({"unk_token": "zz"}, "unk_token"), ({"merges": [["a", "q"]]}, r"merges\[0\]"),
     ({"merges": ["a b c"]}, r"merges\[0\]"), ({"merges": None}, "merges"), ({"fancy": 1}, "fancy"), ({"vocab": []}, "vocab")],
)  # fmt: skip
def test_damaged_models_are_refused_by_field(change: dict, field: str) -> None:
    with pytest.raises(ArtifactError, match=field):
        CharBPE.from_json({**CharBPE(["a", "b", "ab"], [("a", "b")]).to_json(), **change}, "x")
