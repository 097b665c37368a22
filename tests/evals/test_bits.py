"""bits_per_byte against a naive token-by-token computation, and the ways it must not go wrong."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import nn

from ownlm.errors import DataError, UsageError
from ownlm.evals import bits
from ownlm.evals.bits import bits_per_byte, measure, score
from ownlm.model.decoder import Decoder
from ownlm.model.presets import tiny

V = 64


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # the model is tiny: threads would only wait for each other
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def model() -> Decoder:
    torch.manual_seed(0)
    decoder = Decoder(tiny(V, 64), seed=3)
    with torch.no_grad():  # sharper than at the start, so that context matters
        for parameter in decoder.parameters():
            if parameter.ndim == 2:
                parameter.mul_(6)
    return decoder.eval()


def corpus(lengths: list[int], seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    tokens = rng.integers(1, V, sum(lengths)).astype(np.uint16)
    tokens[starts] = 0
    return tokens, starts


@torch.no_grad()
def naive(model: nn.Module, tokens: np.ndarray, starts: np.ndarray, context: int, stride: int) -> list[float]:
    """One forward pass per token: the window that the definition gives, the last position's probability."""
    nats = []
    for start, stop in zip(starts, [*starts[1:], len(tokens)], strict=True):
        total = 0.0
        for t in range(start + 1, stop):
            position = t - start - 1  # index of the prediction
            window = 0 if position < context else math.ceil((position - context + 1) / stride) * stride
            ids = torch.from_numpy(tokens[start + window : t].astype(np.int64))[None]
            total -= model(ids)[0, -1].log_softmax(-1)[int(tokens[t])].item()
        nats.append(total)
    return nats


@pytest.mark.parametrize(("context", "stride"), [(16, 8), (16, 16), (16, 1), (7, 3), (32, 16), (1, 1)])
def test_equals_token_by_token(model: Decoder, context: int, stride: int) -> None:
    tokens, starts = corpus([24, 1, 2, 17, 16, 35], seed=context * stride)
    found = score(model, tokens, starts, context, stride, batch=3)
    expected = naive(model, tokens, starts, context, stride)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    value = bits_per_byte(model, tokens, starts, 500, context, stride, batch=4)
    assert value == pytest.approx(sum(expected) / math.log(2) / 500, rel=1e-6)


@pytest.mark.parametrize(("context", "stride"), [(16, 8), (5, 5), (9, 2), (1, 1)])
def test_every_token_once_with_enough_left_context(context: int, stride: int) -> None:
    lengths = [50, 1, 2, 9, 16, 17, 18, 100]
    tokens, starts = corpus(lengths)
    seen = np.zeros(len(tokens), dtype=int)
    stops = np.append(starts[1:], len(tokens))
    for offset, length, skip, document in bits._windows(starts, len(tokens), context, stride):
        assert length <= context and skip < length
        assert starts[document] <= offset and offset + length < stops[document], "never across documents"
        for t in range(offset + skip + 1, offset + length + 1):
            seen[t] += 1
            wanted = min(t - starts[document], context - stride + 1)
            assert t - offset >= wanted, "left context"
    expected = np.ones(len(tokens), dtype=int)
    expected[starts] = 0
    np.testing.assert_array_equal(seen, expected)


def test_documents_do_not_see_each_other(model: Decoder) -> None:
    tokens, starts = corpus([30, 30])
    other = tokens.copy()
    other[1:30] = other[1:30][::-1]
    first, second = score(model, tokens, starts, 16, 8), score(model, other, starts, 16, 8)
    assert first[0] != second[0]
    assert first[1] == pytest.approx(second[1], rel=1e-6)


def test_rows_in_pieces_and_batches_change_nothing(model: Decoder, monkeypatch: pytest.MonkeyPatch) -> None:
    tokens, starts = corpus([40, 90, 3])
    whole = score(model, tokens, starts, 16, 8, batch=64)
    monkeypatch.setattr(bits, "_ROWS", 5)
    np.testing.assert_allclose(score(model, tokens, starts, 16, 8, batch=1), whole, rtol=1e-5)


def test_uniform_model_gives_log2_of_the_vocabulary() -> None:
    class Uniform(nn.Module):
        def hidden(self, ids: torch.Tensor) -> torch.Tensor:
            return torch.zeros(*ids.shape, 4)

        def logits(self, hidden: torch.Tensor) -> torch.Tensor:
            return torch.zeros(len(hidden), V)

    tokens, starts = corpus([11, 21])
    found = measure(Uniform(), tokens, starts, [20, 40], 8, 4)
    assert found.bits_per_byte == pytest.approx(30 * 6 / 60)
    assert (found.num_tokens, found.num_bytes, found.num_documents) == (30, 60, 2)
    assert found.nats_per_token == pytest.approx(math.log(V))
    assert found.low == pytest.approx(found.high)  # both documents have 3 bits per byte


def test_bfloat16_is_close_and_training_mode_is_restored(model: Decoder) -> None:
    tokens, starts = corpus([60])
    model.train()
    full = bits_per_byte(model, tokens, starts, 100, 16, 8)
    half = bits_per_byte(model, tokens, starts, 100, 16, 8, dtype=torch.bfloat16)
    assert model.training
    model.eval()
    assert half == pytest.approx(full, rel=0.05) and half != full


def test_refusals(model: Decoder) -> None:
    tokens, starts = corpus([5])
    with pytest.raises(UsageError, match="stride 9, context 8"):
        score(model, tokens, starts, 8, 9)
    with pytest.raises(DataError):
        score(model, tokens[:1], starts, 8, 4)
    with pytest.raises(DataError):
        bits_per_byte(model, tokens, starts, 0, 8, 4)
    with pytest.raises(DataError, match="2 byte counts, 1 documents"):
        measure(model, tokens, starts, [1, 2], 8, 4)
