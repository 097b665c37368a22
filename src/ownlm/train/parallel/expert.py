"""Expert parallelism: the experts of every mixture shared out over ep processes, tokens sent to where their experts are
(Lepikhin et al. 2020, GShard, arXiv:2006.16668, section 3; Fedus et al. 2021, Switch, arXiv:2101.03961).

    process 0: tokens ─ router ─┐                ┌─ experts 0 1 ─┐                ┌─ back in place, weighted
                                ├─ all-to-all ───┤               ├─ all-to-all ───┤
    process 1: tokens ─ router ─┘                └─ experts 2 3 ─┘                └─ back in place, weighted

Each process of the axis also has rows of the batch of its own, as along dp. Router, capacity and shared expert are as
they were: they need only the tokens that are here. The mixture is not changed: its `run` is replaced.

Letters: N tokens here, A assignments of them to experts, R assignments received, E experts, D model width.
"""

from __future__ import annotations

from types import MethodType
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from ownlm.model.moe import Experts, Routing
from ownlm.train.parallel.mesh import Mesh, divide


class _AllToAll(torch.autograd.Function):
    """Rows to their processes; backward the same way back."""

    @staticmethod
    def forward(
        ctx: Any, rows: Tensor, sent: list[int], received: list[int], group: dist.ProcessGroup
    ) -> Tensor:
        ctx.sizes, ctx.group = (sent, received), group
        return _exchange(rows, sent, received, group)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor, None, None, None]:
        sent, received = ctx.sizes
        return _exchange(upstream[0], received, sent, ctx.group), None, None, None


def _exchange(rows: Tensor, sent: list[int], received: list[int], group: dist.ProcessGroup) -> Tensor:
    out = rows.new_empty(sum(received), *rows.shape[1:])
    dist.all_to_all_single(out, rows.contiguous(), received, sent, group=group)
    return out


def spread(model: nn.Module, mesh: Mesh) -> set[str]:
    """Keep this process's experts only, in place; the names of their parameters, which no other process of the axis
    has. Raises UsageError where ep does not divide the number of experts."""
    ep = mesh.size("ep")
    mine: set[str] = set()
    if ep == 1:
        return mine
    layers = [(name, module) for name, module in model.named_modules() if isinstance(module, Experts)]
    for name, layer in layers:
        divide(f"The experts of {name}", layer.spec.num_experts, ep, "ep")
    for name, layer in layers:
        here = layer.spec.num_experts // ep
        for number in range(layer.spec.num_experts):
            if number // here == mesh.at("ep"):
                mine |= {
                    f"{name}.experts.{number}.{key}" for key, _ in layer.experts[number].named_parameters()
                }
            else:
                layer.experts[number] = nn.Identity()  # the others keep their numbers, and their names
        group = mesh.groups["ep"]
        layer.run = MethodType(lambda self, x, routing, group=group: _run(self, x, routing, group), layer)  # type: ignore[method-assign]
    return mine


@torch.compiler.disable  # type: ignore[untyped-decorator]
def _run(layer: Experts, x: Tensor, routing: Routing, group: dist.ProcessGroup) -> Tensor:
    """What `Experts.run` does, each expert on the tokens of all processes: x [B, T, D] -> [B, T, D]."""
    ep, rank = dist.get_world_size(group), dist.get_rank(group)
    here = layer.spec.num_experts // ep
    flat = x.reshape(-1, x.shape[-1])  # [N,D]
    wanted = routing.load.view(ep, here)  # how many this process sends to each expert
    asked = torch.empty_like(wanted)  # [source, expert]: how many arrive
    dist.all_to_all_single(asked, wanted.contiguous(), group=group)
    sent, received = wanted.sum(1).tolist(), asked.sum(1).tolist()
    # The assignments are sorted by expert, and so by process.
    rows: Tensor = _AllToAll.apply(flat[routing.token], sent, received, group)  # type: ignore[no-untyped-call]
    # [R,D], by source and within a source by expert: an expert wants its rows side by side.
    experts = torch.arange(here, device=x.device).repeat(ep).repeat_interleave(asked.flatten())  # [R]
    together = experts.argsort(stable=True)
    pieces = torch.split(rows[together], asked.sum(0).tolist())
    own = layer.experts[rank * here : (rank + 1) * here]
    outputs = [expert(piece) for expert, piece in zip(own, pieces, strict=True) if len(piece)]
    computed = torch.cat(outputs) if outputs else rows
    back = torch.empty_like(together).scatter_(0, together, torch.arange(len(together), device=x.device))
    returned: Tensor = _AllToAll.apply(computed[back], received, sent, group)  # type: ignore[no-untyped-call]
    weighted = returned * routing.weight[:, None].to(x.dtype)  # [A,D]
    return torch.zeros_like(flat).index_add(0, routing.token, weighted.to(flat.dtype)).view_as(x)
