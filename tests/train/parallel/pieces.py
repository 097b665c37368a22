"""In several processes: single layers, cut and whole. Each check returns relative differences; see runs.py."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from ownlm.errors import UsageError
from ownlm.model.attention.grouped import GroupedQuery
from ownlm.model.decoder import Decoder
from ownlm.model.layers import FeedForward, Norm
from ownlm.model.moe import MixtureOfExperts
from ownlm.model.place import Place, causal_mask
from ownlm.train.batches import Batch
from ownlm.train.parallel import context, expert, tensor
from ownlm.train.parallel.composed import Composed
from ownlm.train.parallel.mesh import Mesh, Sizes

CPU = torch.device("cpu")


def distance(a: Tensor, b: Tensor) -> float:
    """Relative, by the largest entry."""
    return float((a - b).abs().max() / b.abs().max().clamp(min=1e-12))


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def place(num_tokens: int) -> Place:
    positions = torch.arange(num_tokens)[None]
    return Place(positions, positions, causal_mask(num_tokens, CPU, None))


def tensor_check() -> dict[str, float]:
    """Attention (4 query heads on 2, biases, norms of heads) and both feed-forward layers: outputs, and the gradients
    of input and of every piece."""
    mesh, found = Mesh(Sizes(tp=dist.get_world_size()), CPU), {}
    attention = GroupedQuery(4, 2, 8, bias=True, output_bias=True, qk_norm=Norm()).build(32, 0)
    for name, layer in {"attention": attention, "gated": FeedForward(48, bias=True).build(32),
                        "plain": FeedForward(48, gated=False, activation="gelu", bias=True).build(32)}.items():  # fmt: skip
        for n, weight in enumerate(layer.parameters()):
            weight.data.copy_(drawn(*weight.shape, seed=n) * 0.3)
        holder = nn.ModuleDict({"layer": copy.deepcopy(layer)})
        cut, partial = tensor.split(holder, mesh)
        x, upstream = drawn(2, 6, 32), drawn(2, 6, 32, seed=9)
        more = (place(6),) if name == "attention" else ()
        whole, pieces = run(layer, x, upstream, *more), run(holder["layer"], x, upstream, *more)
        found[f"{name} output"], found[f"{name} input's gradient"] = (
            distance(a, b) for a, b in zip(pieces, whole, strict=True)
        )
        for key, weight in holder.named_parameters():
            expected, gradient = layer.get_parameter(key[6:]).grad, weight.grad
            assert expected is not None and gradient is not None
            if key in partial:
                gradient = mesh.sum(gradient.clone(), "tp")
            if key in cut:
                expected = expected.chunk(mesh.size("tp"), cut[key])[mesh.at("tp")]
            # Softmax does not see a bias of the keys: without a norm behind it that gradient is 0 and rounding.
            found[f"{name} {key[6:]}"] = distance(gradient, expected)
    return found


def run(layer: nn.Module, x: Tensor, upstream: Tensor, *more: Any) -> tuple[Tensor, Tensor]:
    """Output and gradient of the input; the weights' gradients stay in them."""
    given = x.clone().requires_grad_()
    out = layer(given, *more)
    torch.autograd.backward(out, upstream)
    assert given.grad is not None
    return out.detach(), given.grad


def context_check() -> dict[str, float]:
    """Ring attention against torch's, all heads alike and grouped, with and without a window."""
    p, r = dist.get_world_size(), dist.get_rank()
    mesh, found = Mesh(Sizes(cp=p), CPU), {}
    for name, kv_heads, window, T in (("full", 4, None, 24), ("grouped", 2, None, 16), ("window", 2, 5, 32)):
        q, k, v, upstream = (drawn(2, h, T, 8, seed=n) for n, h in enumerate((4, kv_heads, kv_heads, 4)))
        whole = [each.clone().requires_grad_() for each in (q, k, v)]
        order = torch.arange(T)
        back = order[:, None] - order
        mask = (back >= 0) & (back < (window or T))
        expected = F.scaled_dot_product_attention(*whole, attn_mask=mask, enable_gqa=True)
        torch.autograd.backward(expected, upstream)
        mine = context.order(T, p, r)
        parts = [each[:, :, mine].clone().requires_grad_() for each in (q, k, v)]
        out = context.ring_attention(*parts, context.Ring(mesh, 8**-0.5, window))
        torch.autograd.backward(out, upstream[:, :, mine])
        found[f"{name} output"] = distance(out.detach(), expected.detach()[:, :, mine])
        for letter, part, all_ in zip("qkv", parts, whole, strict=True):
            assert part.grad is not None and all_.grad is not None
            found[f"{name} {letter}"] = distance(part.grad, all_.grad[:, :, mine])
    return found


