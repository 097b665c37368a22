"""DeepSeek sparse attention: its formula, the full attention at the limit, transformers, and the indexer's training."""

import pytest
import torch
import torch.nn.functional as F
from test_latent import place, text

from ownlm.errors import UsageError
from ownlm.model.architecture import Architecture
from ownlm.model.attention.deepseek_sparse import (
    SparseLatent,
    SparseLatentAttention,
    aligning,
    best,
    index_loss,
)
from ownlm.model.attention.latent import Latent
from ownlm.model.blocks import Layer
from ownlm.model.decoder import Decoder
from ownlm.model.hooks import hooked
from ownlm.model.layers import FeedForward

BASE = Latent(4, 12, 8, 4, 6, q_rank=14)
SPECS = {
    "low-rank-q": SparseLatent(BASE, 5, 3, 8),
    "q-from-x": SparseLatent(Latent(2, 10, 6, 2, 8, bias=True), 4, 1, 6),
    "one-token": SparseLatent(BASE, 1, 2, 4),
    "no-rotation": SparseLatent(Latent(2, 10, 6, 2, 8, rope=None), 7, 2, 5),
}


def layer(spec: SparseLatent) -> SparseLatentAttention:
    made, generator = spec.build(20, 0), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in made.parameters():
            weight.copy_(0.4 * torch.randn(weight.shape, generator=generator))
    return made.eval()


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize("time", [1, 23])
def test_it_is_the_formula(name: str, time: int) -> None:
    """Scores by loops in float64; then the expanded latent attention under the mask of the chosen."""
    made, x = layer(SPECS[name]), text(2, time)
    spec, here = made.spec, place(made.spec.attention, time)
    with torch.no_grad():
        found = made(x, here)
        narrow = made.attention.narrow(x)
        keys = made.indexer.key(x, here).double()
        q = made.indexer.q(narrow).view(2, time, spec.index_heads, -1).transpose(1, 2)
        from ownlm.model.attention.latent import turned

        q = turned(q, here).double()
        weight = made.indexer.head_weight(x).double()
        mask = torch.zeros(2, 1, time, time, dtype=torch.bool)
        for b in range(2):
            for t in range(time):
                scores = []
                for s in range(t + 1):
                    hits = [max(0.0, float(q[b, h, t] @ keys[b, 0, s])) for h in range(spec.index_heads)]
                    scores.append(sum(float(weight[b, t, h]) * hit for h, hit in enumerate(hits)))
                for s in sorted(range(t + 1), key=lambda s: (-scores[s], -s))[: spec.num_chosen]:
                    mask[b, 0, t, s] = True
        attention, masked = made.attention, here._replace(mask=mask)
        kept = attention.kept(x, here)
        expected = attention.written(attention.expanded(*attention.queries(narrow, here), *kept, masked))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("chosen", [70, 1000])
def test_all_chosen_is_full_attention(chosen: int) -> None:
    """70 tokens are more than one portion of queries."""
    made, x = (
        layer(SparseLatent(BASE, chosen, 2, 8)),
        torch.randn(1, 64, 20, generator=torch.Generator().manual_seed(2)),
    )
    here = place(BASE, 64)
    with torch.no_grad():
        torch.testing.assert_close(made(x, here), made.attention(x, here), rtol=1e-4, atol=1e-5)


def test_it_equals_the_layer_of_transformers() -> None:
    pytest.importorskip("transformers")
    v32 = pytest.importorskip("transformers.models.deepseek_v32.modeling_deepseek_v32")
    from transformers import DeepseekV32Config

    config = DeepseekV32Config(
        hidden_size=20, num_attention_heads=4, num_key_value_heads=4, q_lora_rank=14, kv_lora_rank=12, qk_nope_head_dim=8, qk_rope_head_dim=4,
        v_head_dim=6, index_n_heads=8, index_head_dim=8, index_topk=5, max_position_embeddings=64, vocab_size=32,
        num_hidden_layers=1, intermediate_size=8, moe_intermediate_size=8, attn_implementation="eager",
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
    )  # fmt: skip
    theirs, ours, x = (
        v32.DeepseekV32Attention(config, 0).eval(),
        layer(SparseLatent(BASE, 5, 8, 8)),
        text(2, 23),
    )
    a, i = ours.attention, ours.indexer
    order = torch.tensor([0, 2, 1, 3])  # from halves to interleaved pairs: theirs[order] = ours
    pairs = order.argsort()
    with torch.no_grad():
        q = a.q.weight.view(4, 12, -1).clone()
        q[:, 8:] = q[:, 8:][:, pairs]
        theirs.q_a_proj.weight.copy_(a.q_down.weight)
        theirs.q_a_layernorm.weight.copy_(a.q_norm.weight)
        theirs.q_b_proj.weight.copy_(q.view(48, -1))
        theirs.kv_a_proj_with_mqa.weight.copy_(torch.cat((a.kv_down.weight, a.k_rope.weight[pairs])))
        theirs.kv_a_layernorm.weight.copy_(a.kv_norm.weight)
        both = torch.cat((a.k_up.weight.view(4, 8, -1), a.v_up.weight.view(4, 6, -1)), dim=1)
        theirs.kv_b_proj.weight.copy_(both.view(56, -1))
        theirs.o_proj.weight.copy_(a.o.weight)
        for name, module in (
            ("wq_b", i.q),
            ("wk", i.k),
            ("weights_proj", i.head_weight),
            ("k_norm", i.k_norm),
        ):
            getattr(theirs.indexer, name).load_state_dict(module.state_dict())
        turns = v32.DeepseekV32RotaryEmbedding(config)(x, torch.arange(23)[None])
        mask = torch.zeros(1, 1, 23, 23).masked_fill(
            ~torch.ones(23, 23, dtype=torch.bool).tril(), torch.finfo().min
        )
        expected = theirs(x, turns, mask.expand(2, -1, -1, -1), position_ids=torch.arange(23)[None])[0]
        found = ours(x, place(BASE, 23))
    assert expected.abs().max() > 0.5
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_of_equal_scores_the_later_is_chosen() -> None:
    scores = torch.tensor([[0.0, 2.0, 0.0, 0.0, float("-inf")], [1.0, 1.0, 1.0, 1.0, 1.0]])
    assert best(scores, 3).tolist() == [[1, 3, 2], [4, 3, 2]]


