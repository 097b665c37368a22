"""Several tokens ahead at once, of a `MultiToken` (model/multi_token.py; Gloeckle et al. 2024, arXiv:2404.19737).

    loss = -log p_1(t+1) - w (log p_2(t+2) + ... + log p_N(t+N))

One head after another goes forward and backward at once, its gradient by the trunk's output is added up, and only then
the trunk goes backward (section 2, figure 2): the activations of one head are held at a time, and nothing is computed
twice. Letters: B rows, T tokens, D model width, V vocabulary, N heads.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ownlm.errors import UsageError
from ownlm.model.multi_token import MultiToken
from ownlm.model.place import Place
from ownlm.train.batches import Batch
from ownlm.train.objectives.causal import output_weight
from ownlm.train.objectives.cross_entropy import IGNORE, cross_entropy


@dataclass(frozen=True, slots=True)
class MultiTokenPrediction:
    """The sum of the heads' losses. All are divided by the trained tokens of the first, of which the others have a few
    less (none is known past a row's end)."""

    weight: float = 1.0
    """w: of every head but the first."""

    def __call__(self, model: MultiToken, batch: Batch, divisor: int) -> Tensor:
        """Adds to `model.meter` what each head lost. Raises UsageError for documents to keep apart."""
        if "documents" in batch.extra:
            raise UsageError(
                "The further heads do not keep documents apart.", 'extra["documents"]', "use plain windows"
            )
        hidden = model.hidden(batch.inputs)  # [B,T,D]
        place = model.place(hidden.shape[1], hidden.device)
        shares = (1.0, *(self.weight,) * (model.num_heads - 1))
        work = _Work(model, batch.targets, place, divisor, shares)
        if not torch.is_grad_enabled():
            losses = [work.loss(number, hidden) for number in range(1, model.num_heads + 1)]
            total: Tensor = torch.stack(
                [loss * share for loss, share in zip(losses, shares, strict=True)]
            ).sum()
            return total
        output = output_weight(model.trunk)
        total, each = _AtOnce.apply(work, hidden, output, *model.heads.parameters())  # type: ignore[no-untyped-call]
        model.meter.add(each * divisor, work.counts())
        return total


@torch.no_grad()
def head_losses(model: MultiToken, batch: Batch) -> list[float]:
    """Nats per token of each head on a batch, N numbers: how much harder each further token is."""
    hidden = model.hidden(batch.inputs)
    work = _Work(model, batch.targets, model.place(hidden.shape[1], hidden.device), 1, ())
    sums = [float(work.loss(number, hidden)) for number in range(1, model.num_heads + 1)]
    return [loss / max(int(count), 1) for loss, count in zip(sums, work.counts(), strict=True)]


def targets_of(targets: Tensor, number: int) -> Tensor:
    """targets [B, T] of the next token -> of token t + number; ignored where the row ends before it."""
    moved = torch.full_like(targets, IGNORE)
    moved[:, : max(0, targets.shape[1] - number + 1)] = targets[:, number - 1 :]
    return moved


@dataclass(frozen=True, slots=True)
class _Work:
    """What the heads are asked on one batch."""

    model: MultiToken
    targets: Tensor  # [B, T]
    place: Place
    divisor: int
    shares: tuple[float, ...]  # of each head in the total

    def loss(self, number: int, hidden: Tensor) -> Tensor:
        """Of head `number`, given the trunk's output [B, T, D]."""
        found = self.model.head(number, hidden, self.place).flatten(0, 1)
        targets = targets_of(self.targets, number).flatten()
        return cross_entropy(found, output_weight(self.model.trunk), targets, self.divisor)

    def counts(self) -> Tensor:
        """Trained tokens of each head, int64 [N]."""
        heads = range(1, self.model.num_heads + 1)
        return torch.stack([(targets_of(self.targets, number) != IGNORE).sum() for number in heads])

    def own(self, number: int) -> tuple[Tensor, ...]:
        """The weights of one head alone, in the order of model.heads.parameters() within themselves."""
        if number == 1:
            return ()
        heads = self.model.heads
        return (*heads.blocks[number - 2].parameters(), *heads.norms[number - 2].parameters())


class _AtOnce(torch.autograd.Function):
    """(total, loss of each head [N]); the gradients are taken in the forward, head after head, and kept added up."""

    @staticmethod
    def forward(ctx: Any, work: _Work, hidden: Tensor, output: Tensor, *own: Tensor) -> tuple[Tensor, Tensor]:
        of_hidden, of_output = torch.zeros_like(hidden), torch.zeros_like(output)
        of_own: dict[int, Tensor] = {}
        losses = []
        for number, share in enumerate(work.shares, start=1):
            alone = hidden.detach().requires_grad_()
            with torch.enable_grad():
                loss = work.loss(number, alone)
                counted = loss * share
            weights = [weight for weight in (output, *work.own(number)) if weight.requires_grad]
            found = torch.autograd.grad(counted, (alone, *weights))
            of_hidden += found[0]
            for weight, gradient in zip(weights, found[1:], strict=True):
                if weight is output:
                    of_output += gradient
                else:
                    of_own[id(weight)] = gradient
            losses.append(loss.detach())
        each = torch.stack(losses)
        ctx.mark_non_differentiable(each)
        ctx.own = [of_own.get(id(weight)) for weight in own]
        ctx.save_for_backward(of_hidden, of_output)
        return (each * torch.tensor(work.shares, device=each.device)).sum(), each

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        of_hidden, of_output = ctx.saved_tensors
        own = (None if gradient is None else gradient * upstream[0] for gradient in ctx.own)
        return (None, of_hidden * upstream[0], of_output * upstream[0], *own)
