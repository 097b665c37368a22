"""The bidirectional encoder, its variants' distinct parts, and the objectives that train it."""

import math

import pytest
import torch

from ownlm.errors import UsageError
from ownlm.model.absolute import Learned
from ownlm.model.deberta import Disentangled, Distances, MaskDecoder, distance_buckets
from ownlm.model.electra import Electra, sample
from ownlm.model.encoder import Encoder, EncoderConfig, EncoderEmbedding, bert, classifier
from ownlm.model.encoder_heads import ClassHead, EncoderHeads
from ownlm.model.hooks import hooked, points
from ownlm.model.layers import FeedForward, Norm
from ownlm.model.mlm import IGNORED, mask_tokens, masked_loss
from ownlm.model.stack import Stack

V, D = 37, 24
NORM = Norm("layer", 1e-7, bias=True)


def deberta(
    mask_decoder: MaskDecoder | None = None, terms=("c2p", "p2c"), share=True, buckets=6
) -> EncoderConfig:
    attention = Disentangled(3, 8, 20, buckets, terms, share)
    stack = Stack(3, attention, FeedForward(40, "gelu", gated=False, bias=True), NORM, relative=Distances(attention.span, NORM))  # fmt: skip
    embedding = EncoderEmbedding(V, D, None, 0, NORM)
    return EncoderConfig(embedding, D, stack, EncoderHeads(masked="gelu"), mask_decoder)


CONFIGS = {
    "bert": bert(V, D, 2, 3, 40, 30),
    "one-head": bert(V, D, 1, 1, 17, 30, num_types=1),
    "pretraining": bert(
        V, D, 2, 2, 40, 30, heads=EncoderHeads(masked="gelu", pooler="tanh", classes=ClassHead(2))
    ),
    "classifier": bert(V, D, 2, 3, 40, 30, heads=classifier(5)),
    "headless": bert(V, D, 2, 3, 40, 30, heads=EncoderHeads()),
    "roberta": bert(V, D, 2, 3, 40, 30, padding_id=1, num_types=1),
    "albert": bert(V, D, 4, 3, 40, 30, embedding_size=10, num_distinct=2),
    "discriminator": bert(V, D, 2, 3, 40, 30, embedding_size=10, heads=EncoderHeads(replaced="gelu")),
    "deberta": deberta(),
    "deberta-own-matrices": deberta(share=False),
    "deberta-mask-decoder": deberta(MaskDecoder(Learned(30))),
}


def noisy(config: EncoderConfig, seed: int = 0) -> Encoder:
    model = Encoder(config, seed).eval()
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn(weight.shape, generator=random) * 0.2)
    return model


