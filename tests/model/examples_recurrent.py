"""One tiny model of each recurrent mixer."""

from ownlm.model.architecture import Architecture
from ownlm.model.blocks import Layer, MixerSpec
from ownlm.model.layers import FeedForward, Norm
from ownlm.model.position import Rope
from ownlm.model.recurrent.delta_net import DeltaNet
from ownlm.model.recurrent.gated_delta_net import GatedDeltaNet
from ownlm.model.recurrent.infini_attention import InfiniAttention
from ownlm.model.recurrent.linear_attention import LinearAttention
from ownlm.model.recurrent.neural_memory import NeuralMemory
from ownlm.model.recurrent.retnet import Retention
from ownlm.model.recurrent.rwkv import ChannelMix, TimeMix
from ownlm.model.recurrent.rwkv7 import GooseTimeMix
from ownlm.model.recurrent.rwkv_matrix import MatrixTimeMix
from ownlm.model.recurrent.test_time_training import TestTimeTraining


def model(mixer: MixerSpec) -> Architecture:
    return Architecture(97, 32, (Layer(mixer, FeedForward(48)),) * 2, 64)


def rwkv(time_mix: MixerSpec, channel_mix: ChannelMix) -> Architecture:
    """Two layers, four mixers: RWKV's channel mix looks back one token, so it is a mixer."""
    norm = Norm("layer", bias=True)
    layers = (Layer(time_mix, None, norm), Layer(channel_mix, None, norm)) * 2
    return Architecture(97, 32, layers, 64, norm, tie_embeddings=False, embedding_norm=norm)


EXAMPLES = {
    "linear-attention": model(LinearAttention(4, 8, chunk=8, bias=True)),
    "retention": model(Retention(2, 8, value_dim=16, chunk=7)),
    "retention-one-head-nope": model(Retention(1, 10, rope=None)),
    "delta-net": model(DeltaNet(2, 8, chunk=8)),
    "gated-delta-net": model(GatedDeltaNet(4, 8, num_key_heads=2, value_dim=6, taps=3, chunk=8)),
    "infini-attention": model(InfiniAttention(2, 8, segment=7)),
    "infini-attention-linear": model(InfiniAttention(4, 8, segment=5, rope=Rope(500.0), delta=False)),
    "neural-memory": model(NeuralMemory(2, 8, chunk=6)),
    "neural-memory-deep": model(NeuralMemory(1, 8, hidden=12, chunk=4, taps=2)),
    "ttt-linear": model(TestTimeTraining(2, 8, chunk=6, rope=Rope())),
    "ttt-mlp": model(TestTimeTraining(2, 8, hidden=16, chunk=5, base=0.1)),
    "rwkv-4": rwkv(TimeMix(24, chunk=7), ChannelMix(48)),
    "rwkv-5": rwkv(MatrixTimeMix(2, 12, mix_rank=None, chunk=8), ChannelMix(40)),
    "rwkv-6": rwkv(MatrixTimeMix(2, 8, mix_rank=4, decay_rank=6, chunk=5), ChannelMix(40)),
    "rwkv-7": rwkv(GooseTimeMix(2, 8, rank=4, gate_rank=6, chunk=7), ChannelMix(48, gated=False)),
}
