"""What a model is made of: parameters by component, a traced forward with shapes, what a context costs.

Works on every model of this room: they share `num_parameters`, `flops_per_token` and `cache_bytes_per_token`.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, is_dataclass
from itertools import groupby
from typing import Any

import torch
from torch import Tensor, nn

_NUMBER = re.compile(r"\.\d+(?=\.|$)")


@dataclass(frozen=True, slots=True)
class Component:
    """Parameters of equal name in all layers, as `blocks.*.mixer.q`."""

    name: str
    count: int
    """Of tensors."""
    parameters: int
    share: float
    """Of all parameters of the model, 0 to 1."""


@dataclass(frozen=True, slots=True)
class Call:
    """One module's turn in a forward pass."""

    name: str
    kind: str
    shape: tuple[int, ...]
    """Of its output (the first tensor, where it gives several)."""
    parameters: int
    milliseconds: float


@dataclass(frozen=True, slots=True)
class ContextCost:
    """What a context of this many tokens needs, per sequence."""

    context: int
    flops_per_token: int
    """Forward, as the formula counts them."""
    cache_bytes: int


def components(model: nn.Module) -> list[Component]:
    """In walking order; shared tensors count once, under their first name."""
    found: dict[str, list[int]] = {}
    for name, weight in model.named_parameters():
        found.setdefault(_NUMBER.sub(".*", name.rpartition(".")[0] or name), []).append(weight.numel())
    total = max(1, sum(map(sum, found.values())))
    return [Component(name, len(n), sum(n), sum(n) / total) for name, n in found.items()]


def trace(model: nn.Module, *inputs: Tensor) -> list[Call]:
    """Run `model(*inputs)` without gradients and note every module that gave a tensor, in order of completion."""
    calls: list[Call] = []
    starts: dict[nn.Module, float] = {}
    names = {module: name for name, module in model.named_modules() if name}

    def before(module: nn.Module, args: Any) -> None:
        starts[module] = time.perf_counter()

    def after(module: nn.Module, args: Any, output: Any) -> None:
        tensor = _first_tensor(output)
        if tensor is not None:
            spent = (time.perf_counter() - starts[module]) * 1000
            own = sum(p.numel() for p in module.parameters())
            calls.append(Call(names[module], type(module).__name__, tuple(tensor.shape), own, spent))

    handles = [module.register_forward_pre_hook(before) for module in names]
    handles += [module.register_forward_hook(after) for module in names]
    try:
        with torch.no_grad():
            model(*inputs)
    finally:
        for handle in handles:
            handle.remove()
    return calls


def folded(calls: Sequence[Call]) -> list[tuple[Call, int]]:
    """(call, number of layers alike): a module that comes again in a later layer with one shape is shown once."""
    seen: dict[tuple[str, str, tuple[int, ...], int], list[Any]] = {}
    for call in calls:
        key = (_NUMBER.sub(".*", call.name), call.kind, call.shape, call.parameters)
        seen.setdefault(key, [call, 0])[1] += 1
    return [(call, number) for call, number in seen.values()]


def context_costs(model: Any, contexts: Sequence[int], dtype_bytes: int) -> list[ContextCost]:
    """From the model's own formulas; flops_per_token counts training, which is three forwards."""
    return [
        ContextCost(n, model.flops_per_token(n) // 3, n * model.cache_bytes_per_token(dtype_bytes))
        for n in contexts
    ]


def measured_flops(model: nn.Module, *inputs: Tensor) -> int:
    """Operations of the matrix products that torch counts in one forward pass of `inputs`."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(*inputs)
    return int(counter.get_total_flops())


def plain(value: Any) -> Any:
    """A configuration as JSON values, descriptions named by their class; layers that repeat are given once."""
    if hasattr(value, "__dataclass_fields__"):
        fields = {name: plain(getattr(value, name)) for name in value.__dataclass_fields__}
        return {"is": type(value).__name__, **fields}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        items = [plain(item) for item in value]
        return _runs(items) if len(items) > 2 and all(isinstance(item, dict) for item in items) else items
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def _runs(items: list[Any]) -> list[Any]:
    runs: list[Any] = []
    for item in items:
        if runs and runs[-1]["each"] == item:
            runs[-1]["times"] += 1
        else:
            runs.append({"times": 1, "each": item})
    return runs


def described(value: Any) -> list[str]:
    """A configuration in lines: a field a line, what stands in it in short, equal layers once with their number."""
    if not is_dataclass(value):
        return [str(value)]
    rows = []
    for spec in fields(value):
        inner = getattr(value, spec.name)
        if isinstance(inner, tuple) and inner and is_dataclass(inner[0]):
            runs = [(len(list(run)), each) for each, run in groupby(inner)]
            rows += [f"{spec.name}: {number} x {_short(each)}" for number, each in runs]
        else:
            rows.append(f"{spec.name} = {_short(inner)}")
    return rows


def _short(value: Any) -> str:
    """Name(field=value, ...) with the fields that differ from their defaults."""
    if not is_dataclass(value):
        return str(value)
    said = [
        f"{f.name}={_short(getattr(value, f.name))}"
        for f in fields(value)
        if getattr(value, f.name) != f.default
    ]
    return f"{type(value).__name__}({', '.join(said)})"


def as_dict(found: Component | Call | ContextCost) -> dict[str, Any]:
    return asdict(found)


def _first_tensor(output: Any) -> Tensor | None:
    if isinstance(output, Tensor):
        return output
    if isinstance(output, list | tuple):
        return next((item for item in output if isinstance(item, Tensor)), None)
    return None
