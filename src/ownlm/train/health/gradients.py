"""How long the gradient of each layer is over time, sampled: vanishing, exploding and dead layers become visible.

    folder/gradients.jsonl    {"step": 100, "norms": {"embedding": 0.12, "blocks.0": 0.03, ..., "norm": 0.01}}

The norm is taken before clipping. A layer is a block, or what stands outside the blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from torch import Tensor, nn

from ownlm.train.health.steplog import read

FILE = "gradients.jsonl"


def layer_of(name: str) -> str:
    """blocks.3.mixer.q.weight -> blocks.3; embedding.weight -> embedding."""
    parts = name.split(".")
    if "blocks" in parts:
        return ".".join(parts[: parts.index("blocks") + 2])
    return parts[0]


def layer_norms(model: nn.Module, norm: Callable[[Iterable[Tensor]], float]) -> dict[str, float]:
    """2-norm of each layer's gradient, in the model's order; `norm` is the layout's. Layers without gradient: 0."""
    layers: dict[str, list[Tensor]] = {}
    for name, weight in model.named_parameters():
        held = layers.setdefault(layer_of(name), [])
        if weight.grad is not None:
            held.append(weight.grad)
    return {layer: norm(held) if held else 0.0 for layer, held in layers.items()}


def report(folder: Path) -> str:
    """A table of the run's layers: first, median, largest, last norm, and what stands out. Empty without samples."""
    rows = read(folder / FILE)
    if not rows:
        return ""
    lines = [f"gradient norms of {len(rows)} steps from {rows[0]['step']} to {rows[-1]['step']}",
             f"{'layer':<24}{'first':>11}{'median':>11}{'largest':>11}{'last':>11}"]  # fmt: skip
    middles = {layer: sorted(row["norms"].get(layer, 0.0) for row in rows)[len(rows) // 2] for layer in rows[-1]["norms"]}  # fmt: skip
    blocks = sorted(value for layer, value in middles.items() if "blocks" in layer)
    usual = blocks[len(blocks) // 2] if blocks else 0.0
    for layer, middle in middles.items():
        values = [row["norms"].get(layer, 0.0) for row in rows]
        columns = "".join(f"{value:>11.3g}" for value in (values[0], middle, max(values), values[-1]))
        lines.append(f"{layer:<24}{columns}{_remark(layer, values, middle, usual)}")
    return "\n".join(lines)


def _remark(layer: str, values: list[float], middle: float, usual: float) -> str:
    if max(values) == 0.0:
        return "  no gradient at all"
    if "blocks" in layer and middle < usual / 100:
        return "  vanishing: below a hundredth of the median block"
    if max(values) > 20 * middle:
        return "  spikes: above 20 times its median"
    return ""
