"""The figures of a comparison, by hand; the trade-off of vocabulary sizes; the price of a prompt."""

from pathlib import Path

import pytest

from ownlm.errors import UsageError
from ownlm.tokenizer import bpe, price
from ownlm.tokenizer.compare import EDGE_CASES, SAMPLES, compare, size_rows


class Letters:
    """One token per character, and it loses upper case."""

    vocab_size = 0x110000

    def encode(self, text: str) -> list[int]:
        return [ord(c) for c in text.lower()]

    def decode(self, ids: list[int]) -> str:
        return "".join(map(chr, ids))

    def token_bytes(self, id: int) -> bytes:
        return chr(id).encode()


def test_figures_are_what_they_say() -> None:
    found = compare({"letters": Letters()}, {"en": "two Words", "zh": "語言模型"}, {"number": "12"})
    row = found.of("letters", "en")
    assert (row.num_tokens, row.num_bytes, row.fertility, row.bytes_per_token) == (9, 9, 4.5, 1.0)
    assert not row.lossless and found.of("letters", "zh").lossless
    assert found.of("letters", "zh").fertility is None, "no words to divide by"
    assert (
        found.of("letters", "zh").bytes_per_token == 3.0
        and found.of("letters", "zh").tokens_per_character == 1.0
    )
    assert found.edges == {"number": {"letters": ["1", "2"]}}


def test_own_tokenizers_are_lossless_on_every_sample_and_edge() -> None:
    own = bpe.train(list(SAMPLES.values()) * 3, 512)
    found = compare({"own": own})
    assert all(row.lossless for row in found.rows) and len(found.rows) == len(SAMPLES)
    assert set(found.edges) == set(EDGE_CASES)
    with pytest.raises(UsageError, match="empty"):
        compare({"own": own}, {"nothing": ""})
    with pytest.raises(UsageError):
        compare({}, SAMPLES)


def test_a_larger_vocabulary_gives_shorter_texts_and_larger_tables() -> None:
    text = " ".join(SAMPLES.values())
    small, large = size_rows([bpe.train([text] * 4, 320), bpe.train([text] * 4, 640)], text, 64)
    assert large.num_tokens < small.num_tokens and large.bytes_per_token > small.bytes_per_token
    assert (small.embedding_parameters, large.embedding_parameters) == (320 * 64, 640 * 64)


def test_the_price_of_a_prompt(tmp_path: Path) -> None:
    table = tmp_path / "prices.yaml"
    table.write_text(
        "m:\n  tokenizer: t.json\n  input: 0.5\n  output: 2\n  context: 1000\nn:\n  tokenizer: u\n  input: 1\n  output: 1\n"
    )
    m, n = price.read_table(table)
    assert m.tokenizer == tmp_path / "t.json"
    found = price.estimate(m, 900, 200)
    assert found.cost == pytest.approx((900 * 0.5 + 200 * 2) / 1e6) and found.fits is False
    assert price.estimate(n, 900, 200).fits is None and price.estimate(m, 900, 100).fits is True
    table.write_text("m:\n  tokenizer: t\n  input: -1\n  outputs: 3\n")
    with pytest.raises(UsageError) as caught:
        price.read_table(table)
    for part in ("output is missing", "'outputs' is not known", "input = -1"):
        assert part in caught.value.values
