"""AdamW and Muon, each the published update on one page. State goes in and out as a flat dict of tensors.

Muon takes the matrices inside the blocks, AdamW all else (embeddings, output layer, norms). Not covered: sharded
parameters, sparse gradients, parameter groups beyond these two.

Letters: G equally shaped matrices, R rows, C columns.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from ownlm.errors import ArtifactError

Named = list[tuple[str, nn.Parameter]]

# Coefficients of the quintic, Jordan et al. 2024 (https://kellerjordan.github.io/posts/muon/): steepest at zero,
# so small singular values grow fast; the result's lie in about [0.7, 1.2], not at 1.
_A, _B, _C = 3.4445, -4.7750, 2.0315
_ITERATIONS = 5


def split(model: nn.Module) -> tuple[Named, Named]:
    """(matrices inside the blocks, everything else), both in the model's order.

    A matrix is what a Linear multiplies with: a table of two dimensions (Mamba's A, the taps of a convolution) has
    no singular values that mean anything.
    """
    named = list(model.named_parameters())
    matrices = {id(module.weight) for module in model.modules() if isinstance(module, nn.Linear)}
    hidden = [
        (name, weight) for name, weight in named if id(weight) in matrices and name.startswith("blocks.")
    ]
    taken = {name for name, _ in hidden}
    return hidden, [(name, weight) for name, weight in named if name not in taken]


class AdamW:
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019, arXiv:1711.05101, algorithm 2)."""

    def __init__(
        self,
        parameters: Named,
        betas: tuple[float, float] = (0.9, 0.95),
        eps: float = 1e-10,
        weight_decay: float = 0.0,
    ) -> None:
        self.parameters, self.betas, self.eps, self.weight_decay = parameters, betas, eps, weight_decay
        self.num_updates = 0
        self.mean = {name: torch.zeros_like(weight) for name, weight in parameters}
        self.square = {name: torch.zeros_like(weight) for name, weight in parameters}

    @torch.no_grad()
    def step(self, learning_rate: float) -> None:
        self.num_updates += 1
        beta1, beta2 = self.betas
        correction1 = 1 - beta1**self.num_updates
        correction2 = 1 - beta2**self.num_updates
        for name, weight in self.parameters:
            if weight.grad is None:
                continue
            mean, square = self.mean[name], self.square[name]
            weight.mul_(1 - learning_rate * self.weight_decay)
            mean.lerp_(weight.grad, 1 - beta1)
            square.mul_(beta2).addcmul_(weight.grad, weight.grad, value=1 - beta2)
            denominator = square.sqrt().div_(correction2**0.5).add_(self.eps)
            weight.addcdiv_(mean, denominator, value=-learning_rate / correction1)

    def state(self) -> dict[str, Tensor]:
        """The live tensors, not copies: save before the next step."""
        flat = {f"adamw.mean.{name}": value for name, value in self.mean.items()}
        flat |= {f"adamw.square.{name}": value for name, value in self.square.items()}
        return flat | {"adamw.num_updates": torch.tensor(self.num_updates)}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Raises ArtifactError when a tensor is missing or has another shape."""
        copy_all(self.state(), state, ("adamw.num_updates",))
        self.num_updates = int(state["adamw.num_updates"])


class Muon:
    """Nesterov momentum, orthogonalised (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/).

    The update of an R x C matrix has every singular value near 1 and is scaled by sqrt(max(1, R/C)), so that one
    rate serves all shapes. Equal shapes are orthogonalised in one batched product.
    """

    def __init__(self, parameters: Named, momentum: float = 0.95, weight_decay: float = 0.0,
                 dtype: torch.dtype = torch.float32) -> None:  # fmt: skip
        self.parameters, self.momentum, self.weight_decay, self.dtype = (
            parameters,
            momentum,
            weight_decay,
            dtype,
        )
        self.buffer = {name: torch.zeros_like(weight) for name, weight in parameters}
        groups: dict[tuple[int, ...], Named] = {}
        for name, weight in parameters:
            groups.setdefault(tuple(weight.shape), []).append((name, weight))
        self._groups = list(groups.values())

    @torch.no_grad()
    def step(self, learning_rate: float) -> None:
        for group in self._groups:
            update = torch.stack([self._direction(name, weight) for name, weight in group])  # [G,R,C]
            update = orthogonalise(update.to(self.dtype))
            scale = max(1.0, update.shape[-2] / update.shape[-1]) ** 0.5
            for (_, weight), direction in zip(group, update, strict=True):
                weight.mul_(1 - learning_rate * self.weight_decay)
                weight.add_(direction, alpha=-learning_rate * scale)

    def _direction(self, name: str, weight: nn.Parameter) -> Tensor:
        gradient = weight.grad if weight.grad is not None else torch.zeros_like(weight)
        self.buffer[name].lerp_(gradient, 1 - self.momentum)
        return gradient.lerp(self.buffer[name], self.momentum)  # Nesterov: look one momentum step ahead

    def state(self) -> dict[str, Tensor]:
        """The live tensors, not copies: save before the next step."""
        return {f"muon.momentum.{name}": value for name, value in self.buffer.items()}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Raises ArtifactError when a tensor is missing or has another shape."""
        copy_all(self.state(), state)


def orthogonalise(matrices: Tensor) -> Tensor:
    """[G, R, C] -> the nearest matrices with singular values near 1 (0.6 to 1.25), by Newton-Schulz iteration.

    X <- A X + (B G + C G G) X with G = X X^T, five times, from X scaled to Frobenius norm 1.
    """
    tall = matrices.shape[-2] > matrices.shape[-1]
    x = matrices.mT if tall else matrices  # G is the smaller of the two squares
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(_ITERATIONS):
        square = x @ x.mT
        polynomial = torch.baddbmm(square, square, square, beta=_B, alpha=_C)
        x = torch.baddbmm(x, polynomial, x, beta=_A)
    return x.mT if tall else x


def clip_gradients(parameters: Iterable[nn.Parameter], largest: float) -> float:
    """Scale all gradients so that their global norm is at most `largest`; returns the norm before."""
    gradients = [weight.grad for weight in parameters if weight.grad is not None]
    norm = torch.stack([gradient.norm() for gradient in gradients]).norm()
    factor = largest / max(float(norm), largest)
    if factor < 1:
        for gradient in gradients:
            gradient.mul_(factor)
    return float(norm)


def copy_all(live: Mapping[str, Tensor], saved: Mapping[str, Tensor], skip: tuple[str, ...] = ()) -> None:
    """Copy saved tensors into live ones of the same names; every name on both sides must be there.

    Raises ArtifactError naming the first that is missing, unknown, or of another shape.
    """
    for name in sorted(live.keys() | saved.keys()):
        if name not in saved or name not in live:
            where = "the checkpoint lacks it" if name not in saved else "this run has no use for it"
            raise ArtifactError("The checkpoint belongs to another run.", f"{name}: {where}", _FIX)
        if live[name].shape != saved[name].shape or live[name].dtype != saved[name].dtype:
            values = f"{name}: {tuple(saved[name].shape)} saved, {tuple(live[name].shape)} in this run"
            raise ArtifactError("The checkpoint belongs to another run.", values, _FIX)
        if name not in skip:
            with torch.no_grad():
                live[name].copy_(saved[name])


_FIX = "use the settings it was made with, or remove the checkpoints folder to start afresh"
