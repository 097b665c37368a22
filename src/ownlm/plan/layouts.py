"""Which ways to share a model out over a cluster fit its memory, and how fast each would train. Torch-free.

    GPUs = dp x tp x pp x cp                                    every divisor is tried, the fastest come first
    step = (m + (pp - 1) / v) * micro-batch of a stage          m micro-batches; the second term is the bubble
           + gradients over dp and cp + update of the weights
    MFU  = operations of the model / (GPUs * peak * step)       recomputed operations are work, but no merit

Nothing here is measured on a GPU: the share of the peak that matrix products reach and the speed of links are rules
(constants below), the rest is counting. A test holds it against a published run, within 25 % (Narayanan et al. 2021,
arXiv:2104.04473, table 1: GPT-3 on 384 A100).

Counted as ownlm does it: embedding and output layer whole on every tensor-parallel process, attention in pieces that
are not kept, loss in pieces of 512 tokens, sums of gradients after the last backward (not hidden behind it).

Letters: D model width, H query heads, K key/value heads, C head width, F feed-forward width, T tokens of a sequence,
V vocabulary, L layers, m micro-batches, v stages per process.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

from ownlm.errors import UsageError
from ownlm.train.parallel import cost
from ownlm.train.parallel.bubble import bubble

Recompute = Literal["none", "attention", "full"]

MATMUL_SHARE = 0.68  # of the peak, in large products: what is seen of bfloat16 on A100 and H100
SMALL_WIDTH = 512  # products over a side of this many are half as efficient
WEIGHT_BYTES, GRADIENT_BYTES, OPTIMIZER_BYTES = 2, 2, 12  # bfloat16, bfloat16; float32 master and two moments
OVERHEAD_BYTES = 3e9  # CUDA context, NCCL buffers, workspaces
FRAGMENTED = 1.1  # activations come and go in odd sizes
MEMORY_SHARE = 0.94  # of the GPU's memory
LOSS_PIECE = 512  # tokens whose logits are held
MICRO_ROWS = (1, 2, 4, 8, 16)
MAX_CHUNKS = 4


@dataclass(frozen=True, slots=True)
class Shape:
    """A decoder whose layers are alike."""

    name: str
    num_layers: int
    hidden_size: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    intermediate_size: int
    gated: bool
    vocab_size: int
    context: int
    tied: bool = False

    @property
    def layer_parameters(self) -> int:
        """Of one block's matrices; norms are nothing beside them."""
        attention = 2 * self.hidden_size * (self.num_heads + self.num_kv_heads) * self.head_dim
        return attention + (3 if self.gated else 2) * self.hidden_size * self.intermediate_size

    @property
    def parameters(self) -> int:
        return (
            self.num_layers * self.layer_parameters
            + (1 if self.tied else 2) * self.vocab_size * self.hidden_size
        )

    @property
    def flops_per_token(self) -> int:
        """Forward and backward, the full square of attention, as Architecture.flops_per_token counts."""
        matrices = self.num_layers * self.layer_parameters + self.vocab_size * self.hidden_size
        return 6 * matrices + 12 * self.num_layers * self.num_heads * self.head_dim * self.context


SHAPES = {
    "1.3b": Shape("1.3b", 24, 2048, 16, 16, 128, 5504, True, 32_000, 2048),
    "7b": Shape("7b", 32, 4096, 32, 32, 128, 11_008, True, 32_000, 4096),  # Llama 2 7B
    "8b": Shape("8b", 32, 4096, 32, 8, 128, 14_336, True, 128_256, 8192),  # Llama 3 8B
    "70b": Shape("70b", 80, 8192, 64, 8, 128, 28_672, True, 32_000, 4096),  # Llama 2 70B
    "175b": Shape("175b", 96, 12_288, 96, 96, 128, 49_152, False, 51_200, 2048, True),  # GPT-3
}


@dataclass(frozen=True, slots=True)
class GPU:
    """Of the data sheets, dense bfloat16."""

    memory: float  # bytes
    flops: float  # per second
    bandwidth: float  # of its memory, bytes per second
    link: float  # to a GPU of the same machine, bytes per second in one direction


