"""Tensor parallelism: every matrix of attention and feed-forward cut over tp processes (Shoeybi et al. 2019,
Megatron-LM, arXiv:1909.08053, section 3).

        ┌─ f ─ q k v (columns: heads) ─ attention ─ o (rows) ─ g ─┐        f  forward: nothing, backward: all-reduce
    x ──┤                                                         ├──      g  forward: all-reduce, backward: nothing
        └─ f ─ gate, up (columns) ─ activation ─── down (rows) ─ g ┘

Two all-reduces of [B, T, D] per layer forward, two backward. The decoder is not changed: its Linears hold pieces,
`o` and `down` add up, and a hook puts f in front. Norms, embedding and output layer stay whole on every process.
Not covered: a vocabulary cut over the processes, and norms cut along the sequence (Korthikanti et al. 2022).

Letters: B rows, T tokens, D model width, H query heads, K key/value heads, C head width, F feed-forward width.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from ownlm.errors import UsageError
from ownlm.model.attention.grouped import Attention
from ownlm.model.layers import Gated, Plain
from ownlm.train.parallel.mesh import Mesh, divide


class _Enter(torch.autograd.Function):
    """f: the input is used by all processes, so its gradient is the sum of theirs."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, group: dist.ProcessGroup) -> Tensor:
        ctx.group = group
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor, None]:
        gradient = upstream[0].contiguous().clone()
        dist.all_reduce(gradient, group=ctx.group)
        return gradient, None


class _Leave(torch.autograd.Function):
    """g: each process has a part of the sum."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, group: dist.ProcessGroup) -> Tensor:
        total = x.contiguous().clone()
        dist.all_reduce(total, group=group)
        return total

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor, None]:
        return upstream[0], None


# A graph break for torch.compile: it does not look into collectives of another process.
@torch.compiler.disable  # type: ignore[untyped-decorator]
def enter(x: Tensor, group: dist.ProcessGroup) -> Tensor:
    """f: x as it is."""
    return _Enter.apply(x, group)  # type: ignore[no-any-return, no-untyped-call]


@torch.compiler.disable  # type: ignore[untyped-decorator]
def leave(x: Tensor, group: dist.ProcessGroup) -> Tensor:
    """g: the sum over the processes."""
    return _Leave.apply(x, group)  # type: ignore[no-any-return, no-untyped-call]


class RowLinear(nn.Linear):
    """A Linear whose inputs are cut: this process's part of the product, added up; the bias is added once."""

    group: dist.ProcessGroup

    def forward(self, x: Tensor) -> Tensor:
        """[..., in / tp] -> [..., out], the same on every process."""
        out: Tensor = leave(F.linear(x, self.weight), self.group)
        return out if self.bias is None else out + self.bias


def split(model: nn.Module, mesh: Mesh) -> tuple[dict[str, int], set[str]]:
    """Cut the model's layers in place.

    Returns ({name of a parameter: dimension along which it is cut}, {names of whole parameters of which every process
    computes a part of the gradient}). Raises UsageError for a layer that cannot be cut, or heads that cannot be
    shared out evenly; nothing is changed then.
    """
    if mesh.size("tp") == 1:
        return {}, set()
    found = list(_layers(model))
    for name, layer in found:
        _check(name, layer, mesh.size("tp"))
    cut: dict[str, int] = {}
    partial: set[str] = set()
    for name, layer in found:
        columns, rows = (("q", "k", "v"), "o") if isinstance(layer, Attention) else (_inner(layer), "down")
        for column in columns:
            _cut_columns(layer.get_submodule(column), mesh)
            cut[f"{name}.{column}.weight"] = 0
            if layer.get_submodule(column).bias is not None:
                cut[f"{name}.{column}.bias"] = 0
        setattr(layer, rows, _row_linear(cast(nn.Linear, layer.get_submodule(rows)), mesh))
        cut[f"{name}.{rows}.weight"] = 1
        if isinstance(layer, Attention):
            layer.num_heads //= mesh.size("tp")
            layer.num_kv_heads //= mesh.size("tp")
            partial |= {f"{name}.{key}" for key, _ in layer.named_parameters() if key.split(".")[0] in ("q_norm", "k_norm")}  # fmt: skip
        group = mesh.groups["tp"]
        layer.register_forward_pre_hook(lambda _, args, group=group: (enter(args[0], group), *args[1:]))
    return cut, partial


def _layers(model: nn.Module) -> Iterator[tuple[str, Attention | Gated | Plain]]:
    """Those that are cut, wherever they lie in a block. Raises UsageError for a mixer that this file does not know."""
    for name, module in model.named_modules():
        if isinstance(module, Attention | Gated | Plain):
            yield name, module
        elif name.endswith(".mixer"):
            raise UsageError(
                "This layer cannot be cut by tensor parallelism.",
                f"{name}: {type(module).__name__}",
                "use tp = 1, or layers of grouped-query attention",
            )


def _check(name: str, layer: Attention | Gated | Plain, tp: int) -> None:
    if not isinstance(layer, Attention):
        divide(f"The width of {name}", layer.up.out_features, tp, "tp")
        return
    divide(f"The key/value heads of {name}", layer.num_kv_heads, tp, "tp")
    if layer.q_norm is not None and layer.spec.qk_norm_over == "width":
        raise UsageError(
            "A norm over all heads at once cannot be computed on some of them.",
            f"{name}: qk_norm_over = 'width'",
            "use tp = 1, or qk_norm_over = 'head'",
        )


def _inner(layer: Gated | Plain) -> tuple[str, ...]:
    return ("gate", "up") if isinstance(layer, Gated) else ("up",)


def _cut_columns(linear: nn.Module, mesh: Mesh) -> None:
    """Outputs shared out: rows of the weight [out, in], which y = x W^T makes columns."""
    for key in ("weight", "bias"):
        if (whole := getattr(linear, key)) is not None:
            setattr(linear, key, nn.Parameter(_piece(whole, 0, mesh)))


def _row_linear(linear: nn.Linear, mesh: Mesh) -> RowLinear:
    made = RowLinear(1, 1, bias=False, device="meta")
    made.in_features, made.out_features = linear.in_features, linear.out_features
    made.weight = nn.Parameter(_piece(linear.weight, 1, mesh))
    made.bias = linear.bias
    made.group = mesh.groups["tp"]
    return made


def _piece(whole: Tensor, dim: int, mesh: Mesh) -> Tensor:
    return whole.detach().chunk(mesh.size("tp"), dim)[mesh.at("tp")].clone()
