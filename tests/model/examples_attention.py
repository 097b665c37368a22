"""One tiny model of each attention and position of this part; sizes that no block divides."""

from ownlm.model.absolute import Learned, Sinusoidal
from ownlm.model.architecture import Architecture
from ownlm.model.attention.biased import Alibi, Biased, T5Bias
from ownlm.model.attention.clustered import Routing
from ownlm.model.attention.differential import Differential
from ownlm.model.attention.gated import Gated
from ownlm.model.attention.grouped import GroupedQuery
from ownlm.model.attention.moba import BlockMixture
from ownlm.model.attention.sparse import BigBird, Blockwise, Longformer, Sparse
from ownlm.model.attention.transformer_xl import TransformerXL
from ownlm.model.blocks import Layer
from ownlm.model.layers import FeedForward
from ownlm.model.position import Rope


def model(*mixers: object, **options: object) -> Architecture:
    both = mixers if len(mixers) > 1 else mixers * 2
    return Architecture(97, 32, tuple(Layer(m, FeedForward(48)) for m in both), 64, **options)  # type: ignore[arg-type]


EXAMPLES = {
    "gated-element": model(Gated(4, 2, 8, rope=Rope())),
    "gated-head-window": model(Gated(4, 1, 8, rope=Rope(), window=6, gate="head")),
    "differential": model(Differential(4, 2, 4, rope=Rope())),
    "differential-window": model(Differential(2, 2, 8, window=7)),
    "alibi": model(Biased(6, 2, 8, Alibi())),
    "alibi-window": model(Biased(4, 4, 8, Alibi(), window=5)),
    "t5-bias": model(Biased(4, 2, 8, T5Bias(8, 20), scale=1.0)),
    "transformer-xl": model(TransformerXL(4, 8)),
    "transformer-xl-window": model(TransformerXL(2, 8, window=9)),
    "longformer": model(Sparse(4, 2, 8, Longformer(5, num_global=3, block=4), rope=Rope())),
    "bigbird": model(Sparse(4, 2, 8, BigBird(4, 2, 1, 2, seed=3), rope=Rope())),
    "blockwise": model(Sparse(4, 4, 8, Blockwise(6, before=1), rope=Rope())),
    "block-mixture": model(BlockMixture(4, 2, 8, block=5, num_chosen=2, rope=Rope())),
    "clustered": model(Routing(4, 8, num_clusters=3, reach=4, rope=Rope())),
    "clustered-alternating": model(Routing(2, 8, 5, 40), Gated(4, 2, 8, rope=Rope(), window=5)),
    "sinusoidal": model(GroupedQuery(4, 2, 8), positions=Sinusoidal(64)),
    "learned-offset": model(GroupedQuery(4, 2, 8), positions=Learned(64, offset=2)),
    "no-positions": model(GroupedQuery(4, 2, 8)),
    "interleaved-no-positions": model(GroupedQuery(4, 2, 8, rope=Rope(), window=8), GroupedQuery(4, 2, 8)),
}