GPUS = {
    "a100-80": GPU(80e9, 312e12, 2.0e12, 300e9),
    "h100-80": GPU(80e9, 989e12, 3.35e12, 450e9),
    "h200-141": GPU(141e9, 989e12, 4.8e12, 450e9),
}
LINK_SHARE = 0.8  # of a link's speed that a collective reaches
LATENCY = 5e-6  # seconds per message


@dataclass(frozen=True, slots=True)
class Cluster:
    num_gpus: int
    gpu: str = "h100-80"
    """A name of GPUS."""
    gpus_per_node: int = 8
    network: float = 50e9
    """Between machines, bytes per second and GPU in one direction (400 Gbit/s each)."""

    def __post_init__(self) -> None:
        if self.gpu not in GPUS:
            raise UsageError("This GPU is not known.", repr(self.gpu), f"use one of {', '.join(GPUS)}")
        if self.num_gpus < 1 or self.gpus_per_node < 1 or self.network <= 0:
            raise UsageError("A cluster has positive sizes.", str(self), "correct them")

    def link(self, span: int) -> cost.Network:
        """Between the GPUs of a group that stretches over `span` consecutive ranks."""
        speed = GPUS[self.gpu].link if span <= self.gpus_per_node else self.network
        return cost.Network(LATENCY, 1 / (speed * LINK_SHARE))


@dataclass(frozen=True, slots=True)
class Split:
    """One way to share the work out. zero: of the optimizer (1), the gradients (2) and the weights (3) over dp x cp."""

    dp: int
    tp: int
    pp: int
    cp: int
    micro_rows: int
    chunks: int = 1
    recompute: Recompute = "none"
    zero: int = 0
    cut_vocabulary: bool = False
    """Embedding and output layer cut by tp as well, as Megatron-LM does and ownlm does not."""

    @property
    def runs_here(self) -> bool:
        """Whether ownlm itself can train like this: its ZeRO is for data parallelism alone."""
        return not self.cut_vocabulary and (self.zero == 0 or self.tp == self.pp == self.cp == 1)

    def __str__(self) -> str:
        return f"DP {self.dp} x TP {self.tp} x PP {self.pp}" + (f" x CP {self.cp}" if self.cp > 1 else "")


@dataclass(frozen=True, slots=True)
class Row:
    """A split that fits, with what it would take. Bytes and seconds of one GPU and one step."""

    split: Split
    weights: float  # bytes, with gradients and optimizer
    activations: float  # bytes
    step_seconds: float
    mfu: float
    bubble: float  # share of the step's passes that a GPU waits for others
    communication: float  # share of the step spent on it
    tokens_per_second: float  # of the whole cluster

    @property
    def memory(self) -> float:
        return self.weights + self.activations + OVERHEAD_BYTES

    def as_dict(self) -> dict[str, Any]:
        facts = asdict(self)
        return {**facts.pop("split"), "runs_here": self.split.runs_here, "memory": self.memory, **facts}


def layouts(shape: Shape, cluster: Cluster, rows: int) -> list[Row]:
    """Every split that fits the memory, the fastest first; rows: sequences of a step, all GPUs together.

    Of those that differ only in micro_rows, recomputation, chunks and ZeRO, the fastest is kept. Raises UsageError
    when none fits, naming what came closest.
    """
    best: dict[tuple[int, int, int, int], Row] = {}
    nearest: Row | None = None
    for split in splits(shape, cluster, rows):
        row = predict(shape, cluster, split, rows)
        if row.memory > MEMORY_SHARE * GPUS[cluster.gpu].memory:
            nearest = row if nearest is None or row.memory < nearest.memory else nearest
            continue
        key = (split.dp, split.tp, split.pp, split.cp)
        if key not in best or row.step_seconds < best[key].step_seconds:
            best[key] = row
    if not best:
        found = "no split divides the layers, heads and rows" if nearest is None else (
            f"the smallest needs {nearest.memory / 1e9:.0f} GB ({nearest.split}), "
            f"a GPU has {GPUS[cluster.gpu].memory / 1e9:.0f} GB")  # fmt: skip
        raise UsageError(
            f"{shape.name} does not fit {cluster.num_gpus} GPUs of {cluster.gpu}.",
            found,
            "take more GPUs, or a number of GPUs and rows with more divisors",
        )
    return sorted(best.values(), key=lambda row: row.step_seconds)


