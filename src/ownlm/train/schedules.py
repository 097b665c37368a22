"""The rate over the steps: pure functions of the step, so that a resumed run needs no scheduler state. Torch-free.

wsd:     ╱‾‾‾‾‾‾‾‾‾‾╲        warm-up, stable, linear decay to 0 (Hu et al. 2024, MiniCPM, arXiv:2404.06395, 4)
cosine:  ╱‾‾╲__              warm-up, half a cosine down to 0 (Loshchilov & Hutter 2017, arXiv:1608.03983)
"""

from __future__ import annotations

import math

from ownlm.train.config import TrainConfig


def scale(config: TrainConfig, step: int) -> float:
    """Factor in (0, 1] on every learning rate for step 0 .. num_steps - 1."""
    total = config.num_steps
    warmup = round(config.warmup_fraction * total)
    if step < warmup:
        return (step + 1) / warmup
    if config.schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * (step - warmup) / (total - warmup)))
    decay = round(config.decay_fraction * total)
    return min(1.0, (total - step) / max(1, decay))
