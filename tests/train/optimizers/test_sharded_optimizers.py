"""Optimizers of single entries, and those of whole norms, on weights that lie in rows on two processes (DTensor)."""

import pytest
import torch
from torch import nn
from walk import named, set_gradients

from ownlm.train.optimizers.table import build

NAMES = ("sgd", "adagrad", "rmsprop", "adam", "adamw", "lion", "sophia", "lamb", "lars", "adafactor")
STEPS = 12


def walk(name, place):
    """The weights after a few steps; `place` puts a tensor where it belongs."""
    started = [(n, nn.Parameter(place(w.detach()))) for n, w in named((8, 6), (6,))]
    optimizer = build(name, started, {}, torch.float32)
    for step in range(STEPS):
        whole = named((8, 6), (6,))
        set_gradients(whole, step)
        for (_, weight), (_, source) in zip(started, whole, strict=True):
            weight.grad = place(source.grad)
        optimizer.step(0.01)
    return [weight.detach() for _, weight in started]


def compare(rank, num_processes, file):
    import torch.distributed as dist
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import Shard, distribute_tensor

    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{file}", rank=rank, world_size=num_processes)
    try:
        mesh = init_device_mesh("cpu", (num_processes,))
        for name in NAMES:
            sharded = walk(name, lambda t: distribute_tensor(t, mesh, [Shard(0)]))
            for got, expected in zip(sharded, walk(name, lambda t: t.clone()), strict=True):
                assert got.to_local().shape[0] == expected.shape[0] // num_processes
                torch.testing.assert_close(got.full_tensor(), expected, rtol=1e-5, atol=1e-6, msg=name)
    finally:
        dist.destroy_process_group()


def test_a_mesh_of_one_process(tmp_path):
    if torch.distributed.is_initialized():
        pytest.skip("this process has a process group of its own already")
    compare(0, 1, tmp_path / "store")


@pytest.mark.slow
def test_two_processes_walk_as_one(tmp_path):
    torch.multiprocessing.spawn(compare, (2, tmp_path / "store"), nprocs=2)
