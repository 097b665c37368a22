"""One tiny model of each dense family's composition, and of each rotary scaling that does not depend on the length."""

from ownlm.model.absolute import Learned
from ownlm.model.architecture import Architecture
from ownlm.model.attention.grouped import GroupedQuery
from ownlm.model.blocks import Layer
from ownlm.model.layers import FeedForward, Norm
from ownlm.model.position import NTK, Linear, Llama3, Rope, Yarn

GEMMA = Norm("rms", 1e-6, offset=True)
LAYER_NORM = Norm("layer", bias=True)
LOCAL, FULL = Rope(1e4), Rope(1e6, scaling=Linear(8.0))


def model(*layers: Layer, **options: object) -> Architecture:
    return Architecture(97, 32, layers if len(layers) > 1 else layers * 2, 64, **options)  # type: ignore[arg-type]


def rotated(rope: Rope) -> Architecture:
    return model(Layer(GroupedQuery(4, 2, 8, rope), FeedForward(48)))


EXAMPLES = {
    "gpt2": model(Layer(GroupedQuery(4, 4, 8, bias=True, output_bias=True), FeedForward(64, "gelu_tanh", False, True), LAYER_NORM),
                  norm=LAYER_NORM, positions=Learned(64)),
    "gpt-neox": model(Layer(GroupedQuery(2, 2, 16, Rope(dims=4), bias=True, output_bias=True),
                            FeedForward(64, "gelu", False, True), LAYER_NORM, "parallel"), norm=LAYER_NORM, tie_embeddings=False),
    "qwen2": model(Layer(GroupedQuery(4, 1, 8, Rope(), bias=True), FeedForward(48)),
                   Layer(GroupedQuery(4, 1, 8, Rope(), window=5, bias=True), FeedForward(48))),
    "qwen3": model(Layer(GroupedQuery(4, 2, 10, Rope(), qk_norm=Norm()), FeedForward(48))),
    "gemma2": model(*(Layer(GroupedQuery(4, 2, 10, Rope(), window, scale=0.3, softcap=5.0), FeedForward(48, "gelu_tanh"), GEMMA, "sandwich")
                      for window in (5, None)), norm=GEMMA, embedding_scale=32**0.5, logit_softcap=4.0),
    "gemma3": model(*(Layer(GroupedQuery(4, 1, 10, rope, window, qk_norm=GEMMA), FeedForward(48, "gelu_tanh"), GEMMA, "sandwich")
                      for rope, window in ((LOCAL, 5), (FULL, None))), norm=GEMMA, embedding_scale=32**0.5),
    "olmo2": model(Layer(GroupedQuery(4, 2, 8, Rope(), qk_norm=Norm(), qk_norm_over="width"), FeedForward(48), wiring="output")),
    "rope-linear": rotated(Rope(scaling=Linear(3.0))),
    "rope-ntk": rotated(Rope(scaling=NTK(3.0))),
    "rope-yarn": rotated(Rope(500.0, scaling=Yarn(4.0, 16))),
    "rope-llama3": rotated(Rope(500.0, scaling=Llama3(8.0, 1.0, 4.0, 16))),
    "rope-interleaved-part": rotated(Rope(dims=6, interleaved=True)),
}  # fmt: skip
