"""One tiny model of each state-space layer, and hybrids of them with attention."""

from ownlm.model.architecture import Architecture
from ownlm.model.blocks import Layer
from ownlm.model.hybrid import hybrid, pure_mamba
from ownlm.model.layers import FeedForward, Norm
from ownlm.model.ssm.mamba import Mamba
from ownlm.model.ssm.mamba2 import Mamba2
from ownlm.model.ssm.s4 import S4
from ownlm.model.ssm.s5 import S5


def model(layer: Layer) -> Architecture:
    return Architecture(97, 32, (layer,) * 2, 64)


EXAMPLES = {
    "mamba": model(Layer(Mamba(64))),
    "mamba-odd": model(Layer(Mamba(47, 3, dt_rank=5, conv_kernel=1, bias=True, conv_bias=False, selection_norm=Norm()))),
    "mamba2": model(Layer(Mamba2(4, 16, 8, num_groups=2, chunk=8))),
    "mamba2-odd": model(Layer(Mamba2(3, 11, 5, conv_kernel=3, bias=True, conv_bias=False, dt_limit=(0.01, 0.8), chunk=7), FeedForward(48))),
}  # fmt: skip
EXAMPLES |= {
    "s4d": model(Layer(S4(48, 16), FeedForward(48))),
    "s4d-linear-bilinear": model(Layer(S4(33, 2, discretization="bilinear", eigenvalues="linear"), FeedForward(48))),
    "s4": model(Layer(S4(32, 8, "dplr", "bilinear"), FeedForward(48))),
    "s5": model(Layer(S5(40, 24, blocks=3), FeedForward(48))),
}  # fmt: skip
EXAMPLES |= {
    "hybrid-mamba-attention": hybrid("MAM", 97, 32, 64, feed_forwards="FE-"),
    "hybrid-every-letter": hybrid("N2S5W", 97, 32, 64),
    "pure-mamba": pure_mamba(3, 97, 32, 64),
}
