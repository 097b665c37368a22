"""In several processes: train the tiny world on meshes and compare with one process. `python runs.py JSON`, see grid.py.

JSON: a list of cases {"sizes": {"tp": 2}, "steps": 20, ...}; every case reports the largest relative differences.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parent.parent))

import grid
import pieces
import world

from ownlm.model.architecture import Architecture
from ownlm.model.attention.grouped import GroupedQuery
from ownlm.model.blocks import Layer
from ownlm.model.decoder import Decoder
from ownlm.model.layers import FeedForward, Norm
from ownlm.model.moe import MixtureOfExperts
from ownlm.model.position import Rope
from ownlm.train.config import TrainConfig
from ownlm.train.loop import train
from ownlm.train.parallel.composed import Composed
from ownlm.train.parallel.mesh import Mesh, Sizes


def model(kind: str, layers: int) -> Decoder:
    """dense: biases, norms of heads, tied; untied; moe: 4 experts of which 2; window: layers of reach 24."""
    mixer = GroupedQuery(4, 2, 16, rope=Rope(10000.0), bias=kind == "dense", output_bias=kind == "dense",
                         qk_norm=Norm() if kind == "dense" else None, window=24 if kind == "window" else None)  # fmt: skip
    forward: Any = FeedForward(96, bias=kind == "dense")
    if kind == "moe":
        forward = MixtureOfExperts(4, FeedForward(48), shared=FeedForward(32), capacity_factor=1.25)
    layer = Layer(mixer, forward)
    return Decoder(Architecture(512, 64, (layer,) * layers, world.CONTEXT, tie_embeddings=kind != "untied",
                                embedding_scale=8.0), seed=1)  # fmt: skip


def losses(net: nn.Module, config: TrainConfig, folder: Path, layout: Any) -> tuple[list[float], list[float]]:
    records = list(train(net, world.batches(), config, folder, lambda _: None, layout=layout))
    return [r.loss for r in records], [r.grad_norm for r in records]


def moved(folder: Path) -> dict[str, Any]:
    """A run that is stopped twice and goes on elsewhere, each time from what the other layout wrote."""
    config = world.settings(num_steps=12, micro_tokens=world.CONTEXT, optimizer="adamw", learning_rate=1e-3,
                            checkpoint_steps=4)  # fmt: skip
    expected, _ = losses(model("dense", 2), config, folder / f"undisturbed{dist.get_rank()}", None)
    found: list[float] = []
    steps = []
    for sizes in (Sizes(pp=2), Sizes(tp=2), None):
        net = model("dense", 2)
        layout = None if sizes is None else Composed(net, Mesh(sizes, torch.device("cpu")))
        if layout is None and dist.get_rank() > 0:
            break
        run = train(net, world.batches(), config, folder / "moved", lambda _: None, layout=layout)
        part = [record.loss for record, _ in zip(run, range(4), strict=False)]
        run.close()  # type: ignore[attr-defined]
        found += part
        steps.append(len(part))
    worst = max(abs(a - b) / b for a, b in zip(found, expected, strict=False))
    return {"loss": worst, "steps": steps if len(steps) == 3 else [*steps, 4]}


ALONE: dict[Any, tuple[Decoder, list[float], list[float]]] = {}
"""One process's runs, shared by the cases that are compared with the same."""


def compare(case: dict[str, Any], folder: Path) -> dict[str, float]:
    """One case: the mesh's losses, norms and final weights against a single process's."""
    kind, layers, steps = case.get("model", "dense"), case.get("layers", 2), case.get("steps", 20)
    config = world.settings(num_steps=steps, micro_tokens=case.get("micro", 1) * world.CONTEXT, optimizer="adamw",
                            learning_rate=1e-3, **case.get("settings", {}))  # fmt: skip
    key = (kind, layers, steps, case.get("micro", 1))
    if key not in ALONE:
        net = model(kind, layers)
        ALONE[key] = net, *losses(net, config, folder / f"alone{dist.get_rank()}", None)
    alone, expected, norms = ALONE[key]
    shared = model(kind, layers)
    layout = Composed(shared, Mesh(Sizes(**case["sizes"]), torch.device("cpu")), case.get("schedule", "1f1b"),
                      case.get("chunks", 1))  # fmt: skip
    found, found_norms = losses(shared, config, folder / "shared", layout)
    whole = layout.gather(shared)
    result = {"loss": max(abs(a - b) / b for a, b in zip(found, expected, strict=True)),
              "norm": max(abs(a - b) / b for a, b in zip(found_norms, norms, strict=True)), "steps": len(found),
              "parameters": sum(w.numel() for w in shared.parameters()) / sum(w.numel() for w in alone.parameters())}  # fmt: skip
    if whole is not None:
        assert whole.keys() == dict(alone.named_parameters()).keys()
        # All weights as one vector: an entry whose gradient is nothing but rounding moves by its sign under AdamW.
        error = sum(
            float((whole[name] - weight.detach()).square().sum()) for name, weight in alone.named_parameters()
        )
        size = sum(float(weight.detach().square().sum()) for weight in alone.parameters())
        result["weights"] = (error / size) ** 0.5
    return result


def cases(given: list[dict[str, Any]], folder: Path) -> Iterator[dict[str, Any]]:
    for number, case in enumerate(given):
        print(number, case, flush=True)  # for the log of a test that hangs
        if "check" not in case:
            found = compare(case, folder / str(number))
            print(found, flush=True)
            yield found
        elif case["check"] == "moved":
            yield moved(folder)
        else:
            yield pieces.CHECKS[case["check"]]()


if __name__ == "__main__":
    place = grid.join()
    grid.report(place, {"cases": list(cases(json.loads(sys.argv[1]), place))})