def expert_check() -> dict[str, float]:
    """A mixture with a shared expert; one of the processes sends nothing to one expert."""
    p, r = dist.get_world_size(), dist.get_rank()
    mesh, found = Mesh(Sizes(ep=p), CPU), {}
    for capacity in (None, 1.0):
        layer = MixtureOfExperts(4, FeedForward(24), shared=FeedForward(16), capacity_factor=capacity).build(
            16
        )
        for n, weight in enumerate(layer.parameters()):
            weight.data.copy_(drawn(*weight.shape, seed=n) * 0.5)
        holder = nn.ModuleDict({"layer": copy.deepcopy(layer)})
        own = expert.spread(holder, mesh)
        x, upstream = drawn(2 * p, 5, 16), drawn(2 * p, 5, 16, seed=9)
        rows = slice(2 * r, 2 * r + 2)
        whole, pieces = run(layer, x, upstream), run(holder["layer"], x[rows], upstream[rows])
        found[f"output {capacity}"] = distance(pieces[0], whole[0][rows])
        found[f"input's gradient {capacity}"] = distance(pieces[1], whole[1][rows])
        found[f"experts here {capacity}"] = sum(".experts." in key for key in own) / 3 - 4 / p
        for key, weight in holder.named_parameters():
            expected = layer.get_parameter(key[6:]).grad
            gradient = torch.zeros_like(weight) if weight.grad is None else weight.grad
            if key not in own:
                gradient = mesh.sum(gradient.clone(), "ep")
            found[f"{key[6:]} {capacity}"] = distance(
                gradient, torch.zeros(()) if expected is None else expected
            )
    return found


def refusals() -> dict[str, str]:
    """What is refused, in the words of the error."""
    p = dist.get_world_size()
    from ownlm.model.architecture import Architecture
    from ownlm.model.attention.latent import Latent
    from ownlm.model.blocks import Layer

    def built(mixer: Any, forward: Any = None) -> Decoder:
        return Decoder(Architecture(64, 32, (Layer(mixer, forward or FeedForward(48)),) * 2, 32))

    plain = GroupedQuery(4, 2, 8)
    tried: dict[str, Callable[[], object]] = {
        "sizes": lambda: Mesh(Sizes(dp=3), CPU),
        "heads": lambda: Composed(built(GroupedQuery(4, 1, 8)), Mesh(Sizes(tp=p), CPU)),
        "width": lambda: Composed(built(plain, FeedForward(49)), Mesh(Sizes(tp=p), CPU)),
        "experts": lambda: Composed(built(plain, MixtureOfExperts(3, FeedForward(8))), Mesh(Sizes(ep=p), CPU)),
        "mixer": lambda: Composed(built(Latent(2, 8, 8, 8, 8)), Mesh(Sizes(tp=p), CPU)),
        "softcap": lambda: Composed(built(GroupedQuery(4, 2, 8, softcap=30.0)), Mesh(Sizes(cp=p), CPU)),
        "stages": lambda: Composed(built(plain), Mesh(Sizes(pp=p), CPU), "interleaved", 2),
        "tokens": lambda: context.order(30, p, 0),
        "extra": lambda: context.share(Batch(torch.zeros(1, 8), torch.zeros(1, 8), {"documents": torch.zeros(1, 8)}), Mesh(Sizes(cp=p), CPU)),
        "rows": lambda: Composed(built(plain), Mesh(Sizes(dp=p), CPU)).share(Batch(torch.zeros(3, 8), torch.zeros(3, 8))),
        "muon": lambda: muon(built(plain)),
    }  # fmt: skip
    found = {}
    for name, attempt in tried.items():
        try:
            attempt()
            found[name] = ""
        except UsageError as error:
            found[name] = f"{error.what} | {error.values} | {error.fix}"
    return found


def muon(net: Decoder) -> None:
    layout = Composed(net, Mesh(Sizes(tp=dist.get_world_size()), CPU))
    named = list(net.named_parameters())
    assert len(layout.mine(named, True)) == len(named)
    layout.mine(named, False)


CHECKS: dict[str, Callable[[], dict[str, Any]]] = {
    "tensor": tensor_check, "context": context_check, "expert": expert_check, "refusals": refusals,
}  # fmt: skip
