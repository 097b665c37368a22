"""One tiny model of each router and of latent attention."""

from ownlm.model.architecture import Architecture
from ownlm.model.attention.deepseek_sparse import SparseLatent
from ownlm.model.attention.grouped import GroupedQuery
from ownlm.model.attention.latent import Latent
from ownlm.model.blocks import FeedForwardSpec, Layer, MixerSpec
from ownlm.model.layers import FeedForward
from ownlm.model.moe import MixtureOfExperts
from ownlm.model.position import Rope
from ownlm.model.routing import BiasedSigmoid, ExpertChoice, GroupLimited, TopK

ATTENTION = GroupedQuery(4, 2, 8, rope=Rope())
EXPERT = FeedForward(24)


def model(mixer: MixerSpec, feed_forward: FeedForwardSpec) -> Architecture:
    return Architecture(97, 32, (Layer(mixer, feed_forward),) * 2, 64)


EXAMPLES = {
    "moe-top-2": model(ATTENTION, MixtureOfExperts(4, EXPERT)),
    "moe-top-3-unnormalized": model(ATTENTION, MixtureOfExperts(5, EXPERT, TopK(3, normalize=False))),
    "moe-switch": model(
        ATTENTION, MixtureOfExperts(3, FeedForward(24, "relu", gated=False), TopK(1, normalize=False), capacity_factor=1.5)
    ),
    "moe-expert-choice": model(ATTENTION, MixtureOfExperts(4, EXPERT, ExpertChoice(2.0))),
    "moe-group-limited": model(
        ATTENTION, MixtureOfExperts(6, EXPERT, GroupLimited(2, 3, 2, 1.5), shared=FeedForward(16), shared_gate=True)
    ),
    "moe-biased-sigmoid": model(
        ATTENTION, MixtureOfExperts(8, FeedForward(12), BiasedSigmoid(3, 4, 2, scale=2.5), shared=FeedForward(12))
    ),
    "latent": model(Latent(4, 12, 8, 4, 6), FeedForward(48)),
    "latent-low-rank-q": model(Latent(3, 10, 6, 2, 8, q_rank=14, bias=True), FeedForward(48)),
    "latent-nope": model(Latent(1, 16, 8, 4, 8, rope=None), FeedForward(48)),
    "deepseek-sparse": model(SparseLatent(Latent(4, 12, 8, 4, 6, q_rank=14), 6, 2, 8), FeedForward(48)),
}  # fmt: skip

NOT_CAUSAL = {"moe-expert-choice": "experts choose among all tokens of a row, later ones too"}
NO_CACHE = {"moe-expert-choice": "refused: see test_moe.py"}
NO_GRADIENT = {"deepseek-sparse": ".indexer."}
"""The choice has no gradient; the indexer learns from index_loss, see test_deepseek_sparse.py."""
