import itertools

import numpy as np
import pytest
from token_texts import code, naughty, random_texts, techdocs

from ownlm.errors import UsageError
from ownlm.tokenizer.pretokenize import PATTERNS, class_table, family_of, split

EVERYTHING = "".join(chr(c) for c in range(0x110000) if not 0xD800 <= c < 0xE000)


def native_split(kernels, text: str, family: str) -> list[str]:
    ends = kernels.split_ends(text, list(PATTERNS).index(family), class_table()).tolist()
    raw = text.encode("utf-8")
    return [raw[a:b].decode("utf-8") for a, b in itertools.pairwise([0, *ends])]


def hf_split(text: str, family: str) -> list[str]:
    from tokenizers import Regex, pre_tokenizers

    step = pre_tokenizers.Split(Regex(PATTERNS[family]), "isolated")
    return [piece for piece, _ in step.pre_tokenize_str(text)]


@pytest.mark.parametrize(
    ("family", "text", "pieces"),
    [
        (
            "llama3",
            "He'S 12345  ok\n\n x!!\n",
            ["He", "'S", " ", "123", "45", " ", " ok", "\n\n", " x", "!!\n"],
        ),
        ("qwen2", "a123", ["a", "1", "2", "3"]),
        ("gpt2", "I'm 12345  ok\n\n x", ["I", "'m", " 12345", " ", " ok", "\n\n", " x"]),
        ("o200k", "camelCase's A/B//\n", ["camel", "Case's", " A", "/B", "//\n"]),
        ("cl100k", "日本 語é\u0301", ["日本", " 語é", "\u0301"]),
    ],
)
def test_families_split_as_worked_out_by_hand(family: str, text: str, pieces: list[str]) -> None:
    assert list(split(text, family)) == pieces


@pytest.mark.parametrize("family", PATTERNS)
def test_native_split_equals_the_pattern_on_all_of_unicode(kernels, family: str) -> None:
    for text in (EVERYTHING, "".join(f"'{c}s " for c in EVERYTHING[::29]), *random_texts(1, 600, 30)):
        assert native_split(kernels, text, family) == list(split(text, family))


@pytest.mark.parametrize("family", PATTERNS)
def test_native_split_equals_the_pattern_on_real_text(kernels, data, family: str) -> None:
    for text in [*techdocs(data, 150), *code(data, 60), *naughty(data)]:
        assert native_split(kernels, text, family) == list(split(text, family))


def hf_agrees(family: str, every: int, count: int) -> None:
    pytest.importorskip("tokenizers")
    shuffled = np.random.default_rng(3).permutation(list(EVERYTHING))[::every]
    for text in ("".join(shuffled), *random_texts(2, count, 60)):
        assert list(split(text, family)) == hf_split(text, family)


@pytest.mark.parametrize("family", ["gpt2", "o200k", "llama3"])
def test_split_is_that_of_hf_tokenizers(family: str) -> None:
    hf_agrees(family, 20, 150)


@pytest.mark.slow
@pytest.mark.parametrize("family", PATTERNS)
def test_split_is_that_of_hf_tokenizers_on_all_of_unicode(family: str) -> None:
    hf_agrees(family, 1, 2000)


def test_unknown_family_is_named() -> None:
    with pytest.raises(UsageError, match="gpt5"):
        list(split("x", "gpt5"))


def test_family_of_pattern() -> None:
    assert [family_of(PATTERNS[name]) for name in PATTERNS] == ["gpt2", "llama3", "o200k", "llama3", "qwen2"]
    assert family_of(r"\w+") is None