def text(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.randint(3, V, shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", CONFIGS)
def test_counts_and_face(name: str) -> None:
    config = CONFIGS[name]
    model = Encoder(config)
    assert model.num_parameters() == sum(p.numel() for p in model.parameters())
    assert model.cache_bytes_per_token() == 0
    assert model.flops_per_token(20) > model.flops_per_token(10) > 0
    with torch.device("meta"):
        assert Encoder(config).embedding.word.weight.is_meta
    assert torch.equal(Encoder(config, 3).embedding.word.weight, Encoder(config, 3).embedding.word.weight)


@pytest.mark.parametrize("name", CONFIGS)
def test_padding_is_not_seen(name: str) -> None:
    """A padded batch gives what each text alone gives, whatever stands in the padding."""
    model = noisy(CONFIGS[name])
    long, short = text(1, 9), text(1, 4, seed=2)
    batch, mask = torch.cat((long, torch.nn.functional.pad(short, (0, 5), value=1))), torch.ones(2, 9)
    mask[1, 4:] = 0
    together = model.outputs(batch, mask)
    for row, alone in ((0, model.outputs(long)), (1, model.outputs(short))):
        for key, expected in alone.items():
            found = together[key][row : row + 1]
            found = found[:, : expected.shape[1]] if key not in ("pooled", "classes") else found
            torch.testing.assert_close(found, expected, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("name", CONFIGS)
def test_every_token_sees_every_other(name: str) -> None:
    model, ids = noisy(CONFIGS[name]), text(1, 7)
    before = model.hidden(ids)
    for place in range(7):
        other = ids.clone()
        other[0, place] = (other[0, place] - 3 + 1) % (V - 3) + 3
        changed = (model.hidden(other) - before).abs().amax(-1)[0]
        assert bool((changed > 1e-6).all()), place


@pytest.mark.parametrize("name", CONFIGS)
def test_gradients_reach_every_parameter(name: str) -> None:
    model = noisy(CONFIGS[name])
    ids = text(2, 25)
    outputs = model.outputs(
        ids, types=torch.arange(25).remainder(2).expand(2, 25) if name == "bert" else None
    )
    sum(value.square().sum() for value in outputs.values()).backward()
    missing = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert missing == []


def test_one_token_and_no_token() -> None:
    for config in CONFIGS.values():
        assert bool(noisy(config)(text(2, 1)).isfinite().all())
    assert noisy(CONFIGS["bert"])(text(2, 0)).shape == (2, 0, V)
    with pytest.raises(UsageError, match="empty"):
        noisy(CONFIGS["classifier"])(text(2, 0))


def test_a_text_of_nothing_but_padding_stays_finite() -> None:
    for config in CONFIGS.values():
        assert bool(noisy(config)(text(2, 5), torch.zeros(2, 5)).isfinite().all())


def test_mistakes_are_named() -> None:
    model = noisy(CONFIGS["bert"])
    with pytest.raises(UsageError, match="longer than"):
        model(text(1, 31))
    with pytest.raises(UsageError, match="mask"):
        model(text(2, 5), torch.ones(2, 4))
    with pytest.raises(UsageError, match="segments"):
        noisy(CONFIGS["deberta"])(text(1, 4), types=torch.zeros(1, 4, dtype=torch.int64))
    with pytest.raises(UsageError, match="pooler"):
        EncoderHeads(classes=ClassHead(2))
    with pytest.raises(UsageError, match="activation"):
        EncoderHeads(masked="gelo")
    with pytest.raises(UsageError, match="multiple"):
        bert(V, 25, 1, 3, 8)


def test_bert_is_the_formula() -> None:
    """One post-norm layer written out in float64."""
    model = noisy(bert(V, 12, 1, 3, 20, 30, heads=EncoderHeads())).double()
    ids, types = text(1, 6), torch.tensor([[0, 0, 1, 1, 1, 0]])
    e, b = model.embedding, model.stack.blocks[0]

    def norm(x: torch.Tensor, n: torch.nn.Module) -> torch.Tensor:
        centered = x - x.mean(-1, keepdim=True)
        return centered / (centered.square().mean(-1, keepdim=True) + 1e-12).sqrt() * n.weight + n.bias

    x = e.word.weight[ids[0]] + e.positions.table.weight[:6] + e.types.weight[types[0]]
    x = norm(x, e.norm)
    heads = []
    for h in range(3):
        rows = slice(4 * h, 4 * h + 4)
        q, k, v = (x @ m.weight[rows].T + m.bias[rows] for m in (b.attention.q, b.attention.k, b.attention.v))
        scores = torch.stack([torch.stack([(q[i] * k[j]).sum() / 2.0 for j in range(6)]) for i in range(6)])
        heads.append(scores.softmax(-1) @ v)
    x = norm(x + torch.cat(heads, -1) @ b.attention.o.weight.T + b.attention.o.bias, b.attention_norm)
    inner = x @ b.feed_forward.up.weight.T + b.feed_forward.up.bias
    inner = inner * 0.5 * (1 + torch.erf(inner / math.sqrt(2)))
    x = norm(x + inner @ b.feed_forward.down.weight.T + b.feed_forward.down.bias, b.feed_forward_norm)
    torch.testing.assert_close(model.hidden(ids, types=types)[0], x)


def test_roberta_counts_positions_past_padding() -> None:
    """Padding before a text moves nothing; for BERT it does."""
    ids = text(1, 5)
    padded, mask = torch.nn.functional.pad(ids, (3, 0), value=1), torch.tensor([[0, 0, 0, 1, 1, 1, 1, 1]])
    same = noisy(CONFIGS["roberta"])
    torch.testing.assert_close(same.hidden(padded, mask)[:, 3:], same.hidden(ids))
    moved = noisy(CONFIGS["bert"])
    assert (moved.hidden(padded, mask)[:, 3:] - moved.hidden(ids)).abs().max() > 0.1


def test_albert_shares_layers_and_embeds_narrowly() -> None:
    model = Encoder(CONFIGS["albert"])
    assert len(model.stack.blocks) == 2 and model.stack.order() == [0, 0, 1, 1]
    assert model.embedding.word.weight.shape == (V, 10)
    seen: list[torch.Tensor] = []
    with hooked(model, {"stack.blocks.0.residual_out": seen.append}):
        model(text(1, 4))
    assert len(seen) == 2


@pytest.mark.parametrize(("terms", "share", "buckets"), [(("c2p", "p2c"), True, 6), (("p2c",), False, None), (("c2p",), False, 4)])  # fmt: skip
def test_deberta_scores_are_the_formula(terms: tuple[str, ...], share: bool, buckets: int | None) -> None:
    """Equation 4 of the paper for every pair of tokens, in float64 (with the distance of the published code)."""
    model = noisy(deberta(terms=terms, share=share, buckets=buckets)).double()
    attention, ids = model.stack.blocks[0].attention, text(1, 23)
    got: dict[str, torch.Tensor] = {}
    names = ("content_scores", "distance_scores")
    with hooked(
        model, {f"stack.blocks.0.attention.{n}": lambda x, n=n: got.__setitem__(n, x) for n in names}
    ):
        model(ids)
    x = model.embedding(ids)[0]
    q, k = (m(x).view(23, 3, 8) for m in (attention.q, attention.k))
    table = model.stack.relative.norm(model.stack.relative.table.weight)
    kr, qr = ((m(table).view(-1, 3, 8) if m is not None else None) for m in (attention.distance_k or attention.k, attention.distance_q or attention.q))  # fmt: skip
    scale, span = 1 / math.sqrt(8 * (1 + len(terms))), attention.distances.span
    expected = torch.zeros(3, 23, 23, dtype=torch.float64)
    for i in range(23):
        for j in range(23):
            d = min(max(bucket(i - j, buckets, 20) + span, 0), 2 * span - 1)
            for h in range(3):
                if "c2p" in terms:
                    expected[h, i, j] += (q[i, h] * kr[d, h]).sum()
                if "p2c" in terms:
                    expected[h, i, j] += (k[j, h] * qr[d, h]).sum()
    torch.testing.assert_close(got["distance_scores"][0], expected * scale)
    torch.testing.assert_close(got["content_scores"][0], torch.einsum("ihc,jhc->hij", q, k) * scale)


def bucket(distance: int, buckets: int | None, limit: int) -> int:
    if buckets is None or abs(distance) <= buckets // 2:
        return distance
    middle = buckets // 2
    grown = (
        math.ceil(math.log(abs(distance) / middle) / math.log((limit - 1) / middle) * (middle - 1)) + middle
    )
    return grown if distance > 0 else -grown


def test_deberta_buckets_are_symmetric_and_monotone() -> None:
    distance = torch.arange(-200, 201)
    found = distance_buckets(distance, Disentangled(1, 8, 128, 32))
    assert torch.equal(found, -found.flip(0))
    assert bool((found.diff() >= 0).all())
    assert torch.equal(found[184:217], torch.arange(-16, 17))  # up to 16 each its own


def test_deberta_knows_order_only_by_distances() -> None:
    """With its distances silenced, a permuted text gives permuted vectors; with them it does not."""
    model, ids = noisy(deberta()), text(1, 6)
    turn = torch.tensor([3, 0, 5, 1, 4, 2])
    assert (model.hidden(ids[:, turn]) - model.hidden(ids)[:, turn]).abs().max() > 0.05
    silent = {f"stack.blocks.{n}.attention.distance_scores": lambda x: x * 0 for n in range(3)}
    with hooked(model, silent):
        torch.testing.assert_close(model.hidden(ids[:, turn]), model.hidden(ids)[:, turn])


def test_mask_decoder_adds_positions_at_the_end() -> None:
    """With no positions and one step it is the last layer; with positions only the guesses change."""
    plain, decoding = noisy(deberta()), noisy(deberta(MaskDecoder(Learned(30), 1)))
    decoding.load_state_dict(plain.state_dict() | {"mask_decoder.positions.table.weight": torch.zeros(30, D)})
    ids = text(1, 8)
    torch.testing.assert_close(decoding(ids), plain(ids))
    with torch.no_grad():
        decoding.mask_decoder.positions.table.weight.normal_(generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(decoding.hidden(ids), plain.hidden(ids))
    assert (decoding(ids) - plain(ids)).abs().max() > 0.1


def test_masking_is_80_10_10() -> None:
    ids = torch.full((200, 500), 7)
    keep = torch.zeros(200, 500, dtype=torch.bool)
    keep[:, 0] = True
    random = torch.Generator().manual_seed(0)
    inputs, labels = mask_tokens(ids, mask_id=2, vocab_size=1000, generator=random, keep=keep)
    asked = labels != IGNORED
    assert abs(float(asked.float().mean()) - 0.15 * 499 / 500) < 0.005
    assert (
        not bool(asked[:, 0].any()) and bool((inputs[~asked] == 7).all()) and bool((labels[asked] == 7).all())
    )
    parts = [float((inputs[asked] == 2).float().mean()), float((inputs[asked] == 7).float().mean())]
    assert abs(parts[0] - 0.8) < 0.015 and abs(parts[1] - 0.1) < 0.01
    again = mask_tokens(
        ids, mask_id=2, vocab_size=1000, generator=torch.Generator().manual_seed(0), keep=keep
    )
    assert torch.equal(again[0], inputs)
    with pytest.raises(UsageError):
        mask_tokens(ids, mask_id=2, vocab_size=9, generator=random, rate=0.0)


def test_masked_loss_of_nothing_is_zero() -> None:
    assert masked_loss(torch.zeros(1, 3, V), torch.full((1, 3), IGNORED)) == 0


def train(model: torch.nn.Module, loss, steps: int, goal: float = 0.0) -> list[float]:
    """Losses of at most this many steps, up to the first below the goal."""
    optimizer, found = torch.optim.AdamW(model.parameters(), 3e-3), []
    for _ in range(steps):
        value = loss()
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        found.append(value.item())
        if found[-1] < goal:
            break
    return found


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    "name",
    [
        "bert",
        "deberta",
        pytest.param("roberta", marks=SLOW),
        pytest.param("albert", marks=SLOW),
        pytest.param("deberta-mask-decoder", marks=SLOW),
    ],
)
def test_pretrains_with_masked_tokens(name: str) -> None:
    """One batch of text is learnt: the masked tokens are found from their neighbours."""
    model, ids = Encoder(CONFIGS[name]), text(4, 16)
    inputs, labels = mask_tokens(
        ids, mask_id=2, vocab_size=V, generator=torch.Generator().manual_seed(3), rate=0.2
    )
    found = train(model, lambda: masked_loss(model(inputs), labels), 300, 0.1)
    assert found[0] > 3.0 and found[-1] < 0.1
    asked = labels != IGNORED
    assert torch.equal(model(inputs).argmax(-1)[asked], labels[asked])


def test_next_sentence_is_learnt() -> None:
    model, ids = Encoder(CONFIGS["pretraining"]), text(6, 12)
    types, labels = torch.arange(12).ge(6).long().expand(6, 12), torch.tensor([0, 1, 0, 1, 1, 0])
    classes = lambda: model.outputs(ids, types=types)["classes"]  # noqa: E731
    found = train(model, lambda: torch.nn.functional.cross_entropy(classes(), labels), 100, 0.05)
    assert found[0] > 0.5 and found[-1] < 0.05


def electra() -> Electra:
    generator = bert(V, 12, 1, 2, 16, 30, embedding_size=10)
    return Electra(generator, CONFIGS["discriminator"])


def test_electra_shares_embeddings_and_counts_them_once() -> None:
    model = electra()
    assert model.generator.embedding.word is model.discriminator.embedding.word
    assert model.num_parameters() == sum(p.numel() for p in model.parameters())
    with pytest.raises(UsageError, match="share"):
        Electra(bert(V, 12, 1, 2, 16, 30), CONFIGS["discriminator"])


def test_electra_objective() -> None:
    """Only asked-for tokens are replaced, hits count as original, and the generator gets no gradient from the judge."""
    model, ids = electra(), text(8, 16)
    inputs, labels = mask_tokens(
        ids, mask_id=2, vocab_size=V, generator=torch.Generator().manual_seed(0), rate=0.3
    )
    found = model.loss(inputs, labels, torch.Generator().manual_seed(1))
    asked = labels != IGNORED
    assert torch.equal(found.corrupted[~asked], inputs[~asked])
    assert torch.equal(found.replaced[asked], (found.corrupted != ids)[asked]) and bool(found.replaced.any())
    drawn = sample(model.generator(inputs).detach(), torch.Generator().manual_seed(1))
    assert torch.equal(found.corrupted[asked], drawn[asked])
    torch.testing.assert_close(found.total, found.generator + 50 * found.discriminator)
    found.discriminator.backward()
    assert all(p.grad is None for p in model.generator.masked.parameters())
    judged = model(found.corrupted)
    expected = torch.nn.functional.softplus(torch.where(found.replaced, -judged, judged)).mean()
    torch.testing.assert_close(found.discriminator, expected)


@pytest.mark.slow
def test_electra_trains() -> None:
    model, ids = electra(), text(8, 16)
    inputs, labels = mask_tokens(
        ids, mask_id=2, vocab_size=V, generator=torch.Generator().manual_seed(0), rate=0.3
    )
    found = train(
        model, lambda: model.loss(inputs, labels, torch.Generator().manual_seed(1)).total, 250, 12.0
    )
    assert found[0] > 30 and found[-1] < 12


def test_sampling_follows_the_distribution() -> None:
    logits = torch.tensor([[[0.0, math.log(3.0)]]]).expand(1, 4000, 2)
    ones = float(sample(logits, torch.Generator().manual_seed(0)).float().mean())
    assert abs(ones - 0.75) < 0.03


def test_points_are_real() -> None:
    model = noisy(CONFIGS["bert"])
    ids, seen = text(2, 5), {}
    with hooked(model, {f"stack.blocks.1.{n}": lambda x, n=n: seen.__setitem__(n, x) for n in ("attention.pattern", "attention.mixed", "residual_in", "residual_mid", "residual_out")}):  # fmt: skip
        watched = model(ids)
    torch.testing.assert_close(watched, model(ids))
    assert seen["attention.pattern"].shape == (2, 3, 5, 5) and seen["attention.mixed"].shape == (2, 3, 5, 8)
    torch.testing.assert_close(seen["attention.pattern"].sum(-1), torch.ones(2, 3, 5))
    assert seen["residual_mid"].shape == (2, 5, D)
    assert points(model)["stack.blocks.0.attention.pattern"] == "B H T S"
