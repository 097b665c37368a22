"""Several processes against one: the same batches, the same losses, the same weights."""

import functools
import tempfile

import pytest
import torch
import world as tiny
import worlds
from safetensors.torch import load_file
from sharded_runs import STEPS, furthest, keep, losses, run, same_on_all

from ownlm.errors import UsageError
from ownlm.train.batches import Batch
from ownlm.train.parallel import cost, launch
from ownlm.train.parallel.data_parallel import share_rows
from ownlm.train.parallel.owners import Owners


@functools.cache
def alone(optimizer="muon"):
    """(weights, losses) of one process."""
    with tempfile.TemporaryDirectory() as folder:
        _, model, records = run("alone", folder, optimizer)
    return {name: weight.detach() for name, weight in model.named_parameters()}, losses(records)


def world(place, folder):
    facts = {}
    for name in ("ddp", "zero1"):
        layout, model, records = run(name, folder / name)
        keep(model, place, folder / f"{name}.safetensors")
        facts[name] = {"losses": losses(records), "norms": [r.grad_norm for r in records], "same": same_on_all(model),
                       "sent": layout.sent_bytes, "load": layout.owners.load}  # fmt: skip
    facts["absent"] = absent(place)
    return facts


def absent(place):
    """A weight that only the second process uses, one that nobody uses."""
    import torch.nn as nn

    from ownlm.train.parallel.data_parallel import DataParallel

    model = nn.ModuleDict({name: nn.Linear(3, 2, bias=False) for name in ("both", "second", "none")})
    layout = DataParallel(model, bucket_bytes=1)
    x = torch.ones(1, 3)
    used = [model["both"](x)] + ([model["second"](x)] if place.rank == 1 else [])
    sum(out.sum() for out in used).backward()
    layout.after_backward(model)
    return [None if w.grad is None else w.grad.flatten().tolist() for w in model.parameters()]


@pytest.mark.parametrize("name", ["ddp", "zero1"])
def test_two_processes_train_as_one(name):
    facts = worlds.facts_of("test_data_parallel:world")
    weights, single = alone()
    assert facts[0][name]["losses"] == facts[1][name]["losses"] and facts[1][name]["same"]
    assert len(single) == STEPS
    assert facts[0][name]["losses"] == pytest.approx(single, rel=1e-5)
    assert furthest(load_file(worlds.two()[1] / f"{name}.safetensors"), weights) <= 1e-5


def test_stage_one_is_plain_data_parallelism():
    _, folder = worlds.two()
    both = load_file(folder / "ddp.safetensors"), load_file(folder / "zero1.safetensors")
    assert furthest(*both) <= 1e-5


def test_a_step_sends_what_the_formula_says():
    facts = worlds.facts_of("test_data_parallel:world")
    parameters = tiny.model().num_parameters()
    expected = cost.step_bytes("ddp", 2, parameters)
    assert facts[0]["ddp"]["sent"] == facts[1]["ddp"]["sent"] == STEPS * expected
    # By owner the two send different amounts; together as much as the formula says for both.
    assert sum(each["zero1"]["sent"] for each in facts) == STEPS * 2 * cost.step_bytes("zero1", 2, parameters)
    assert sum(facts[0]["zero1"]["load"]) == parameters
    assert max(facts[0]["zero1"]["load"]) <= 0.55 * parameters


def test_a_gradient_that_some_lack_counts_as_zero_and_one_that_all_lack_stays_away():
    for facts in worlds.facts_of("test_data_parallel:world"):
        assert facts["absent"] == [[2.0] * 6, [1.0] * 6, None]


def test_rows_that_do_not_divide_name_the_nearest_that_do():
    batch = Batch(torch.zeros(7, 2, dtype=torch.int64), torch.zeros(7, 2, dtype=torch.int64))
    with pytest.raises(UsageError, match=r"(?s)7 rows for 3 processes.*6 or 9") as caught:
        share_rows(batch, 0, 3)
    assert caught.value.exit_code == 2


def test_shares_are_all_rows_once():
    ids = torch.arange(12).view(6, 2)
    shares = [share_rows(Batch(ids, ids, {"times": ids[:, 0]}), place, 3) for place in range(3)]
    assert torch.equal(torch.cat([share.inputs for share in shares]), ids)
    assert torch.equal(torch.cat([share.extra["times"] for share in shares]), ids[:, 0])


def test_owners_are_even_and_the_same_every_time():
    named = list(tiny.model().named_parameters())
    first, second = Owners(3), Owners(3)
    first.assign(named)
    second.assign(named)
    assert first.of == second.of and set(first.of) == {name for name, _ in named}
    assert max(first.load) <= 4 / 3 * sum(first.load) / 3 + max(w.numel() for _, w in named)


def test_layouts_that_do_not_fit_are_refused():
    model, config = tiny.model(), tiny.settings()
    for name, sizes, offload, words in (
        ("zero4", None, False, "did you mean"),
        ("ddp", None, False, "needs launched processes"),
        ("alone", {"tp": 2}, False, "only the dimension dp"),
        ("alone", None, True, "no offload"),
    ):
        with pytest.raises(UsageError, match=words):
            launch.layout_from(name, model, config, print, sizes, offload)
