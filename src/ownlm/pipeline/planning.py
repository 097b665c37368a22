"""The plan stage, and what a finished build says about it: where each setting came from, predicted beside measured."""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import Any

from ownlm.config import flat
from ownlm.pipeline.config import BuildSettings
from ownlm.pipeline.journey import Journey
from ownlm.plan import predict
from ownlm.plan.hardware import Machine
from ownlm.plan.plan import Plan
from ownlm.runtime import files, hardware
from ownlm.runtime.artifact import Stage

DEFAULT_MINUTES = 8.0
DERIVED = {"pretrain.steps": "steps", "pretrain.depth": "depth", "sft.steps": "sft_steps"}


def machine(settings: BuildSettings, folder: Path) -> Machine:
    """This machine as the planner sees it; measures the matrix-product peak (about a second)."""
    import torch

    from ownlm.train import peak, precision

    facts = hardware.facts()
    threads = settings.threads or facts.cores
    existing = next(p for p in (folder.resolve(), *folder.resolve().parents) if p.exists())
    chosen, _ = precision.resolve(settings.pretrain.precision, torch.device("cpu"))
    flops = peak.matmul_peak(chosen, "cpu", threads)
    return Machine(flops / 1e9, facts.memory, shutil.disk_usage(existing).free, threads)


def ask(settings: BuildSettings, corpus_bytes: int, of: Machine, **known: int) -> Plan:
    return predict.plan(
        corpus_bytes, machine=of, minutes=settings.minutes or DEFAULT_MINUTES,
        depth=settings.pretrain.depth, steps=settings.pretrain.steps, sft_steps=settings.sft.steps,
        vocab_size=settings.tokenizer.vocab_size, context=settings.pretrain.context,
        batch_tokens=settings.pretrain.batch_tokens, sft_context=settings.sft.context,
        sft_batch_tokens=settings.sft.batch_tokens, sft_questions=settings.sft.questions,
        eval_questions=settings.eval.questions + settings.eval.unanswerable, baselines=settings.eval.baselines,
        heldout_fraction=settings.data.heldout_fraction, **known,
    )  # fmt: skip


def plan(journey: Journey) -> None:
    """Settle every derived number once; a resumed build keeps the plan that it began with."""
    settings = journey.settings
    config = {key: value for key, value in flat(settings).items() if not key.startswith("data.")}

    def work(stage: Stage) -> None:
        sizes = journey.made["corpus"].metrics
        total = sizes["train_bytes"] + sizes["heldout_bytes"]
        found = ask(settings, total, machine(settings, journey.root),
                    train_bytes=sizes["train_bytes"], heldout_bytes=sizes["heldout_bytes"])  # fmt: skip
        files.write_json(stage.folder / "plan.json", found.as_dict())
        stage.metrics.update({q.name: q.value for q in found.quantities})

    journey.make("plan", ("corpus",), config, work)
    journey.plan = Plan.from_dict(files.read_json(journey.root / "plan" / "plan.json"))
    p = journey.plan
    journey.say(
        f"plan         {p.quantity('parameters').text()} parameters (depth {p.integer('depth')}), "
        f"{p.integer('steps')} steps x {p.integer('batch_tokens')} tokens, then {p.integer('sft_steps')} of fine-tuning; "
        f"expected {p['bits_per_byte']:.2f} bits per byte after {p['minutes_total']:.1f} minutes"
    )
    for notice in p.notices:
        journey.say(f"note: {notice}")


def origins(journey: Journey) -> dict[str, dict[str, Any]]:
    """Every setting with its final value and where that came from."""
    assert journey.plan is not None
    rows = {}
    for key, value in flat(journey.settings).items():
        origin = journey.resolved.origins[key]
        if value is None and key in DERIVED:
            quantity = journey.plan.quantity(DERIVED[key])
            value, origin = int(quantity.value), f"derived: {quantity.formula}"
        elif key == "minutes" and value is None:
            value = DEFAULT_MINUTES
        rows[key] = {"value": value, "origin": origin}
    return rows


def costs(journey: Journey) -> dict[str, Any]:
    """Predicted beside measured, by the names of the plan."""
    assert journey.plan is not None
    found = measured(journey)
    return {"predicted": {name: journey.plan[name] for name in found}, "measured": found}


def measured(journey: Journey) -> dict[str, float]:
    """What the finished stages measured of what the plan predicted."""
    assert journey.plan is not None
    made = journey.made
    seconds = {name: manifest.cost["measured"]["seconds"] for name, manifest in made.items()}
    found = {f"minutes_{name}": value / 60 for name, value in seconds.items()}
    found["minutes_total"] = sum(seconds.values()) / 60
    found["unique_tokens"] = made["shards"].metrics["train_tokens"]
    found["bytes_per_token"] = made["shards"].metrics["train_bytes"] / made["shards"].metrics["train_tokens"]
    for name in ("parameters", "tokens_per_second"):
        found[name] = made["pretrained"].metrics[name]
    heldout = made["eval"].metrics.get("heldout", {}).get("bits_per_byte")
    if heldout:
        found["bits_per_byte"] = heldout["value"]
        found["loss"] = heldout["value"] * math.log(2) * found["bytes_per_token"]
    return {name: value for name, value in found.items() if name in journey.plan}


def results(journey: Journey) -> dict[str, Any]:
    return {"pretrained": journey.made["pretrained"].metrics, "eval": journey.made["eval"].metrics}
