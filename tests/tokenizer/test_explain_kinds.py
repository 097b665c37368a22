"""`explain` for every kind of tokenizer: the ids of `encode`, and each note says what the model really does."""

from __future__ import annotations

import itertools
import json
import random
from functools import cache
from typing import Any

import pytest
from foreign import KINDS, trained
from token_texts import random_texts, synthetic

from ownlm.errors import DataError, UsageError
from ownlm.tokenizer.explain import LONGEST, explain
from ownlm.tokenizer.explained import Node
from ownlm.tokenizer.pipeline import PipelineTokenizer
from ownlm.tokenizer.sentencepiece import PieceType, SentencePieceTokenizer, Spec
from ownlm.tokenizer.unigram import Unigram

TEXTS = synthetic(2, 1500)
KINDS_HERE = (
    "gpt2",
    "llama3",
    "qwen2",
    "bert_cased",
    "clip",
    "llama_legacy",
    "llama_metaspace",
    "t5",
    "word_level",
)
PROBES = ["", " ", "a", TEXTS[0][:60], "Zz <|a|> <tool>the é! \n\n 12", "語言 x", *random_texts(4, 14, 12)]


@cache
def made(kind: str) -> PipelineTokenizer:
    return PipelineTokenizer(trained(kind, TEXTS, 500))


def leaves(node: Node) -> int:
    return 1 if node.parts is None else leaves(node.parts[0]) + leaves(node.parts[1])


@pytest.mark.parametrize("kind", KINDS_HERE)
def test_ids_are_those_of_encode(kind: str) -> None:
    ours = made(kind)
    for text in PROBES:
        found = explain(ours, text)
        assert found.ids == ours.encode(text)
        assert json.loads(json.dumps(found.as_dict()))["ids"] == found.ids
        assert str(found.ids) in found.render()
        for piece in found.pieces:
            if piece.steps:
                assert len(piece.steps) == len(piece.start) - len(piece.roots)
                assert sum(map(leaves, piece.roots)) == len(piece.start)


@pytest.mark.slow
@pytest.mark.parametrize("kind", sorted(set(KINDS) - set(KINDS_HERE)))
def test_ids_are_those_of_encode_for_the_other_kinds(kind: str) -> None:
    test_ids_are_those_of_encode(kind)


def test_stages_name_every_step() -> None:
    found = explain(made("clip"), "Two  WORDS 12")
    assert [stage.name for stage in found.stages] == [
        "normalizer NFC", "normalizer Replace", "normalizer Lowercase", "pre-tokenizer Split", "pre-tokenizer ByteLevel",
    ]  # fmt: skip
    assert found.stages[2].texts == ("two words 12",) and found.stages[3].texts == ("two", "words", "1", "2")
    found = explain(made("qwen2"), "x<tool>y")
    assert ("x", "<tool>", "y") in [stage.texts for stage in found.stages]
    assert found.pieces[1].note and found.pieces[1].ids == made("qwen2").encode("<tool>")


def test_merges_of_a_byte_level_file_have_their_ranks() -> None:
    ours = made("gpt2")
    merges = [
        tuple(row.split(" ")) if isinstance(row, str) else tuple(row) for row in ours.raw["model"]["merges"]
    ]
    steps = [step for piece in explain(ours, TEXTS[0][:80]).pieces for step in piece.steps]
    assert steps
    for step in steps:
        left, right = merges[int(step.rank)]
        assert (
            ours.token_bytes(ours._ids[left]) == step.left
            and ours.token_bytes(ours._ids[right]) == step.right
        )


def test_longest_matches_leave_no_longer_token() -> None:
    ours = made("bert_cased")
    vocab = ours.raw["model"]["vocab"]
    matches = 0
    for piece in explain(ours, TEXTS[1][:200]).pieces:
        for match in piece.matches:
            matches += 1
            token = match.token.removeprefix("##") if match.at else match.token
            assert piece.text[match.at :].startswith(token)
            for end in range(match.at + len(token) + 1, len(piece.text) + 1):
                assert ("##" if match.at else "") + piece.text[match.at : end] not in vocab
    assert matches > 20
    unknown = explain(ours, "語x").pieces[0]
    assert "unknown" in unknown.note and len(unknown.ids) == 1


