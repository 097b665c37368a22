"""ZeRO stages 2 and 3 against one process, and the bytes they hold against the formula."""

import pytest
import world as tiny
import worlds
from safetensors.torch import load_file
from sharded_runs import furthest, keep, losses, run, same_on_all
from test_data_parallel import alone

from ownlm.train.parallel import cost

RUNS = {"zero2 adamw": ("zero2", "adamw"), "zero3": ("zero3", "muon")}


def world(place, folder):
    facts = {}
    for key, (name, optimizer) in RUNS.items():
        changes = {"checkpoint_steps": 10} if key == "zero3" else {}
        layout, model, records = run(name, folder / key, optimizer, **changes)
        held = layout.held_bytes()
        keep(model, place, folder / f"{key}.safetensors")
        facts[key] = {"losses": losses(records), "same": same_on_all(model), "held": held,
                      "whole": layout.owners.load}  # fmt: skip
    facts["at once"] = {name: gathered(name) for name in ("zero2", "zero3")}
    facts["bfloat16"] = bfloat16(folder)
    return facts


def gathered(name):
    """Most bytes held beside the shards at the end of a block's forward, and gradients after the backward."""
    from ownlm.train.objectives.causal import Causal
    from ownlm.train.parallel import launch

    model = tiny.model()
    layout = launch.layout_from(name, model, tiny.settings(), print)
    seen = []
    for block in model.blocks:
        block.mixer.register_forward_hook(lambda *_: seen.append(layout.held_bytes()["gathered"]))
    batch = layout.share(tiny.batches()(0))
    loss = Causal()(model, batch, 256)
    seen.append(layout.held_bytes()["gathered"])
    loss.backward()
    return [max(seen), layout.held_bytes()]


def bfloat16(folder):
    """Weights gathered in bfloat16, shards and sums in float32."""
    layout, _, records = run("zero3", folder / "bfloat16", "adamw", num_steps=3, precision="bfloat16")
    return {"losses": losses(records), "shard": str(layout.local[0].dtype)}


@pytest.mark.parametrize("key", list(RUNS))
def test_sharded_processes_train_as_one(key):
    facts = [each[key] for each in worlds.facts_of("test_fully_sharded:world")]
    weights, single = alone(RUNS[key][1])
    assert facts[0]["losses"] == facts[1]["losses"] and facts[1]["same"]
    assert facts[0]["losses"] == pytest.approx(single, rel=1e-5)
    assert furthest(load_file(worlds.two()[1] / f"{key}.safetensors"), weights) <= 1e-5


@pytest.mark.parametrize("name", ["zero2", "zero3"])
def test_memory_is_what_the_formula_says(name):
    parameters = tiny.model().num_parameters()
    block = sum(weight.numel() for weight in tiny.model().blocks[0].parameters())
    rest = parameters - 2 * block
    for facts in worlds.facts_of("test_fully_sharded:world"):
        most, after = facts["at once"][name]
        formula = cost.memory(name, 2, parameters, gathered=rest + block)
        assert after["shards"] == parameters * 4 / 2 and after["gathered"] == 0
        assert after["gradients"] == formula.gradients
        assert most + after["shards"] == formula.weights


def test_what_needs_whole_matrices_is_shared_out_too():
    weights = dict(tiny.model().named_parameters())
    matrices = sum(w.numel() for n, w in weights.items() if n.startswith("blocks.") and w.ndim > 1)
    for facts in worlds.facts_of("test_fully_sharded:world"):
        assert sum(facts["zero3"]["whole"]) == matrices
        assert max(facts["zero3"]["whole"]) <= 0.55 * matrices
        assert sum(facts["zero2 adamw"]["whole"]) == 0  # every entry by itself: nothing is gathered


def test_bfloat16_keeps_float32_shards_and_follows_the_loss():
    for facts in worlds.facts_of("test_fully_sharded:world"):
        assert facts["bfloat16"]["shard"] == "torch.float32"
        assert facts["bfloat16"]["losses"] == pytest.approx(alone("adamw")[1][:3], rel=0.01)
        assert facts["bfloat16"]["losses"] != alone("adamw")[1][:3]
