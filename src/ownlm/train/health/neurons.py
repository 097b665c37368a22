"""Units and heads that do nothing: found by running a few batches and measuring what each writes.

    unit j of a feed-forward layer     max |h_j| x |column j of down|      h: what `down` multiplies
    head h of an attention layer       max |mixed_h O_h|                   O_h: its columns of the output matrix

Below a thousandth of its layer's median a unit or head is dead: it could be cut out. Dead ReLU units are the classic
case; with SwiGLU, units whose gate or up row, or down column, went to zero. Besides, a head can be alive and useless:

    uniform    entropy of its pattern above 99.9 % of log(tokens it may see): it averages, whatever the tokens are
    sink       more than 95 % of its attention on the first token: it looks at nothing (Xiao et al. 2023,
               arXiv:2309.17453); often harmless, and told apart from dead

Every head of a model that was not trained yet is nearly uniform.
Letters: B batch, T time, H heads, L keys, C head width, D model width, F feed-forward width.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from ownlm.errors import UsageError
from ownlm.model.hooks import Hook, hooked, points

DEAD = 1e-3
UNIFORM = 0.999
SINK = 0.95


@dataclass(frozen=True, slots=True)
class Report:
    dead_units: dict[str, list[int]]
    """Path of a feed-forward layer -> numbers of its units."""
    num_units: dict[str, int]
    dead_heads: dict[str, list[int]]
    uniform_heads: dict[str, list[int]]
    sink_heads: dict[str, list[int]]
    num_heads: dict[str, int]

    def __str__(self) -> str:
        """One line per layer that has something to tell; the rest is counted."""
        units, heads = sum(self.num_units.values()), sum(self.num_heads.values())
        lines = [f"{units:,} feed-forward units: {sum(map(len, self.dead_units.values())):,} dead; {heads:,} heads: "
                 + ", ".join(f"{sum(map(len, found.values())):,} {name}" for name, found in self._heads())]  # fmt: skip
        for path, found in self.dead_units.items():
            lines += [f"  {path}: {len(found)} of {self.num_units[path]} units dead, the first {found[:8]}"] if found else []  # fmt: skip
        for name, heads_by_path in self._heads():
            lines += [f"  {path}: {name} heads {found}" for path, found in heads_by_path.items() if found]
        return "\n".join(lines)

    def _heads(self) -> tuple[tuple[str, dict[str, list[int]]], ...]:
        return ("dead", self.dead_heads), ("uniform", self.uniform_heads), ("sink", self.sink_heads)


@dataclass(slots=True)
class _Seen:
    most: dict[str, Tensor] = field(default_factory=dict)  # path -> [F] or [H]: largest seen
    entropy: dict[str, list[Tensor]] = field(default_factory=dict)  # path -> of each batch [H]
    first: dict[str, list[Tensor]] = field(default_factory=dict)

    def larger(self, path: str, values: Tensor) -> None:
        self.most[path] = torch.maximum(self.most[path], values) if path in self.most else values


@torch.no_grad()
def examine(model: nn.Module, batches: Iterable[Tensor]) -> Report:
    """batches of ids [B, T]. Feed-forward layers are those with a Linear named `down`, also of experts; heads are those
    of layers with the points `pattern` and `mixed` and an output matrix `o`.

    Raises UsageError for a model with neither, or without a batch.
    """
    known, seen = points(model), _Seen()
    modules: dict[str, Any] = dict(model.named_modules())
    layers = [
        path for path, module in modules.items() if isinstance(getattr(module, "down", None), nn.Linear)
    ]
    mixers = [path for path, module in modules.items() if isinstance(getattr(module, "o", None), nn.Linear)
              and f"{path}.pattern" in known and f"{path}.mixed" in known]  # fmt: skip
    if not layers and not mixers:
        raise UsageError("There are no units or heads to look at.", type(model).__name__, "take a model with feed-forward layers or attention")  # fmt: skip
    hooks: dict[str, Hook] = {}
    for path in mixers:
        hooks[f"{path}.pattern"] = _pattern_hook(path, seen)
        hooks[f"{path}.mixed"] = _mixed_hook(path, modules[path].o, seen)
    was_training = model.training
    model.eval()
    with ExitStack() as stack:
        stack.callback(model.train, was_training)
        stack.enter_context(hooked(model, hooks))
        for path in layers:
            stack.callback(modules[path].down.register_forward_pre_hook(_unit_hook(path, seen)).remove)
        count = sum(1 for ids in batches if model(ids) is not None)
    if not count:
        raise UsageError("There is no text to run the model on.", "0 batches", "give at least one batch")
    return _judge(seen, modules, layers, mixers)


def _judge(seen: _Seen, modules: dict[str, Any], layers: list[str], mixers: list[str]) -> Report:
    units: dict[str, list[int]] = {}
    num_units = {path: modules[path].down.in_features for path in layers}
    for path in layers:
        # An expert that no token came to is dead as a whole.
        most = seen.most.get(path, torch.zeros(num_units[path]))
        units[path] = _dead(most.cpu() * modules[path].down.weight.norm(dim=0).cpu())
    heads = {path: _dead(seen.most[path]) for path in mixers}
    even = {path: torch.stack(seen.entropy[path]).mean(0) for path in mixers}
    first = {path: torch.stack(seen.first[path]).mean(0) for path in mixers}
    return Report(
        units, num_units, heads,
        {path: _where(even[path] > UNIFORM) for path in mixers},
        {path: _where(first[path] > SINK) for path in mixers},
        {path: len(seen.most[path]) for path in mixers},
    )  # fmt: skip


def _dead(written: Tensor) -> list[int]:
    return _where(written <= DEAD * written.median())


def _where(mask: Tensor) -> list[int]:
    found: list[int] = mask.nonzero().flatten().tolist()
    return found


def _unit_hook(path: str, seen: _Seen) -> Any:
    def look(module: nn.Module, args: tuple[Tensor, ...]) -> None:
        if args[0].numel():
            seen.larger(path, args[0].abs().flatten(0, -2).amax(0).float())

    return look


def _mixed_hook(path: str, output: nn.Linear, seen: _Seen) -> Hook:
    def look(mixed: Tensor) -> None:  # [B,H,T,C]
        H, C = mixed.shape[1], mixed.shape[3]
        columns = output.weight.view(-1, H, C)  # [D,H,C]
        written = torch.einsum("bhtc,dhc->hbtd", mixed.float(), columns.float())
        seen.larger(path, written.norm(dim=-1).amax(dim=(1, 2)))

    return look


def _pattern_hook(path: str, seen: _Seen) -> Hook:
    def look(pattern: Tensor) -> None:  # [B,H,T,L]
        p = pattern[:, :, 1:].float()  # the first token has no choice
        visible = (p > 0).sum(-1).amax(dim=1, keepdim=True).clamp(min=2)  # [B,1,T-1]: what any head sees
        entropy = -(p * p.clamp(min=1e-30).log()).sum(-1) / visible.log()  # [B,H,T-1]
        seen.entropy.setdefault(path, []).append(entropy.mean(dim=(0, 2)))
        seen.first.setdefault(path, []).append(p[..., 0].mean(dim=(0, 2)))

    return look