def splits(shape: Shape, cluster: Cluster, rows: int) -> Iterator[Split]:
    """All that divide heads, layers, sequence and rows; tensor parallelism stays within a machine."""
    tps = [
        t for t in _divisors(cluster.num_gpus) if shape.num_kv_heads % t == 0 and t <= cluster.gpus_per_node
    ]
    for tp, pp, cp in itertools.product(tps, _divisors(cluster.num_gpus), (1, 2, 4, 8)):
        if cluster.num_gpus % (tp * pp * cp) or shape.num_layers % pp or shape.context % (2 * cp):
            continue
        dp = cluster.num_gpus // (tp * pp * cp)
        for micro in MICRO_ROWS:
            if rows % (dp * micro):
                continue
            m = rows // dp // micro
            chunks = [v for v in range(1, MAX_CHUNKS + 1)
                      if v == 1 or (pp > 1 and m % pp == 0 and shape.num_layers % (pp * v) == 0)]  # fmt: skip
            # With a pipeline the gradients of all micro-batches add up where they are: stages 2 and 3 do not pay.
            zeros = (0,) if dp * cp == 1 else (0, 1) if pp > 1 else (0, 1, 2, 3)
            recomputes: tuple[Recompute, ...] = ("none", "attention", "full")
            for v, recompute, zero in itertools.product(chunks, recomputes, zeros):
                yield Split(dp, tp, pp, cp, micro, v, recompute, zero)


def predict(shape: Shape, cluster: Cluster, split: Split, rows: int) -> Row:
    """Memory and time of one split, by the rules above."""
    gpu, m = GPUS[cluster.gpu], rows // split.dp // split.micro_rows
    tokens = split.micro_rows * shape.context // split.cp  # of a micro-batch, on one GPU
    held = _held_parameters(shape, split)
    compute = _compute_seconds(shape, split, tokens, gpu)
    inside = _layer_messages(shape, cluster, split, tokens)
    passing = 0.0
    if split.pp > 1:
        link = cluster.link(cluster.num_gpus)
        passing = 2 * split.chunks * cost.Cost(1, 2.0 * tokens * shape.hidden_size).seconds(link)
    micro = compute + inside + passing
    passes = (m + (split.pp - 1) / split.chunks) * micro
    gradients = _gradient_seconds(cluster, split, held, m)
    update = (held / (split.dp * split.cp if split.zero else 1)) * 2 * (OPTIMIZER_BYTES + GRADIENT_BYTES) / gpu.bandwidth  # fmt: skip
    step = passes + gradients + update
    all_tokens = rows * shape.context
    return Row(
        split,
        _state_bytes(split, held),
        _activation_bytes(shape, split, tokens, m),
        step,
        all_tokens * shape.flops_per_token / (cluster.num_gpus * gpu.flops * step),
        bubble(split.pp, m, split.chunks),
        (m * (inside + passing) + gradients) / step,
        all_tokens / step,
    )


def _held_parameters(shape: Shape, split: Split) -> float:
    """On the fullest GPU: the first stage, which has the embedding (and without a pipeline the output layer too)."""
    vocabulary = shape.vocab_size * shape.hidden_size * (2 if split.pp == 1 and not shape.tied else 1)
    if split.cut_vocabulary:
        vocabulary //= split.tp
    return shape.num_layers / split.pp * shape.layer_parameters / split.tp + vocabulary


def _state_bytes(split: Split, held: float) -> float:
    over = split.dp * split.cp
    weights = WEIGHT_BYTES / (over if split.zero >= 3 else 1)
    gradients = GRADIENT_BYTES / (over if split.zero >= 2 else 1)
    return held * (weights + gradients + OPTIMIZER_BYTES / (over if split.zero >= 1 else 1))


