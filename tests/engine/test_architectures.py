"""The engine serves whatever the model room composes, as long as its layers keep keys and values of one shape."""

import random

import pytest
import torch
from engine_world import asked, engine, run

from ownlm.errors import UsageError
from ownlm.model.architecture import Architecture
from ownlm.model.attention.biased import Biased, T5Bias
from ownlm.model.attention.differential import Differential
from ownlm.model.attention.gated import Gated
from ownlm.model.attention.grouped import GroupedQuery
from ownlm.model.attention.moba import BlockMixture
from ownlm.model.attention.sparse import BigBird, Longformer, Sparse
from ownlm.model.blocks import Layer
from ownlm.model.decoder import Decoder
from ownlm.model.layers import FeedForward, Norm
from ownlm.model.position import Rope
from ownlm.model.ssm.mamba import Mamba

LOCAL = Layer(
    GroupedQuery(4, 2, 8, Rope(), window=6, softcap=20.0),
    FeedForward(48, "gelu_tanh"),
    Norm(offset=True),
    "sandwich",
)
GLOBAL = Layer(GroupedQuery(4, 2, 8, Rope(1e6), qk_norm=Norm(), bias=True), FeedForward(48), Norm(), "output")
PARALLEL = Layer(
    GroupedQuery(4, 2, 8, Rope(dims=4), output_bias=True),
    FeedForward(48, "gelu", False, True),
    Norm("layer", bias=True),
    "parallel",
)


def model(*layers: Layer) -> Decoder:
    """320 ids like the engine tests' tokenizer; large weights, so that greedy choices are decided."""
    found = Decoder(Architecture(320, 32, layers, 128, tie_embeddings=False, logit_softcap=30.0), seed=5)
    with torch.no_grad():
        for weight in found.parameters():
            weight.mul_(3.0 if weight.ndim > 1 else 1.0)
    return found.eval()


SPARSE = tuple(
    Layer(Sparse(4, 2, 8, p, Rope()), FeedForward(48)) for p in (Longformer(5, 2, 4), BigBird(4, 1, 1, 1))
)
VARIED = tuple(
    Layer(m, FeedForward(48))
    for m in (Gated(4, 2, 8, Rope()), Biased(4, 2, 8), Biased(4, 2, 8, T5Bias(8, 12)))
)


@pytest.mark.parametrize(
    "layers",
    [(LOCAL, GLOBAL, LOCAL), (PARALLEL, PARALLEL), SPARSE, VARIED],
    ids=["windows", "parallel", "sparse", "gated-biased"],
)
def test_batched_greedy_tokens_are_those_of_the_plain_model(layers: tuple[Layer, ...]) -> None:
    decoder, r = model(*layers), random.Random(1)
    prompts = [[r.randrange(256) for _ in range(n)] for n in (1, 4, 9, 30)]
    found = run(engine(decoder, max_running=3, prefill_tokens=8), *(asked(p, max_tokens=20) for p in prompts))
    for prompt, mine in zip(prompts, found, strict=True):
        row = list(prompt)
        for token in mine:
            with torch.no_grad():
                assert int(decoder(torch.tensor([row]))[0, -1].argmax()) == token
            row.append(token)
        assert len(mine) > 1


@pytest.mark.parametrize("mixer", [Mamba(32), Differential(4, 2, 8), BlockMixture(4, 2, 8, 4)])
def test_what_keeps_something_else_is_refused_with_a_way_out(mixer: object) -> None:
    """A recurrence; values twice as wide as keys; blocks counted from a first token that a served cache may lose."""
    layer = Layer(mixer, FeedForward(48))  # type: ignore[arg-type]
    for layers in ((layer, LOCAL), (layer, layer)):
        with pytest.raises(UsageError, match="new_cache"):
            engine(model(*layers))
