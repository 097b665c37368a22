"""Recurrent networks: the cells written out, layers of them in one or both directions, and their stack.

    Elman  h = tanh(W x + U h)                                                      (Elman 1990)
    LSTM   c = f c + i g,  h = o tanh(c);   i, f, o = sigmoid(...), g = tanh(...)   (Hochreiter & Schmidhuber 1997)
    GRU    h = (1 - z) n + z h,  n = tanh(W x + r (U h + b))                        (Cho et al. 2014, arXiv:1406.1078)

Gates stand in torch's order (LSTM i f g o, GRU r z n) with torch's two biases, so that weights can be carried over;
in the GRU the reset gate works on U h + b, as there (Cho's own form multiplies h before U).

Letters: B batch, T time, I input width, S state width, G gates.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ownlm.errors import UsageError
from ownlm.model.hooks import Tapped

State = tuple[Tensor, ...]
"""(h,), or (h, c) of an LSTM; each [B, S]."""


class ElmanCell(nn.Module):
    GATES, STATES = 1, 1

    def __init__(self, inputs: int, size: int, activation: str = "tanh") -> None:
        super().__init__()
        if activation not in ("tanh", "relu"):
            raise UsageError("An Elman cell has no such activation.", repr(activation), "use tanh or relu")
        self.input = nn.Linear(inputs, size)
        self.hidden = nn.Linear(size, size)
        self.activation = torch.tanh if activation == "tanh" else F.relu

    def forward(self, projected: Tensor, state: State) -> State:
        """projected: self.input(x) [B, S]; the state before -> the state after."""
        return (self.activation(projected + self.hidden(state[0])),)


class LSTMCell(nn.Module):
    GATES, STATES = 4, 2

    def __init__(self, inputs: int, size: int) -> None:
        super().__init__()
        self.input = nn.Linear(inputs, 4 * size)
        self.hidden = nn.Linear(size, 4 * size)

    def forward(self, projected: Tensor, state: State) -> State:
        """projected: self.input(x) [B, 4S]; (h, c) before -> (h, c) after."""
        h, c = state
        i, f, g, o = (projected + self.hidden(h)).chunk(4, dim=-1)  # each [B,S]
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(c), c


class GRUCell(nn.Module):
    GATES, STATES = 3, 1

    def __init__(self, inputs: int, size: int) -> None:
        super().__init__()
        self.input = nn.Linear(inputs, 3 * size)
        self.hidden = nn.Linear(size, 3 * size)

    def forward(self, projected: Tensor, state: State) -> State:
        """projected: self.input(x) [B, 3S]; the state before -> the state after."""
        (h,) = state
        xr, xz, xn = projected.chunk(3, dim=-1)
        hr, hz, hn = self.hidden(h).chunk(3, dim=-1)
        r, z = torch.sigmoid(xr + hr), torch.sigmoid(xz + hz)  # [B,S]
        n = torch.tanh(xn + r * hn)
        return ((1 - z) * n + z * h,)


CELLS: dict[str, type[ElmanCell] | type[LSTMCell] | type[GRUCell]] = {"elman": ElmanCell, "lstm": LSTMCell, "gru": GRUCell}  # fmt: skip


def cell_class(name: str) -> type[ElmanCell] | type[LSTMCell] | type[GRUCell]:
    if name not in CELLS:
        raise UsageError("This recurrent cell is not known.", repr(name), f"use one of {', '.join(CELLS)}")
    return CELLS[name]


class RecurrentLayer(Tapped):
    """One cell walking over the text, forward or backward."""

    POINTS: ClassVar = {"state": "B S"}
    """h after each step: a hook is called T times."""

    def __init__(self, cell: str, inputs: int, size: int, backward: bool = False) -> None:
        super().__init__()
        self.size, self.backward = size, backward
        self.cell = cell_class(cell)(inputs, size)

    def forward(
        self, x: Tensor, state: State | None = None, mask: Tensor | None = None
    ) -> tuple[Tensor, State]:
        """x [B, T, I], the state before or None for zero, mask bool [B, T] or None -> (h of every step [B, T, S], the last).

        Where mask is False there is no token: the state passes unchanged, the output is zero.
        """
        B, T, _ = x.shape
        if state is None:
            state = tuple(x.new_zeros(B, self.size) for _ in range(self.cell.STATES))
        projected = self.cell.input(x)  # all steps in one product: only the state's must wait for each other
        outputs: list[Tensor] = []
        for t in reversed(range(T)) if self.backward else range(T):
            after = self.cell(projected[:, t], state)
            after = (self.tap("state", after[0]), *after[1:])
            if mask is not None:
                here = mask[:, t, None]
                after = tuple(torch.where(here, new, old) for new, old in zip(after, state, strict=True))
            outputs.append(after[0] if mask is None else after[0] * here)
            state = after
        if self.backward:
            outputs.reverse()
        return torch.stack(outputs, dim=1), state


class Recurrent(nn.Module):
    """Layers on top of each other; with both directions a layer gives [forward, backward] to the next."""

    def __init__(
        self, cell: str, inputs: int, size: int, num_layers: int = 1, bidirectional: bool = False
    ) -> None:
        super().__init__()
        if min(inputs, size, num_layers) < 1:
            raise UsageError("A recurrent network needs positive sizes.", f"inputs = {inputs}, size = {size}, num_layers = {num_layers}", "correct them")  # fmt: skip
        directions = 2 if bidirectional else 1
        self.directions, self.num_layers, self.size = directions, num_layers, size
        self.layers = nn.ModuleList(
            RecurrentLayer(cell, inputs if n == 0 else directions * size, size, backward=bool(d))
            for n in range(num_layers)
            for d in range(directions)
        )

    def forward(
        self, x: Tensor, states: Sequence[State] | None = None, mask: Tensor | None = None
    ) -> tuple[Tensor, list[State]]:
        """x [B, T, I] -> (y [B, T, S] or [B, T, 2S], the last state of each layer and direction, in torch's order)."""
        if x.ndim != 3 or x.shape[1] < 1:
            raise UsageError(
                "A recurrent network needs at least one token.", f"input {list(x.shape)}", "give [B, T, I]"
            )
        if states is not None and len(states) != len(self.layers):
            raise UsageError("The states are not those of this network.", f"{len(states)} for {len(self.layers)} layers", "pass what it returned")  # fmt: skip
        after: list[State] = []
        for n in range(self.num_layers):
            outputs = []
            for layer in self.layers[n * self.directions : (n + 1) * self.directions]:
                y, state = layer(x, None if states is None else states[len(after)], mask)
                after.append(state)
                outputs.append(y)
            x = outputs[0] if len(outputs) == 1 else torch.cat(outputs, dim=-1)
        return x, after


def count_parameters(
    cell: str, inputs: int, size: int, num_layers: int = 1, bidirectional: bool = False
) -> int:
    """Of a `Recurrent`: G S (I + S + 2) per layer and direction."""
    gates, directions = cell_class(cell).GATES, 2 if bidirectional else 1
    widths = [inputs] + [directions * size] * (num_layers - 1)
    return sum(directions * gates * size * (width + size + 2) for width in widths)


@torch.no_grad()
def initialize(network: nn.Module, generator: torch.Generator) -> None:
    """Every cell: inputs uniform in +-1/sqrt(I), recurrent matrices orthogonal gate by gate (they neither shrink
    nor grow the state, Saxe et al. 2013, arXiv:1312.6120), biases zero but the LSTM's forget gate at 1 (Gers 2000)."""
    for cell in network.modules():
        if not isinstance(cell, ElmanCell | LSTMCell | GRUCell):
            continue
        size = cell.hidden.in_features
        cell.input.weight.uniform_(
            -(cell.input.in_features**-0.5), cell.input.in_features**-0.5, generator=generator
        )
        for gate in range(cell.GATES):
            square = torch.randn(size, size, generator=generator)
            cell.hidden.weight[gate * size : (gate + 1) * size] = torch.linalg.qr(square)[0]
        cell.input.bias.zero_()
        cell.hidden.bias.zero_()
        if isinstance(cell, LSTMCell):
            cell.input.bias[size : 2 * size] = 1.0
