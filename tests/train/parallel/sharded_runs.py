"""Runs of the tiny world in a layout, and the tensors they end with."""

from pathlib import Path

import torch
import world
from safetensors.torch import save_file
from torch.distributed.tensor import DTensor

from ownlm.train.loop import train
from ownlm.train.parallel import launch

STEPS = 20


def run(layout_name, folder, optimizer="muon", model=None, **changes):
    """(layout, model, records) after STEPS steps."""
    model = model or world.model()
    config = world.settings(**({"num_steps": STEPS, "optimizer": optimizer} | changes))
    notices = []
    layout = launch.layout_from(layout_name, model, config, notices.append)
    records = list(train(model, world.batches(), config, Path(folder), notices.append, layout=layout))
    return layout, model, records


def whole(tensor):
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor.detach()


def keep(model, place, path):
    """All weights, whole, into a file: every process must call it."""
    tensors = {name: whole(weight).contiguous().clone() for name, weight in model.named_parameters()}
    if place.rank == 0:
        save_file(tensors, path)


def furthest(ours, theirs):
    """Largest relative difference of any tensor, in its 2-norm."""
    assert ours.keys() == theirs.keys()
    return max(float((ours[n] - theirs[n]).norm() / theirs[n].norm()) for n in theirs)


def losses(records):
    return [record.loss for record in records]


def same_on_all(model):
    """Whether every process holds the same bits."""
    import torch.distributed as dist

    flat = torch.cat([whole(weight).flatten() for weight in model.parameters()])
    other = flat.clone()
    dist.broadcast(other, 0)
    return torch.equal(flat, other)