def test_the_operations_counted_stop_growing_with_the_context_but_for_the_index() -> None:
    spec = SparseLatent(Latent(128, 512, 128, 64, 128), 2048, 64, 128)
    grown = spec.mixing_flops(100_000) - spec.mixing_flops(50_000)
    assert grown == 2 * 64 * 129 * 50_000
    assert spec.mixing_flops(100_000) < 0.35 * spec.attention.mixing_flops(100_000)
    assert spec.cache_bytes_per_token(1) == 512 + 64 + 128


def model(chosen: int, base: Latent = BASE, layers: int = 2) -> Decoder:
    layer = Layer(SparseLatent(base, chosen, 4, 16), FeedForward(48))
    made, noise = (
        Decoder(Architecture(97, 32, (layer,) * layers, 64), seed=0),
        torch.Generator().manual_seed(0),
    )
    with torch.no_grad():
        for name, weight in made.named_parameters():
            scale = 0.6 if ".attention.q" in name or "kv_down" in name or "k_up" in name else 0.1
            weight += scale * torch.randn(weight.shape, generator=noise)
    return made


def text_of(batch: int, time: int, seed: int) -> torch.Tensor:
    return torch.randint(0, 97, (batch, time), generator=torch.Generator().manual_seed(seed))


def test_the_loss_moves_the_indexer_alone_and_is_the_divergence() -> None:
    made, ids = model(6), text_of(2, 20, 0)
    with pytest.raises(UsageError, match="aligning"):
        index_loss(made)
    patterns: list[torch.Tensor] = []
    scores: list[torch.Tensor] = []
    with aligning(made, dense=True):
        with hooked(made, {"blocks.0.mixer.indexer.index_scores": scores.append}):
            made(ids)
        loss = index_loss(made)
        loss.backward()
    for name, weight in made.named_parameters():
        assert (weight.grad is not None) == (".indexer." in name), name
    full = Decoder(Architecture(97, 32, (Layer(BASE, FeedForward(48)),) * 2, 64))
    full.load_state_dict({k.replace("mixer.attention.", "mixer."): v for k, v in made.state_dict().items() if ".indexer." not in k})  # fmt: skip
    with torch.no_grad(), hooked(full, {f"blocks.{n}.mixer.pattern": patterns.append for n in range(2)}):
        full(ids)
    naive = 0.0
    for b in range(2):
        for t in range(20):
            p = patterns[0][b, :, t, : t + 1].double().mean(0)
            q = scores[0][b, t, : t + 1].double().softmax(0)
            naive += float((p * (p / q).log()).sum()) / 40
    first = float(made.blocks[0].mixer.index_loss) if made.blocks[0].mixer.index_loss is not None else None
    assert first is None, "left behind nothing"
    with aligning(made, dense=True):
        made(ids)
        assert float(made.blocks[0].mixer.index_loss.detach()) == pytest.approx(naive, rel=1e-4)
        total = float(index_loss(made).detach())
    assert total == pytest.approx(float(loss.detach()))


def test_an_aligned_indexer_keeps_the_output_near_full_attention() -> None:
    """Both stages of the report on a frozen model: the choice of 8 of up to 48 tokens becomes a good one."""
    base = Latent(2, 12, 8, 4, 8, q_rank=14)
    made, full = model(8, base, 1), model(64, base, 1)
    ids = text_of(4, 48, 1)

    def distance() -> float:
        full.load_state_dict(made.state_dict())
        with torch.no_grad():
            a, b = made.hidden(ids), full.hidden(ids)
        return float((a - b).norm() / b.norm())

    before = distance()
    optimizer = torch.optim.Adam([w for name, w in made.named_parameters() if ".indexer." in name], lr=1e-2)
    losses = []
    for step in range(160):
        with aligning(made, dense=step < 120):
            made(text_of(4, 48, 100 + step))
            loss = index_loss(made)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert sum(losses[100:120]) / 20 < 0.7 * losses[0], (losses[0], losses[119])
    assert distance() < 0.5 * before, (before, distance())


def test_impossible_layers_are_refused() -> None:
    for chosen, heads, width in ((0, 2, 8), (4, 0, 8), (4, 2, 3)):
        with pytest.raises(UsageError):
            SparseLatent(BASE, chosen, heads, width)


def test_the_indexer_alone_gets_no_gradient_from_the_models_loss() -> None:
    made, ids = model(6), text_of(2, 20, 0)
    F.cross_entropy(made(ids)[:, :-1].flatten(0, 1), ids[:, 1:].flatten()).backward()
    assert all((weight.grad is None) == (".indexer." in name) for name, weight in made.named_parameters())
