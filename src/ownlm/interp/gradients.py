"""Per-example losses, margins and gradients of a trained classifier of positions, and products with its curvature.

A language model is such a classifier (one class per token), and so is logistic regression (one position). All that
attribution needs of it are its weights and a function from weights and one example to logits.

Letters: N examples, T positions of an example, V classes (vocabulary), P weights in all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, grad, jvp, vjp, vmap

from ownlm.errors import UsageError
from ownlm.train.objectives.cross_entropy import IGNORE

Weights = Mapping[str, Tensor]
Logits = Callable[[Weights, Tensor], Tensor]
"""(weights, inputs of one example) -> [T, V]. Must be a pure function that torch.func can map and differentiate."""
Curvature = Literal["hessian", "gauss-newton"]

PIECE = 64  # examples at once ...
MOST_BYTES = 256 << 20  # ... or fewer, where their gradients would take more


@dataclass(frozen=True, slots=True)
class Examples:
    inputs: Tensor  # [N, ...]: ids [N, T] of a language model, features [N, F] of a logistic regression
    targets: Tensor  # [N, T] int64; IGNORE is not trained on

    def __len__(self) -> int:
        return len(self.targets)

    def pieces(self, size: int | None = None) -> Iterator[Examples]:
        size = size or PIECE
        for start in range(0, len(self), size):
            yield Examples(self.inputs[start : start + size], self.targets[start : start + size])

    def chosen(self, which: Tensor) -> Examples:
        """The examples of these numbers, or where this mask is true."""
        return Examples(self.inputs[which], self.targets[which])


@dataclass(frozen=True, slots=True)
class Trained:
    """A model as attribution sees it. `weights` are leaves without gradient; those left out are not attributed to."""

    weights: Weights
    logits: Logits

    def num_weights(self) -> int:
        return sum(weight.numel() for weight in self.weights.values())


def of_module(model: nn.Module, only: Callable[[str], bool] = lambda name: True) -> Trained:
    """A model [B, T] -> [B, T, V] (a Decoder). `only`: which weights by name; default all.

    The weights are copied: training the model on does not change what was taken. Raises UsageError for none.
    """
    weights = {n: w.detach().clone() for n, w in model.named_parameters() if only(n)}
    if not weights:
        raise UsageError("No weight of the model was chosen.", type(model).__name__, "choose other names")

    fixed = {n: w.detach().clone() for n, w in model.named_parameters() if n not in weights}

    def logits(given: Weights, inputs: Tensor) -> Tensor:
        return functional_call(model, {**fixed, **given}, (inputs[None],))[0]  # type: ignore[no-any-return]

    return Trained(weights, logits)


def loss_of(logits: Tensor, targets: Tensor) -> Tensor:
    """Sum of -log p(target) over the trained positions, nats. logits [T, V], targets [T]."""
    return F.cross_entropy(logits.float(), targets, ignore_index=IGNORE, reduction="sum")


def margin_of(logits: Tensor, targets: Tensor) -> Tensor:
    """Sum over the trained positions of log(p / (1 - p)), p the target's probability (TRAK, Park et al. 2023, eq. 11)."""
    trained = targets != IGNORE
    wanted = targets.clamp(min=0)[:, None]  # [T,1]
    chosen = logits.gather(1, wanted)[:, 0]  # [T]
    others = logits.scatter(1, wanted, -torch.inf).logsumexp(1)  # [T]: of every other class
    return ((chosen - others) * trained).sum()


def losses(trained: Trained, examples: Examples) -> Tensor:
    """[N] nats, summed over an example's positions."""
    one = vmap(lambda x, y: loss_of(trained.logits(trained.weights, x), y))
    with torch.no_grad():
        return torch.cat([one(piece.inputs, piece.targets) for piece in examples.pieces()])


def probabilities(trained: Trained, examples: Examples) -> Tensor:
    """[N]: the targets' probability, mean over an example's trained positions."""

    def one(x: Tensor, y: Tensor) -> Tensor:
        p = trained.logits(trained.weights, x).softmax(1).gather(1, y.clamp(min=0)[:, None])[:, 0]  # [T]
        return (p * (y != IGNORE)).sum() / (y != IGNORE).sum().clamp(min=1)

    with torch.no_grad():
        return torch.cat([vmap(one)(piece.inputs, piece.targets) for piece in examples.pieces()])


def gradients(
    trained: Trained, examples: Examples, of: Callable[[Tensor, Tensor], Tensor] = loss_of
) -> Iterator[Tensor]:
    """Gradients [n, P] of at most PIECE examples at a time, float32, in order; `of` is loss_of or margin_of."""

    def value(weights: Weights, x: Tensor, y: Tensor) -> Tensor:
        return of(trained.logits(weights, x), y)

    each = vmap(grad(value), in_dims=(None, 0, 0))
    for part in examples.pieces(max(1, min(PIECE, MOST_BYTES // (4 * trained.num_weights())))):
        found = each(dict(trained.weights), part.inputs, part.targets)
        yield torch.cat([g.flatten(1).float() for g in found.values()], dim=1)


def flat(weights: Weights) -> Tensor:
    """[P]"""
    return torch.cat([weight.flatten() for weight in weights.values()])


def unflat(vector: Tensor, like: Weights) -> dict[str, Tensor]:
    parts = torch.split(vector, [weight.numel() for weight in like.values()])
    return {n: p.view_as(w) for (n, w), p in zip(like.items(), parts, strict=True)}


def curvature_product(trained: Trained, examples: Examples, vector: Tensor, kind: Curvature) -> Tensor:
    """C v [P] for v [P]; C is that of the mean over examples of their loss, without damping.

    hessian: exact, may have negative eigenvalues. gauss-newton: J' H J with H the curvature of the loss in the
    logits, never negative; what Grosse et al. 2023 (arXiv:2308.03296, section 2.1) put in the Hessian's place.
    """
    direction = unflat(vector, trained.weights)
    total = torch.zeros_like(vector)
    product = _hessian if kind == "hessian" else _gauss_newton
    for piece in examples.pieces():
        total += flat(product(trained, piece, direction))
    return total / len(examples)


def _hessian(trained: Trained, piece: Examples, direction: dict[str, Tensor]) -> Weights:
    def total(weights: Weights) -> Tensor:
        one = vmap(lambda x, y: loss_of(trained.logits(weights, x), y))
        return one(piece.inputs, piece.targets).sum()

    product: Weights = jvp(grad(total), (dict(trained.weights),), (direction,))[1]
    return product


def _gauss_newton(trained: Trained, piece: Examples, direction: dict[str, Tensor]) -> Weights:
    def outputs(weights: Weights) -> Tensor:
        found: Tensor = vmap(lambda x: trained.logits(weights, x))(piece.inputs)
        return found

    weights = dict(trained.weights)
    both: Any = jvp(outputs, (weights,), (direction,))
    logits, moved = both  # [N,T,V] each
    p = logits.softmax(-1)
    curved = p * (moved - (p * moved).sum(-1, keepdim=True)) * (piece.targets != IGNORE)[..., None]
    pull: Any = vjp(outputs, weights)[1]
    product: Weights = pull(curved)[0]
    return product
