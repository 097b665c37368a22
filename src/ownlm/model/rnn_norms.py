"""How large the state is and how much gradient reaches it, step by step: why recurrent networks forget.

The gradient of the loss with respect to h[t] passes through every later step, each of which multiplies it by a
Jacobian; where these shrink it, what happened at t cannot be learned from (Bengio et al. 1994, Pascanu et al. 2013,
arXiv:1211.5063). `rows` is what a run log takes, `draw` the picture.

Letters: B batch, T time, L layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from ownlm.errors import UsageError
from ownlm.model.hooks import Hook, hooked
from ownlm.model.rnn_lm import RecurrentLM
from ownlm.runtime.adapters.matplotlib import figure


@dataclass(frozen=True, slots=True)
class TimeNorms:
    """Of one batch; each a list of L lists of T numbers."""

    loss: float
    """Cross-entropy in nats per predicted token."""
    hidden: list[list[float]]
    """|h[t]|, the mean over the batch."""
    gradient: list[list[float]]
    """|d loss / d h[t]| through all later steps, over the whole batch. An LSTM's cell state c is another path beside."""

    def rows(self, step: int) -> list[dict[str, int | float]]:
        """One row per layer and time step, for a JSON-lines log; step: of the training."""
        return [
            {"step": step, "layer": n, "time": t, "hidden_norm": h, "gradient_norm": g}
            for n, (hidden, gradient) in enumerate(zip(self.hidden, self.gradient, strict=True))
            for t, (h, g) in enumerate(zip(hidden, gradient, strict=True))
        ]


def norms_over_time(model: RecurrentLM, ids: Tensor, *, last_only: bool = False) -> TimeNorms:
    """ids [B, T + 1] int64: T inputs and their successors. The model's weights and their .grad stay as they were.

    last_only: the loss is that of the last token alone, which shows how far back it reaches; else of all.
    """
    if ids.ndim != 2 or ids.shape[1] < 2:
        raise UsageError(
            "Norms over time need at least two tokens.", f"ids {list(ids.shape)}", "give [B, T + 1]"
        )
    num_layers = model.config.num_layers
    states: list[list[Tensor]] = [[] for _ in range(num_layers)]

    def keeper(layer: int) -> Hook:
        return lambda h: states[layer].append(h)

    with (
        torch.enable_grad(),
        hooked(model, {f"stack.layers.{n}.state": keeper(n) for n in range(num_layers)}),
    ):
        logits, targets = model(ids[:, :-1]), ids[:, 1:]
        if last_only:
            logits, targets = logits[:, -1:], targets[:, -1:]
        loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten())
        flat = [h for layer in states for h in layer]
        gradients = torch.autograd.grad(loss, flat, allow_unused=True)
    T = ids.shape[1] - 1
    sizes = [0.0 if g is None else float(g.norm()) for g in gradients]
    return TimeNorms(
        float(loss.detach()),
        [[float(h.detach().norm(dim=-1).mean()) for h in layer] for layer in states],
        [sizes[n * T : (n + 1) * T] for n in range(num_layers)],
    )


def draw(norms: Sequence[tuple[str, TimeNorms]], path: Path | str) -> None:
    """Write a picture (.png, .svg, .pdf): both norms over time, one line per (label, measurement) and layer.

    Raises MissingDependency without matplotlib.
    """
    with figure(path, (9, 3.6), columns=2) as (left, right):
        for label, measured in norms:
            for n, (hidden, gradient) in enumerate(zip(measured.hidden, measured.gradient, strict=True)):
                left.plot(hidden, label=f"{label}, layer {n}")
                # A zero has no place on a logarithmic axis: a gap shows it.
                right.plot([g if g > 0 else float("nan") for g in gradient], label=f"{label}, layer {n}")
        left.set(xlabel="time step", ylabel="|h[t]|", title="state")
        right.set(xlabel="time step", ylabel="|d loss / d h[t]|", title="gradient", yscale="log")
        left.legend(fontsize="small")
