"""What an optimizer is: an update of one tensor, and a flat dict of tensors that it remembers.

Letters: none; a parameter keeps its own shape, and the tensors remembered for it are named after it.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ownlm.errors import ArtifactError

Named = list[tuple[str, nn.Parameter]]


class Optimizer:
    """Written as in its paper: a subclass says in `slots_of` what it remembers of a weight, in `update` what a step does.

    Torch's own interface (parameter groups, `state_dict`) is left out on purpose: the loop needs `step`, `state`, `load`.
    """

    def __init__(self, parameters: Named) -> None:
        self.parameters = parameters
        self.num_updates = 0
        self.slots = {name: self.slots_of(weight) for name, weight in parameters}

    def slots_of(self, weight: nn.Parameter) -> dict[str, Tensor]:
        """What is remembered of one weight at the start: a name and a tensor of any shape and dtype each."""
        raise NotImplementedError

    def update(
        self, weight: Tensor, gradient: Tensor, slots: dict[str, Tensor], learning_rate: float
    ) -> None:
        """Change `weight` and the tensors of `slots` in place; `self.num_updates` counts this step already."""
        raise NotImplementedError

    @torch.no_grad()
    def step(self, learning_rate: float) -> None:
        """One update of every weight that has a gradient."""
        self.num_updates += 1
        for name, weight in self.parameters:
            if weight.grad is not None:
                self.update(weight, weight.grad, self.slots[name], learning_rate)

    def state(self) -> dict[str, Tensor]:
        """slot.parameter -> the live tensor, not a copy: save before the next step."""
        flat = {
            f"{slot}.{name}": value for name, slots in self.slots.items() for slot, value in slots.items()
        }
        return flat | {"num_updates": torch.tensor(self.num_updates)}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Raises ArtifactError when a tensor is missing or has another shape."""
        copy_all(self.state(), state, ("num_updates",))
        self.num_updates = int(state["num_updates"])

    def state_bytes(self) -> int:
        """What is remembered, in bytes; weights and gradients are not counted."""
        return sum(value.nbytes for slots in self.slots.values() for value in slots.values())


def split(model: nn.Module) -> tuple[Named, Named]:
    """(matrices inside the blocks, everything else), both in the model's order.

    A matrix is what a Linear multiplies with: a table of two dimensions (Mamba's A, the taps of a convolution) has
    no singular values that mean anything.
    """
    named = list(model.named_parameters())
    matrices = {id(module.weight) for module in model.modules() if isinstance(module, nn.Linear)}
    hidden = [
        (name, weight)
        for name, weight in named
        # "blocks." of a decoder; "encoder.blocks.", "trunk.blocks." of what is made of several stacks
        if id(weight) in matrices and "blocks" in name.split(".")
    ]
    taken = {name for name, _ in hidden}
    return hidden, [(name, weight) for name, weight in named if name not in taken]


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
