"""How long the stages around training take: seconds fixed, and seconds per megabyte of text.

The names are those of the artifact folders. One table, to be re-fitted from `cost.measured` of finished builds.
"""

from __future__ import annotations

from ownlm.plan.quantity import Quantity

# stage -> (seconds, seconds per MB of text); measured on 9.5 MB with 2 cores of an AMD Zen 3
FIXED: dict[str, tuple[float, float]] = {
    "corpus": (1.0, 0.20),  # read, clean, deduplicate, split
    "tokenizer": (0.5, 0.10),
    "shards": (0.5, 0.10),
    "index": (2.0, 2.00),  # passages, terms, and the refusal threshold from several hundred searches
    "overlap": (0.5, 0.10),
    "questions": (1.0, 1.20),
}
STARTUP = (
    20.0  # seconds of compiling, word vectors or conversations, and checkpoints: once for each training stage
)
BASELINES = (1.0, 1.3)  # xz three times and Kneser-Ney: seconds, and seconds per MB of text
XZ_WINDOW_MB = 67.1  # the baselines read no more than xz can look back
QUESTION_TOKENS = 900  # prompt with passages, and answer
EVAL_STARTUP = 4.0
SFT_SHARE = 0.25  # of the time left for training


def fixed_seconds(megabytes: float) -> dict[str, float]:
    """Every stage whose time does not depend on the model."""
    return {name: start + rate * megabytes for name, (start, rate) in FIXED.items()}


def eval_seconds(megabytes: float, heldout_tokens: float, questions: int, tokens_per_second: float,
                 baselines: bool) -> float:  # fmt: skip
    """Baselines, then two forward passes' worth of held-out tokens (half-overlapping windows) and the questions;
    a forward pass costs a third of a training step."""
    forward = (2 * heldout_tokens + questions * QUESTION_TOKENS) / (3 * tokens_per_second)
    compress = BASELINES[0] + BASELINES[1] * min(megabytes, XZ_WINDOW_MB) if baselines else 0.0
    return EVAL_STARTUP + compress + forward


def quantities(seconds: dict[str, float]) -> list[Quantity]:
    """One line per stage, in minutes, and the sum."""
    rows = [
        Quantity(f"minutes_{name}", value / 60, "min", _formula(name), "measured")
        for name, value in seconds.items()
    ]
    total = " + ".join(row.name for row in rows)
    return [*rows, Quantity("minutes_total", sum(row.value for row in rows), "min", total, "derived")]


def _formula(name: str) -> str:
    if name in FIXED:
        start, rate = FIXED[name]
        return f"({start} + {rate} * corpus_bytes / 1000000) / 60"
    if name == "pretrained":
        return f"({STARTUP} + tokens / tokens_per_second) / 60"
    if name == "model":
        return f"({STARTUP} + sft_tokens / sft_tokens_per_second) / 60"
    return "startup, baselines per MB, and forward passes over held-out text and questions"
