"""Encoder-decoders: the original Transformer, T5, BART."""

import math

import pytest
import torch

from ownlm.errors import UsageError
from ownlm.model.absolute import Learned, Sinusoidal
from ownlm.model.bart import bart
from ownlm.model.deberta import Disentangled
from ownlm.model.encoder_decoder import EncoderDecoder, EncoderDecoderConfig, original_transformer
from ownlm.model.hooks import hooked
from ownlm.model.layers import FeedForward, Norm
from ownlm.model.stack import DecoderStack, Stack
from ownlm.model.t5 import RelativeBuckets, buckets, byte_ids, t5, text_of

V, D = 31, 24
CONFIGS = {
    "original": original_transformer(V, D, 2, 3, 40, max_positions=40),
    "original-one-head": original_transformer(V, 10, 1, 1, 7, max_positions=40, bias=False),
    "t5": t5(V, D, 2, 3, 40, head_dim=5),
    "t5-1.1": t5(V, D, 1, 2, 40, num_decoder_layers=3, head_dim=8, activation="gelu_tanh", gated=True, tie_embeddings=False, num_buckets=6, max_distance=9),
    "bart": bart(V, D, (1, 3, 17), (2, 2, 40), max_positions=40),
    "bart-scaled": bart(V, D, (2, 1, 17), (1, 4, 9), max_positions=40, activation="relu", scale_embedding=True),
}  # fmt: skip


def noisy(config: EncoderDecoderConfig, seed: int = 0) -> EncoderDecoder:
    model, random = EncoderDecoder(config, seed).eval(), torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn(weight.shape, generator=random) * 0.2)
    return model


