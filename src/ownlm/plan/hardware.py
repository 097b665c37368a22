"""How fast this machine trains, said so coarsely that two runs on the same type of machine say the same.

A measured peak of matrix products wobbles by 20 % and more with the machine's load. A number of steps derived from
it would differ from run to run, and with it the weights. So the peak is rounded *down* to a grid of factor-2 bins,
and everything else follows from the bin. The bins lie so that the machine types measured so far are well inside
one: 2 cores AMD Zen 4, bf16 380-403 GFLOP/s and fp32 157-198; 2 cores AMD Zen 3, fp32 75-120.
"""

from __future__ import annotations

import bisect
import math
from dataclasses import dataclass

from ownlm.errors import MachineError
from ownlm.model import count
from ownlm.model.config import ModelConfig
from ownlm.plan.quantity import Quantity

EDGES = tuple(70.0 * 2.0**k for k in range(-4, 15))  # 4.375 ... 70, 140, 280, 560 ... 1,146,880 GFLOP/s

# Share of the bin's *lower edge* that a training step reaches, by the width of the model (hidden size -> share): small
# matrices do not fill the machine. Linear between the widths. The peak is rounded down, by 1.4 on average, so a share
# near 1 is what a real share of 0.7 gives; a machine in the middle of its bin finishes early. Points measured so far:
# width 256 fp32 100 GFLOP/s in the bin of 70; width 384 bf16 244 and width 512 290 in the bin of 280; width 64 fp32 12
# in the bin of 70 beside other work. Re-fit from `tokens_per_second` in run.jsonl.
EFFICIENCY = ((64, 0.30), (128, 0.55), (192, 0.62), (256, 0.70), (384, 0.85), (512, 0.95))


@dataclass(frozen=True, slots=True)
class Machine:
    """What a plan needs to know of a machine. Sizes in bytes."""

    gflops: float  # measured peak of matrix products in the training precision, GFLOP/s
    memory: int  # total
    disk: int  # free where the artifacts go
    cores: int = 1


def floor_peak(gflops: float) -> float:
    """The lower edge of the bin, GFLOP/s; raises MachineError below the grid."""
    if not math.isfinite(gflops) or gflops < EDGES[0]:
        raise MachineError(
            "This machine is too slow to train on, or its speed could not be measured.",
            f"{gflops} GFLOP/s in matrix products, at least {EDGES[0]} are needed",
            "close other programs and run `ownlm doctor`",
        )
    return EDGES[bisect.bisect_right(EDGES, gflops) - 1]


def efficiency(hidden_size: int) -> float:
    """Share of the binned peak that training reaches at this width; constant outside the table."""
    widths = [width for width, _ in EFFICIENCY]
    if hidden_size <= widths[0]:
        return EFFICIENCY[0][1]
    if hidden_size >= widths[-1]:
        return EFFICIENCY[-1][1]
    upper = bisect.bisect_right(widths, hidden_size)
    (w0, e0), (w1, e1) = EFFICIENCY[upper - 1], EFFICIENCY[upper]
    return e0 + (e1 - e0) * (hidden_size - w0) / (w1 - w0)


def tokens_per_second(gflops: float, hidden_size: int, flops_per_token: int) -> float:
    """Training speed by the rule above."""
    return floor_peak(gflops) * 1e9 * efficiency(hidden_size) / flops_per_token


# An eager float32 step in one thread: operations at a share of the measured (not binned) peak, and what calling them
# costs whatever their size. Fitted to twelve runs of width 64 and 128 on an AMD Zen 3 (bench/plan.py; all within 10 %).
STEP_SHARE = 0.553
STEP_DISPATCH = 0.0041  # seconds a step
LAYER_DISPATCH = 0.0099  # seconds a layer and step


def step_seconds(gflops: float, config: ModelConfig, batch_tokens: int, context: int) -> float:
    """Seconds of one optimizer step at a peak measured in the same minute; no bins, so nothing to build a plan on. A
    processor that calls operations faster or slower than ours is not covered where small layers make that the most."""
    computing = batch_tokens * count.flops_per_token(config, context) / (gflops * 1e9 * STEP_SHARE)
    return STEP_DISPATCH + LAYER_DISPATCH * config.num_layers + computing


def quantities(machine: Machine, hidden_size: int) -> list[Quantity]:
    """The measured peak itself is left out on purpose: a plan depends on its bin only, and so does its digest."""
    rounding = "measured matrix products, GFLOP/s, rounded down to 70 * 2^k: two runs plan the same"
    return [
        Quantity("peak", floor_peak(machine.gflops), "GFLOP/s", rounding, "measured"),
        Quantity("efficiency", efficiency(hidden_size), "", "share of the peak, by hidden_size", "measured"),
    ]
