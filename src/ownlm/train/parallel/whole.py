"""A model that lies cut over a mesh, put together on process 0 and taken apart again.

So a run's checkpoints are those of a single process: one process, or a mesh of other sizes, goes on from them. Process
0 must hold the whole model with its optimizer while it writes; what is too large for that is the matter of sharded.py.

Messages are safetensors bytes; a tensor's name bears the dimension along which it is cut: "1|blocks.0.mixer.o.weight".
"""

from __future__ import annotations

from collections.abc import Mapping

import safetensors.torch
import torch
import torch.distributed as dist
from torch import Tensor

from ownlm.train.parallel.mesh import Mesh

Cut = Mapping[str, int]
"""Name of a parameter -> dimension along which tp cuts it."""


def owner(key: str, names: Mapping[str, object]) -> str:
    """The parameter that an optimizer's tensor belongs to: the longest of the names that the key ends in, or ""."""
    parts = key.split(".")
    for start in range(len(parts)):
        if (name := ".".join(parts[start:])) in names:
            return name
    return ""


def gather(tensors: Mapping[str, Tensor], dims: Mapping[str, int], mesh: Mesh) -> dict[str, Tensor] | None:
    """Every process's tensors under one roof, on process 0; None elsewhere. dims: of this process's tensors, the
    dimension along which each is cut by tp. A name that several stages have (a tied embedding) is taken from the first.
    """
    holder = mesh.at("dp") == mesh.at("cp") == 0
    if dist.get_rank() != 0:
        if holder:
            _send({f"{dims.get(name, '-')}|{name}": value for name, value in tensors.items()}, mesh)
        return None
    pieces: dict[str, tuple[str, list[Tensor]]] = {
        n: (str(dims.get(n, "-")), [v.detach()]) for n, v in tensors.items()
    }
    taken = {name: 0 for name in pieces}  # by which stage and expert share
    for rank in range(1, mesh.sizes.total):
        place = _coordinates(rank, mesh)
        if place["dp"] or place["cp"]:
            continue
        origin = place["pp"] * mesh.size("ep") + place["ep"]
        for key, value in _receive(rank, mesh).items():
            dim, name = key.split("|", 1)
            if name not in pieces:
                pieces[name], taken[name] = (dim, [value]), origin
            elif dim != "-" and taken[name] == origin:
                pieces[name][1].append(value)  # tp is walked in order
    return {
        name: parts[0] if dim == "-" else torch.cat(parts, int(dim)) for name, (dim, parts) in pieces.items()
    }


def part(whole: Tensor, dim: int | None, mesh: Mesh) -> Tensor:
    """This process's piece."""
    return whole if dim is None else whole.chunk(mesh.size("tp"), dim)[mesh.at("tp")].clone()


def _coordinates(rank: int, mesh: Mesh) -> dict[str, int]:
    found = {}
    for axis in ("ep", "tp", "cp", "dp", "pp"):  # the last axis runs fastest
        rank, found[axis] = divmod(rank, getattr(mesh.sizes, axis))
    return found


def _send(tensors: Mapping[str, Tensor], mesh: Mesh) -> None:
    packed = safetensors.torch.save({n: v.detach().cpu().contiguous() for n, v in tensors.items()})
    data = torch.frombuffer(bytearray(packed), dtype=torch.uint8).to(mesh.device)
    dist.send(torch.tensor([len(data)], device=mesh.device), 0)
    dist.send(data, 0)


def _receive(source: int, mesh: Mesh) -> dict[str, Tensor]:
    size = torch.zeros(1, dtype=torch.int64, device=mesh.device)
    dist.recv(size, source)
    data = torch.empty(int(size), dtype=torch.uint8, device=mesh.device)
    dist.recv(data, source)
    return safetensors.torch.load(data.cpu().numpy().tobytes())
