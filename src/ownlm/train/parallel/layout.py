"""What the loop needs to know of several processes: one face, and the process that is alone.

Every process runs the same loop on the same `batch_at`; a layout says which rows are this process's, and adds up what
the processes computed. The loop asks nothing else, so a model, an objective and an optimizer know of none of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor, nn

from ownlm.train import checkpoint
from ownlm.train.batches import Batch
from ownlm.train.checkpoint import Checkpoint
from ownlm.train.optimizers.clip import global_norm
from ownlm.train.optimizers.optimizer import Named


class Layout(Protocol):
    rank: int
    """0 writes the run's files."""
    num_processes: int

    @property
    def pipeline(self) -> Callable[[nn.Module, Batch, int, Any, Any], float] | None:
        """(model, batch, its trained tokens, Setup, TrainConfig) -> loss, in the place of the loop's forward and
        backward, gradients complete; None where a process has the whole depth of the model."""
        ...

    def share(self, batch: Batch) -> Batch:
        """This process's part of a step's batch."""
        ...

    def after_backward(self, model: nn.Module) -> None:
        """Complete the gradients: afterwards every process holds (its shard of) the gradient of the whole batch."""
        ...

    def total(self, value: float) -> float:
        """The sum of the shares' values; the same on every process."""
        ...

    def norm(self, gradients: Iterable[Tensor]) -> float:
        """Global 2-norm of the whole model's gradient; the same on every process."""
        ...

    def mine(self, named: Named, elementwise: bool) -> Named:
        """Of these weights what this process's optimizer updates: all, some, or stand-ins for shards. Every process
        asks once per optimizer, in the same order, when the run is set up. elementwise: see Optimizer."""
        ...

    def before_update(self) -> None:
        """Gradients are complete and clipped; hand them to the stand-ins of `mine`."""
        ...

    def after_update(self) -> None:
        """Complete the weights: afterwards every process holds (its shard of) every updated weight."""
        ...

    def write(self, folder: Path, made: Checkpoint, keep: int, keep_every: int | None) -> None:
        """Save a checkpoint that is whole only when every process's part is."""
        ...

    def newest(self, folder: Path, notice: Callable[[str], None]) -> Checkpoint | None:
        """What this process needs of the newest whole checkpoint."""
        ...


class Alone:
    """One process: nothing to share, nothing to add up."""

    rank, num_processes = 0, 1
    pipeline = None

    def share(self, batch: Batch) -> Batch:
        return batch

    def after_backward(self, model: nn.Module) -> None:
        return None

    def total(self, value: float) -> float:
        return value

    def norm(self, gradients: Iterable[Tensor]) -> float:
        return global_norm(gradients)

    def mine(self, named: Named, elementwise: bool) -> Named:
        return named

    def before_update(self) -> None:
        return None

    def after_update(self) -> None:
        return None

    def write(self, folder: Path, made: Checkpoint, keep: int, keep_every: int | None) -> None:
        checkpoint.write(folder, made, keep, keep_every)

    def newest(self, folder: Path, notice: Callable[[str], None]) -> Checkpoint | None:
        return checkpoint.newest(folder, notice)
