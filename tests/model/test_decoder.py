"""The decoder against itself: causality, both attention paths, the cache protocol, compilation, seeds."""

import pytest
import torch

from ownlm.engine.cache import BatchView, SlotCache
from ownlm.errors import UsageError
from ownlm.model import place
from ownlm.model.decoder import Decoder
from ownlm.model.presets import from_dial, tiny


def ids_of(batch: int, time: int, vocab: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, vocab, (batch, time), generator=torch.Generator().manual_seed(seed))


def test_a_later_token_changes_nothing_before_it() -> None:
    model, ids = Decoder(tiny()), ids_of(2, 20, 512)
    changed = ids.clone()
    changed[:, 12] = (changed[:, 12] + 1) % 512
    with torch.no_grad():
        a, b = model(ids), model(changed)
    assert torch.equal(a[:, :12], b[:, :12])
    assert (a[:, 12:] - b[:, 12:]).abs().amax(-1).min() > 1e-6


@pytest.mark.parametrize("shape", [(1, 0), (0, 3), (3,)])
def test_a_text_has_at_least_one_token(shape: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match="at least one token"):
        Decoder(tiny())(torch.zeros(shape, dtype=torch.int64))


@pytest.mark.parametrize("length", [40, 200], ids=["one block", "blocks of unequal length"])
def test_plain_and_flash_attention_agree(monkeypatch: pytest.MonkeyPatch, length: int) -> None:
    model, ids = Decoder(from_dial(2, 512, 256)), ids_of(2, length, 512)
    plain = model(ids)
    plain.square().sum().backward()
    gradient = {n: p.grad.clone() for n, p in model.named_parameters()}
    model.zero_grad()
    monkeypatch.setattr(place, "PLAIN_MAX_TOKENS", 8)
    flash = model(ids)
    flash.square().sum().backward()
    assert not torch.equal(plain, flash), "the rule did not choose another path"
    assert (plain - flash).abs().max() < 1e-5
    for name, weight in model.named_parameters():
        torch.testing.assert_close(weight.grad, gradient[name], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("seed", range(5))
def test_cached_rows_of_unequal_length_equal_the_full_forward(seed: int) -> None:
    """Random chunks of random rows in random, not neighbouring, slots: every logit as in one plain forward."""
    model = Decoder(tiny(max_positions=64))
    random = torch.Generator().manual_seed(seed)
    num_rows = 4
    slots = torch.randperm(7, generator=random)[:num_rows].tolist()
    lengths = torch.randint(5, 60, (num_rows,), generator=random).tolist()
    texts = [ids_of(1, n, 512, seed * 10 + i)[0] for i, n in enumerate(lengths)]
    cache = SlotCache(model.kv_shape(), 7, 64, torch.float32)
    done, given = [0] * num_rows, [[] for _ in range(num_rows)]
    with torch.inference_mode():
        while any(d < n for d, n in zip(done, lengths, strict=True)):
            rows = [i for i in range(num_rows) if done[i] < lengths[i]]
            counts = [min(int(torch.randint(1, 9, (), generator=random)), lengths[i] - done[i]) for i in rows]
            view = BatchView(cache, [slots[i] for i in rows], [done[i] for i in rows], counts)
            ids = torch.zeros(len(rows), max(counts), dtype=torch.int64)
            for at, (i, c) in enumerate(zip(rows, counts, strict=True)):
                ids[at, :c] = texts[i][done[i] : done[i] + c]
            logits = model(ids, view, view.positions)
            for at, (i, c) in enumerate(zip(rows, counts, strict=True)):
                given[i].append(logits[at, :c])
                done[i] += c
        for text, parts in zip(texts, given, strict=True):
            torch.testing.assert_close(torch.cat(parts), model(text[None])[0], rtol=0, atol=1e-5)


def test_blocks_compile_without_a_graph_break_and_keep_their_names() -> None:
    model, ids = Decoder(tiny()), ids_of(2, 16, 512)
    expected, names = model(ids), list(model.state_dict())
    for block in model.blocks:
        block.compile(fullgraph=True, backend="eager")  # fullgraph raises on a break
    torch.testing.assert_close(model(ids), expected)
    assert list(model.state_dict()) == names


def test_weights_are_a_function_of_the_seed() -> None:
    torch.manual_seed(1)
    a = Decoder(tiny(), seed=3).state_dict()
    torch.manual_seed(2)
    b, c = Decoder(tiny(), seed=3).state_dict(), Decoder(tiny(), seed=4).state_dict()
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert not torch.equal(a["embedding.weight"], c["embedding.weight"])


def test_bf16_stays_near_float32_and_keeps_exact_rotary_tables() -> None:
    model, ids = Decoder(from_dial(2, 512, 128)), ids_of(1, 100, 512)
    with torch.no_grad():
        expected = model(ids)
        table = next(iter(model.ropes.values())).cos.clone()
        model.to(torch.bfloat16)
        assert next(iter(model.ropes.values())).cos.dtype == torch.float32 and torch.equal(
            next(iter(model.ropes.values())).cos, table
        )
        assert (model(ids).float() - expected).abs().max() < 0.05 * expected.abs().max()