def text(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.randint(3, V, shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", CONFIGS)
def test_counts_and_face(name: str) -> None:
    config = CONFIGS[name]
    model = EncoderDecoder(config)
    assert model.num_parameters() == sum(p.numel() for p in model.parameters())
    assert model.flops_per_token(20) > model.flops_per_token(10) > 0
    with torch.device("meta"):
        assert EncoderDecoder(config).embedding.weight.is_meta
    source, target, cache = text(2, 7), text(2, 5), model.new_cache()
    memory = model.encode(source)
    model.decode(target[:, :1], memory, None, cache)
    before = cache.num_bytes
    model.decode(target[:, 1:], memory, None, cache)
    assert cache.num_bytes - before == 4 * 2 * model.cache_bytes_per_token(4)


@pytest.mark.parametrize("name", CONFIGS)
def test_decoder_is_causal_and_sees_the_whole_source(name: str) -> None:
    model, source, target = noisy(CONFIGS[name]), text(1, 6), text(1, 7, seed=2)
    before = model(source, target)
    for place in range(7):
        other = target.clone()
        other[0, place] = (other[0, place] - 2) % (V - 3) + 3
        changed = (model(source, other) - before).abs().amax(-1)[0]
        assert not bool(changed[:place].any()) and changed[place].item() > 1e-6, place
    for place in range(6):
        other = source.clone()
        other[0, place] = (other[0, place] - 2) % (V - 3) + 3
        assert bool(((model(other, target) - before).abs().amax(-1) > 1e-7).all()), place


@pytest.mark.parametrize("name", CONFIGS)
def test_cached_decoding_is_the_parallel_one(name: str) -> None:
    model, source, target = noisy(CONFIGS[name]), text(3, 9), text(3, 12, seed=2)
    mask = torch.ones(3, 9, dtype=torch.int64)
    mask[1, 5:] = 0
    memory, whole = model.encode(source, mask), model(source, target, mask)
    for ends in ((12,), tuple(range(1, 13)), (1, 6, 7, 12)):
        cache, found, start = model.new_cache(), [], 0
        for end in ends:
            found.append(model.decode(target[:, start:end], memory, mask, cache))
            start = end
        torch.testing.assert_close(torch.cat(found, 1), whole, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("name", CONFIGS)
def test_padding_of_the_source_is_not_seen(name: str) -> None:
    model, source, target = noisy(CONFIGS[name]), text(1, 5), text(1, 6, seed=2)
    padded = torch.nn.functional.pad(source, (0, 4), value=9)
    mask = torch.tensor([[1] * 5 + [0] * 4])
    torch.testing.assert_close(model(padded, target, mask), model(source, target), atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("name", CONFIGS)
def test_greedy_generation(name: str) -> None:
    """Cached and uncached agree, and so does a plain loop over forward."""
    model, source = noisy(CONFIGS[name]), text(3, 9)
    mask = torch.ones(3, 9)
    mask[2, 4:] = 0
    found = model.generate(source, 10, mask)
    assert torch.equal(found, model.generate(source, 10, mask, cached=False))
    for row in range(3):
        target = torch.tensor([[model.config.start_id]])
        for n in range(found.shape[1]):
            token = int(model(source[row : row + 1], target, mask[row : row + 1])[0, -1].argmax())
            assert token == int(found[row, n])
            target = torch.cat((target, torch.tensor([[token]])), 1)
            if token == model.config.eos_id:
                assert bool((found[row, n + 1 :] == model.config.pad_id).all())
                break


def test_generation_ends_each_row_at_its_end() -> None:
    model = noisy(CONFIGS["bart"])
    with torch.no_grad():
        model.output_bias[2] = 100.0
    assert model.generate(text(2, 5), 8).tolist() == [[2], [2]]
    with pytest.raises(UsageError):
        model.generate(text(2, 5), 0)


@pytest.mark.parametrize("name", CONFIGS)
def test_gradients_reach_every_parameter(name: str) -> None:
    model = noisy(CONFIGS[name])
    used = 40 if model.config.positions else 25  # learned positions: only those that are used have a gradient
    model(text(2, used), text(2, used)).square().sum().backward()
    assert [n for n, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []


def test_one_source_token_and_too_long_texts() -> None:
    for config in CONFIGS.values():
        model = noisy(config)
        assert bool(model(text(2, 1), text(2, 1)).isfinite().all())
        if config.positions is not None:
            with pytest.raises(UsageError, match="longer than"):
                model(text(1, 41), text(1, 3))
            with pytest.raises(UsageError, match="longer than"):
                model(text(1, 4), text(1, 41))


def test_mistakes_are_named() -> None:
    with pytest.raises(UsageError, match="multiple"):
        original_transformer(V, 25, 1, 2, 8)
    with pytest.raises(UsageError, match="even"):
        Sinusoidal(9).build(7)
    with pytest.raises(UsageError, match="plain attention"):
        DecoderStack(Stack(1, Disentangled(1, 4, 9), FeedForward(8), Norm()), 4)
    with pytest.raises(UsageError, match="laid out"):
        RelativeBuckets(2, 2, 128)
    with pytest.raises(UsageError, match="weights of its own"):
        Stack(2, Disentangled(1, 4, 9), FeedForward(8), Norm(), num_distinct=3)


def test_original_is_torchs_transformer() -> None:
    """torch.nn's encoder and decoder layers with our weights: the same memory and the same decoder output."""
    config = CONFIGS["original"]
    model = noisy(config)
    make = {"d_model": D, "nhead": 3, "dim_feedforward": 40, "dropout": 0.0, "batch_first": True}
    encoder = torch.nn.TransformerEncoder(
        torch.nn.TransformerEncoderLayer(**make), 2, enable_nested_tensor=False
    )
    decoder = torch.nn.TransformerDecoder(torch.nn.TransformerDecoderLayer(**make), 2)
    for theirs, ours in ((encoder, model.encoder), (decoder, model.decoder)):
        for layer, block in zip(theirs.layers, ours.blocks, strict=True):
            adopt(layer, block)
    source, target = text(2, 9), text(2, 6, seed=2)
    hidden = model.embedding(source) * D**0.5 + sinusoids(9)
    memory = encoder(hidden)
    torch.testing.assert_close(model.encode(source), memory, atol=2e-5, rtol=1e-4)
    causal = torch.nn.Transformer.generate_square_subsequent_mask(6)
    out = decoder(model.embedding(target) * D**0.5 + sinusoids(6), memory, causal, tgt_is_causal=True)
    torch.testing.assert_close(model(source, target), out @ model.embedding.weight.T, atol=5e-4, rtol=1e-4)


def adopt(layer: torch.nn.Module, block: torch.nn.Module) -> None:
    pairs = [(layer.self_attn, block.attention)]
    norms = [(layer.norm1, block.attention_norm)]
    if hasattr(block, "cross"):
        pairs.append((layer.multihead_attn, block.cross))
        norms += [(layer.norm2, block.cross_norm), (layer.norm3, block.feed_forward_norm)]
    else:
        norms.append((layer.norm2, block.feed_forward_norm))
    with torch.no_grad():
        for theirs, ours in pairs:
            theirs.in_proj_weight.copy_(torch.cat((ours.q.weight, ours.k.weight, ours.v.weight)))
            theirs.in_proj_bias.copy_(torch.cat((ours.q.bias, ours.k.bias, ours.v.bias)))
            theirs.out_proj.load_state_dict(ours.o.state_dict())
        for theirs, ours in norms:
            theirs.load_state_dict(ours.state_dict())
        layer.linear1.load_state_dict(block.feed_forward.up.state_dict())
        layer.linear2.load_state_dict(block.feed_forward.down.state_dict())


def sinusoids(length: int) -> torch.Tensor:
    """Section 3.5, entry by entry."""
    rows = [[(math.sin if i % 2 == 0 else math.cos)(p / 10000 ** (i // 2 * 2 / D)) for i in range(D)] for p in range(length)]  # fmt: skip
    return torch.tensor(rows)


def test_positions() -> None:
    torch.testing.assert_close(Sinusoidal(40).build(D)(torch.arange(9)[None])[0], sinusoids(9))
    table = Learned(5, 2).build(4)
    torch.testing.assert_close(table(torch.tensor([[0, 4]]))[0], table.table.weight[[2, 6]])
    with pytest.raises(UsageError):
        table(torch.tensor([[5]]))


def test_buckets_are_the_papers() -> None:
    """T5's layout by hand: half of a side exact, the rest logarithmic, the sign in the upper half."""
    both, back = RelativeBuckets(1, 32, 128, True), RelativeBuckets(1, 32, 128, False)
    ahead = torch.tensor([0, -1, -7, -8, -15, -64, -127, -128, -5000, 1, 7, 8, 127, 5000])
    assert buckets(ahead, both).tolist() == [0, 1, 7, 8, 9, 14, 15, 15, 15, 17, 23, 24, 31, 31]
    assert buckets(ahead, back).tolist() == [0, 1, 7, 8, 15, 26, 31, 31, 31, 0, 0, 0, 0, 0]
    assert bool((buckets(-torch.arange(400), back).diff() >= 0).all())


def test_relative_bias_reaches_the_scores() -> None:
    """T5's pattern is softmax(q k + bias), unscaled, in every layer of a stack with one bias."""
    model, ids = noisy(CONFIGS["t5"]), text(1, 6)
    seen: dict[str, torch.Tensor] = {}
    for name in ("encoder.blocks.1.attention.pattern", "encoder.blocks.1.attention_norm"):
        with hooked(model, {name: lambda x, name=name: seen.__setitem__(name, x)}):
            model.encode(ids)
    attention = model.encoder.blocks[1].attention
    x = seen["encoder.blocks.1.attention_norm"][0]
    q, k = (m(x).view(6, 3, 5) for m in (attention.q, attention.k))
    scores = torch.einsum("ihc,jhc->hij", q, k)
    for i in range(6):
        for j in range(6):
            scores[:, i, j] += model.encoder.relative.weight[buckets(torch.tensor(j - i), model.config.encoder.relative)]  # fmt: skip
    torch.testing.assert_close(
        seen["encoder.blocks.1.attention.pattern"][0], scores.softmax(-1), atol=1e-5, rtol=1e-4
    )


@pytest.mark.parametrize("name", ["t5", "bart"])
def test_every_module_that_is_a_point_fires(name: str) -> None:
    """What `points` offers can be looked at; only the output layer's matrix is used without its module."""
    model, seen = noisy(CONFIGS[name]), set()
    names = [n for n, m in model.named_modules() if n and not isinstance(m, torch.nn.ModuleList)]
    with hooked(model, {n: lambda x, n=n: seen.add(n) for n in names}):
        model(text(1, 4), text(1, 3))
    assert set(names) - seen == set()


def test_cross_pattern_covers_the_source() -> None:
    model, seen = noisy(CONFIGS["t5"]), {}
    with hooked(model, {"decoder.blocks.0.cross.pattern": lambda x: seen.__setitem__("p", x)}):
        model(text(2, 7), text(2, 3))
    assert seen["p"].shape == (2, 3, 3, 7) and bool((seen["p"] > 0).all())


def test_bytes_as_tokens() -> None:
    """ByT5: three special ids, then the bytes."""
    every = bytes(range(256))
    assert byte_ids(b"a\x00") == [100, 3, 1] and text_of(byte_ids(every)) == every
    assert text_of([0, 100, 0, 101, 1, 102]) == b"ab" and byte_ids(b"", end=False) == []
    with pytest.raises(UsageError, match="no byte"):
        text_of([259])
    model = noisy(t5(259, D, 1, 2, 16, head_dim=4))
    assert model(torch.tensor([byte_ids("grün".encode())]), torch.tensor([[0]])).shape == (1, 1, 259)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["original", "t5", "bart"])
def test_learns_to_reverse(name: str) -> None:
    """Unseen random texts of 3 or 6 of 17 words come out backwards: nothing but attention to the source can do that."""
    make = {
        "original": original_transformer(20, 48, 2, 4, 96, max_positions=20),
        "t5": t5(20, 48, 2, 4, 96, head_dim=12),
        "bart": bart(20, 48, (2, 4, 96), (2, 4, 96), max_positions=20, pad_id=0, start_id=0, eos_id=1),
    }
    model, random = EncoderDecoder(make[name], 1), torch.Generator().manual_seed(0)
    optimizer = torch.optim.AdamW(model.parameters(), 4e-3 if name == "t5" else 2e-3)
    length = 3 if name == "t5" else 6  # without absolute positions counting back takes longer to learn

    def batch(size: int) -> torch.Tensor:
        return torch.randint(3, 20, (size, length), generator=random)

    for _ in range(900):
        source = batch(48)
        wanted = torch.cat((source.flip(1), torch.ones(48, 1, dtype=torch.int64)), 1)
        given = torch.nn.functional.pad(wanted[:, :-1], (1, 0), value=model.config.start_id)
        loss = torch.nn.functional.cross_entropy(model(source, given).flatten(0, 1), wanted.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if loss.item() < 0.02:
            break
    source = batch(50)
    found = model.generate(source, length + 1)
    right = (found[:, :length] == source.flip(1)).all(1).float().mean()
    assert float(right) > 0.9 and bool((found[:, length] == 1).all())


@pytest.mark.parametrize(
    "name", ["original", "t5-1.1", *(pytest.param(n, marks=pytest.mark.slow) for n in ("t5", "bart"))]
)
def test_one_batch_overfits(name: str) -> None:
    model, source, target = EncoderDecoder(CONFIGS[name]), text(4, 6), text(4, 6, seed=2)
    optimizer, found = torch.optim.AdamW(model.parameters(), 3e-3), []
    given = torch.nn.functional.pad(target[:, :-1], (1, 0), value=model.config.start_id)
    for _ in range(300):
        loss = torch.nn.functional.cross_entropy(model(source, given).flatten(0, 1), target.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        found.append(loss.item())
        if found[-1] < 0.05:
            break
    assert found[0] > 2.5 and found[-1] < 0.05
    assert torch.equal(model.generate(source, 6), target)
