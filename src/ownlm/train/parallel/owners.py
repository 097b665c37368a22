"""Which process remembers the optimizer's state of which weight: whole weights, shared out by size."""

from __future__ import annotations

from ownlm.train.optimizers.optimizer import Named


class Owners:
    """Largest weight first, each to the process that owns least (Graham 1969: at most 4/3 of the best possible).

    The same weights in the same order give the same owners, on every process and after a resume.
    """

    def __init__(self, num_processes: int) -> None:
        self.of: dict[str, int] = {}
        """Name of a weight to its owner's place."""
        self.load = [0] * num_processes
        """Entries that each owns."""

    def assign(self, named: Named) -> None:
        """Give each of these weights an owner."""
        for name, weight in sorted(named, key=lambda pair: (-pair[1].numel(), pair[0])):
            owner = self.load.index(min(self.load))
            self.of[name] = owner
            self.load[owner] += weight.numel()
