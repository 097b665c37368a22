"""The rate over the steps: pure functions of the step, so that a resumed run needs no scheduler state. Torch-free.

wsd:      ╱‾‾‾‾‾‾‾‾‾‾╲       warm-up, stable, linear decay, never before the warm-up's end (Hu et al. 2024, MiniCPM, arXiv:2404.06395, 4)
cosine:   ╱‾‾╲__             warm-up, half a cosine down to a tenth (Loshchilov & Hutter 2017, arXiv:1608.03983)
linear:   ╱╲                 warm-up, straight down
constant: ╱‾‾‾‾              warm-up, then the peak
restarts: ╱╲_╱╲_             warm-up, then the cosine again and again (the same paper, section 3, equal cycles)
"""

from __future__ import annotations

import math

from ownlm.train.config import TrainConfig


def warmup_steps(config: TrainConfig) -> int:
    """Steps in which the rate rises."""
    if config.warmup_steps is not None:
        return config.warmup_steps
    return round(config.warmup_fraction * config.num_steps)


def final_fraction(config: TrainConfig) -> float:
    """Share of the peak that the last step comes near to."""
    if config.final_fraction is not None:
        return config.final_fraction
    return 0.1 if config.schedule in ("cosine", "restarts") else 0.0


def scale(config: TrainConfig, step: int) -> float:
    """Factor in (0, 1] on every learning rate for step 0 .. num_steps - 1."""
    warmup, floor = warmup_steps(config), final_fraction(config)
    if step < warmup:
        return (step + 1) / warmup
    if config.schedule == "constant":
        return 1.0
    rest = config.num_steps - warmup  # steps after the warm-up, at least 1 here
    left = (config.num_steps - step) / rest  # 1 after the warm-up, above 0 at the end
    if config.schedule == "linear":
        return floor + (1 - floor) * left
    if config.schedule == "wsd":
        decay = max(1, min(rest, round(config.decay_fraction * config.num_steps)))
        return floor + (1 - floor) * min(1.0, (config.num_steps - step) / decay)
    # In whole numbers: a cycle that begins a rounding error too late would begin at the floor.
    cycles = config.restarts if config.schedule == "restarts" else 1
    done = (step - warmup) * cycles % rest / rest
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * done))
