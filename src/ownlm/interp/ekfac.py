"""EK-FAC influence: the curvature of each matrix as a product of two small ones, with corrected eigenvalues.

Grosse et al. 2023, "Studying Large Language Model Generalization with Influence Functions" (arXiv:2308.03296, sections
2.2 and 3.1), after George et al. 2018 (arXiv:1806.03884). For a layer y = W x with inputs x [I] and gradients of its
outputs d [O], the Gauss-Newton matrix of W is nearly E[d d'] (x) E[x x']. In the eigenbases of the two a gradient of W
has nearly uncorrelated entries; their mean squares are the eigenvalues, so that the inverse is a division per entry.
Its price does not grow with the number of queries, and no series has to converge.

The gradients are those of targets drawn from the model's own predictions (the true Fisher, not the empirical one), from
a seed. Covered: the weights of nn.Linear layers without bias; other weights are left out, as in the paper, which takes
the feed-forward layers. Deviation: inputs and output gradients of all positions count alike.

Letters: N examples, T positions, I inputs and O outputs of a layer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ownlm.errors import UsageError
from ownlm.interp.gradients import Examples, Trained, gradients, of_module, unflat
from ownlm.train.objectives.cross_entropy import IGNORE


@dataclass(frozen=True, slots=True)
class Factors:
    """Of one weight [O, I]: orthonormal columns, and the mean square of a gradient's entries in that basis."""

    outputs: Tensor  # [O, O]
    inputs: Tensor  # [I, I]
    eigenvalues: Tensor  # [O, I]


@dataclass(frozen=True, slots=True)
class Fitted:
    """A model and its curvature; reuse it for any number of queries on the same training examples."""

    trained: Trained
    factors: dict[str, Factors]


def fit(
    model: nn.Module, train: Examples, only: Callable[[str], bool] = lambda name: True, seed: int = 0
) -> Fitted:
    """`model` maps [B, T] to [B, T, V]. `only`: which nn.Linear layers, by name. Two passes over the examples.

    Raises UsageError when no layer is left.
    """
    layers = {
        f"{name}.weight": layer
        for name, layer in model.named_modules()
        if isinstance(layer, nn.Linear) and layer.bias is None and only(name)
    }
    if not layers:
        raise UsageError(
            "There is no layer to attribute to.", type(model).__name__, "nn.Linear without bias is covered"
        )
    covariance: dict[str, tuple[Tensor, Tensor]] = {}
    for name, x, d in _passes(model, layers, train, seed):
        inputs, outputs = covariance.get(name, (torch.zeros(()), torch.zeros(())))
        covariance[name] = (
            inputs + x.flatten(0, 1).T @ x.flatten(0, 1),
            outputs + d.flatten(0, 1).T @ d.flatten(0, 1),
        )
    bases = {name: tuple(torch.linalg.eigh(each)[1] for each in pair) for name, pair in covariance.items()}
    squares: dict[str, Tensor] = {}
    for name, x, d in _passes(model, layers, train, seed):
        inputs, outputs = bases[name]
        turned = torch.einsum(
            "nto,nti->noi", d @ outputs, x @ inputs
        )  # each example's gradient in the eigenbases
        squares[name] = squares.get(name, torch.zeros(())) + (turned**2).sum(0)
    factors = {n: Factors(bases[n][1], bases[n][0], squares[n] / len(train)) for n in layers}
    return Fitted(of_module(model, only=lambda name: name in layers), factors)


def influence(fitted: Fitted, train: Examples, query: Examples, damping: float = 0.1) -> Tensor:
    """[Q, N] nats, as in influence.py. `damping` is a share of each layer's mean eigenvalue (the paper takes 0.1)."""
    wanted = torch.cat(list(gradients(fitted.trained, query)))  # [Q,P]
    solved = []
    for row in wanted:
        parts = unflat(row, fitted.trained.weights)
        for name, part in parts.items():
            f = fitted.factors[name]
            turned = f.outputs.T @ part @ f.inputs  # [O,I]
            turned = turned / (f.eigenvalues + damping * f.eigenvalues.mean() + 1e-30)
            parts[name] = f.outputs @ turned @ f.inputs.T
        solved.append(torch.cat([part.flatten() for part in parts.values()]))
    against = torch.stack(solved)
    return torch.cat([against @ piece.T for piece in gradients(fitted.trained, train)], dim=1) / len(train)


def _passes(
    model: nn.Module, layers: dict[str, nn.Linear], train: Examples, seed: int
) -> Iterator[tuple[str, Tensor, Tensor]]:
    """(weight, inputs [n, T, I], output gradients [n, T, O]) of every layer, for one piece of the examples at a time."""
    random = torch.Generator().manual_seed(seed)
    seen: dict[str, tuple[Tensor, Tensor]] = {}

    def watch(name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        def hook(layer: nn.Module, given: tuple[Tensor, ...], result: Tensor) -> None:
            result.retain_grad()
            seen[name] = (given[0].detach(), result)

        return hook

    handles = [layer.register_forward_hook(watch(name)) for name, layer in layers.items()]
    before = {weight: weight.requires_grad for weight in model.parameters()}
    try:
        for weight in before:
            weight.requires_grad_(True)
        for piece in train.pieces():
            with torch.enable_grad():
                log_p = model(piece.inputs).float().log_softmax(-1)  # [n,T,V]
                drawn = torch.multinomial(log_p.detach().exp().flatten(0, 1), 1, generator=random)
                chosen = log_p.gather(-1, drawn.view(*piece.targets.shape, 1))[..., 0]
                outputs = [result for _, result in seen.values()]
                found = torch.autograd.grad(-(chosen * (piece.targets != IGNORE)).sum(), outputs)
            for (name, (x, _)), d in zip(seen.items(), found, strict=True):
                yield name, x, d
            seen.clear()
    finally:
        for handle in handles:
            handle.remove()
        for weight, needed in before.items():
            weight.requires_grad_(needed)