def _activation_bytes(shape: Shape, split: Split, tokens: int, m: int) -> float:
    """Kept for the backward pass on the first stage, which holds the most micro-batches, and the loss's pieces."""
    D, per_stage = shape.hidden_size, shape.num_layers / split.pp
    heads = 2 * (2 * shape.num_heads + 2 * shape.num_kv_heads) * shape.head_dim / split.tp  # q, mixed, k, v
    forward = (
        2 * (4 if shape.gated else 2) * shape.intermediate_size / split.tp
    )  # gate, up, activated, product
    around = 12 * D  # two norms' inputs in float32, two outputs in bfloat16
    kept = {"none": around + heads + forward, "attention": around + forward, "full": 4.0 * D}[split.recompute]
    in_flight = min(m, split.pp + (split.pp - 1) / split.chunks if split.chunks > 1 else split.pp)
    layers = tokens * kept * per_stage * in_flight
    once = (
        tokens * (around + heads + forward) if split.recompute != "none" else 0.0
    )  # the layer computed again
    gathered = (
        2.0 * 2 * shape.layer_parameters / split.tp if split.zero == 3 else 0.0
    )  # two layers' whole weights
    loss = LOSS_PIECE * shape.vocab_size * 10.0 + 4.0 * shape.vocab_size * D + 8.0 * tokens * D
    return FRAGMENTED * (layers + once + gathered + loss)


def _compute_seconds(shape: Shape, split: Split, tokens: int, gpu: GPU) -> float:
    """Forward, recomputation and backward of one micro-batch on one GPU, in the slowest stage (the last: the loss)."""
    layers = shape.num_layers / split.pp / split.tp
    matrices = 6.0 * layers * shape.layer_parameters * tokens
    mixing = (
        12.0 * layers * shape.num_heads * shape.head_dim * shape.context * tokens / 2
    )  # half is masked away
    again = {"none": 0.0, "attention": mixing / 3, "full": (matrices + mixing) / 3}[split.recompute]
    loss = 6.0 * shape.vocab_size * shape.hidden_size * tokens / (split.tp if split.cut_vocabulary else 1)
    side = min(
        shape.hidden_size, shape.intermediate_size / split.tp, shape.num_heads * shape.head_dim / split.tp
    )
    share = MATMUL_SHARE * side / (side + SMALL_WIDTH)
    return (matrices + mixing + again) / (gpu.flops * share) + loss / (gpu.flops * MATMUL_SHARE)


def _layer_messages(shape: Shape, cluster: Cluster, split: Split, tokens: int) -> float:
    """Of one micro-batch: all-reduces of tensor parallelism, and what of the ring is slower than its attention."""
    layers, seconds = shape.num_layers / split.pp, 0.0
    if split.tp > 1:
        times = 6 if split.recompute == "full" else 4
        each = cost.ring_all_reduce(split.tp, 2.0 * tokens * shape.hidden_size)
        seconds += layers * times * each.seconds(cluster.link(split.tp))
    if split.cp > 1:
        pair = 2.0 * shape.num_kv_heads * shape.head_dim / split.tp * tokens  # keys and values here, entries
        # forward and backward each pass them on in bfloat16; backward also their gradients in float32, once more home
        bytes_ = (split.cp - 1) * pair * 2 * 2 + split.cp * pair * 4
        ring = cost.Cost(3 * split.cp, bytes_).seconds(cluster.link(split.tp * split.cp))
        mixing = 6.0 * shape.num_heads * shape.head_dim / split.tp * shape.context * tokens
        seconds += layers * max(0.0, ring - mixing / (GPUS[cluster.gpu].flops * MATMUL_SHARE))
    return seconds


def _gradient_seconds(cluster: Cluster, split: Split, held: float, m: int) -> float:
    """Once a step, after the last backward; ZeRO 2 and 3 in every micro-batch."""
    over = split.dp * split.cp
    if over == 1:
        return 0.0
    kind = ("ddp", "zero1", "zero2", "zero3")[split.zero]
    sent = cost.step_bytes(kind, over, round(held), WEIGHT_BYTES, GRADIENT_BYTES, m)
    return cost.Cost(2 * (over - 1), sent).seconds(cluster.link(over * split.tp))


def _divisors(number: int) -> list[int]:
    return [n for n in range(1, number + 1) if number % n == 0]
