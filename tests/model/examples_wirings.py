"""One tiny model of each wiring, and the options of the decoder around its layers."""

from ownlm.model.absolute import Learned
from ownlm.model.architecture import Architecture
from ownlm.model.attention.grouped import GroupedQuery
from ownlm.model.blocks import WIRINGS, Layer
from ownlm.model.layers import FeedForward, Norm
from ownlm.model.position import Rope

ATTENTION = GroupedQuery(4, 2, 8, rope=Rope())
PLAIN = FeedForward(64, "gelu", gated=False, bias=True)
LAYER_NORM = Norm("layer", bias=True)


def model(layer: Layer, **options: object) -> Architecture:
    return Architecture(97, 32, (layer,) * 2, 64, **options)  # type: ignore[arg-type]


EXAMPLES = {
    f"wiring-{name}": model(
        Layer(ATTENTION, FeedForward(48), wiring=name), norm=None if name == "post" else Norm()
    )
    for name in WIRINGS
} | {
    "learned-positions": model(
        Layer(GroupedQuery(4, 4, 8, bias=True, output_bias=True), PLAIN, LAYER_NORM),
        norm=LAYER_NORM,
        positions=Learned(64),
    ),
    "capped-scaled-untied": model(
        Layer(GroupedQuery(4, 1, 8, rope=Rope(dims=4), softcap=5.0, scale=0.2), FeedForward(48, "gelu_tanh")),
        tie_embeddings=False,
        embedding_scale=32**0.5,
        logit_softcap=3.0,
        embedding_norm=Norm(),
    ),
    "window": model(Layer(GroupedQuery(4, 2, 8, rope=Rope(), window=5), FeedForward(48))),
    "window-of-one": model(Layer(GroupedQuery(4, 2, 8, window=1), FeedForward(48))),
    "qk-norms": Architecture(
        97,
        32,
        (
            Layer(GroupedQuery(4, 2, 8, rope=Rope(), qk_norm=Norm(), qk_norm_over="head"), FeedForward(48)),
            Layer(
                GroupedQuery(4, 2, 8, rope=Rope(500.0), qk_norm=Norm(offset=True), qk_norm_over="width"),
                FeedForward(48),
            ),
        ),
        64,
    ),
}