def all_cuts(text: str, scores: dict[str, float], unknown: float) -> list[tuple[float, tuple[str, ...]]]:
    """Every way to cut a text, best first, by brute force."""
    found = []
    for borders in itertools.product([False, True], repeat=max(0, len(text) - 1)):
        at = [0, *(n + 1 for n, on in enumerate(borders) if on), len(text)]
        parts = tuple(text[a:b] for a, b in itertools.pairwise(at))
        if all(part in scores or len(part) == 1 for part in parts):
            found.append((sum(scores.get(part, unknown) for part in parts), parts))
    return sorted(found, reverse=True)


def test_the_two_cuts_are_the_two_most_likely() -> None:
    rng = random.Random(6)
    checked = 0
    for _ in range(60):
        pieces = {"".join(rng.choices("abc", k=rng.randint(1, 4))) for _ in range(9)}
        vocab = ["<unk>", *sorted(pieces)]
        scores = [0.0, *(-rng.random() * 9 for _ in pieces)]
        model = Unigram(vocab, scores, 0)
        raw = {"version": "1.0", "added_tokens": [], "model": model.to_json(), "normalizer": None,
               "pre_tokenizer": None, "post_processor": None, "decoder": None}  # fmt: skip
        text = "".join(rng.choices("abcd", k=rng.randint(1, 8)))
        cuts = explain(PipelineTokenizer(raw), text).pieces[0].cuts
        wanted = all_cuts(text, dict(zip(vocab, scores, strict=True)), model.unknown_score)[:2]
        assert [cut.total for cut in cuts] == pytest.approx([total for total, _ in wanted])
        assert [text[a:b] for a, b, _ in model.cut(text)] == list(cuts[0].tokens)
        assert len({cut.tokens for cut in cuts}) == len(
            cuts
        )  # which of several equal ones is second, is nobody's business
        assert all("".join(cut.tokens) == text for cut in cuts)
        checked += len(cuts) == 2
    assert checked > 30


def sentencepiece(kind: str, **options: Any) -> SentencePieceTokenizer:
    rng = random.Random(8)
    words = sorted({"".join(rng.choices("abc▁", k=rng.randint(2, 4))) for _ in range(40)})
    letters = ["a", "b", "▁"]  # c is in pieces, but none itself
    normal = [*letters, *words]
    pieces = ["<unk>", "<s>", *(f"<0x{n:02X}>" for n in range(256)), "<mark>", *normal]
    types = [PieceType.UNKNOWN, PieceType.CONTROL, *[PieceType.BYTE] * 256, PieceType.USER_DEFINED]
    types += [PieceType.UNUSED if n % 9 == 8 else PieceType.NORMAL for n in range(len(normal))]
    scores = [0.0] * 259 + [-float(n) for n in range(len(normal))]
    return SentencePieceTokenizer(Spec(kind, tuple(pieces), tuple(scores), tuple(types), 0, **options))


@pytest.mark.parametrize("kind", ["unigram", "bpe", "word", "char"])
@pytest.mark.parametrize("fallback", [True, False])
def test_sentencepiece(kind: str, fallback: bool) -> None:
    ours = sentencepiece(kind, byte_fallback=fallback)
    rng = random.Random(9)
    for _ in range(80):
        text = "".join(rng.choices(["a", "b", "c", " ", "é", "語", "<mark>"], k=rng.randint(0, 14)))
        found = explain(ours, text)
        assert found.ids == ours.encode(text)
        json.dumps(found.as_dict())
        assert found.stages[0].texts == (ours.normalize(text),)
        for step in (step for piece in found.pieces for step in piece.steps):
            joined = (step.left + step.right).decode()
            assert step.rank == ours.spec.scores[ours.spec.pieces.index(joined)]
    if kind == "bpe":
        assert "score" in explain(ours, "abab ba ab").render()
    if kind == "unigram":
        assert "next best" in explain(ours, "abab").render()


def test_what_cannot_be_explained_is_refused() -> None:
    with pytest.raises(UsageError, match="too long"):
        explain(made("gpt2"), "a" * (LONGEST + 1))
    for ours in (made("gpt2"), sentencepiece("bpe")):
        with pytest.raises(DataError):
            explain(ours, "a\ud800")
