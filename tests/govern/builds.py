"""A made-up finished build: real manifests over small files, written by the artifact module itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ownlm.runtime import artifact, files
from ownlm.runtime.artifact import Manifest, Stage

FUNNEL = {"steps": [
    {"step": "read", "num_in": 12, "num_out": 10, "num_dropped": 2, "characters_in": 0, "characters_out": 0,
     "dropped": {"binary": 1, "empty | blank": 1}, "notes": {}},
    {"step": "dedup", "num_in": 10, "num_out": 9, "num_dropped": 1, "characters_in": 0, "characters_out": 0,
     "dropped": {"exact duplicate": 1}, "notes": {"repaired": 4}},
]}  # fmt: skip


def interval(value: float, count: int = 400) -> dict[str, Any]:
    return {"value": value, "low": value - 0.0123456789, "high": value + 0.0234567891, "stderr": 0.01, "count": count,
            "method": "wilson"}  # fmt: skip


EVAL = {
    "heldout": {"bits_per_byte": interval(1.4142135623, 57)},
    "grounded": {"hit@3": interval(0.9125), "right": interval(0.7651)},
    "unanswerable": {"refusal_correct": interval(0.8733, 100)},
    "baselines": [
        {"name": "xz", "bits_per_byte": 1.8181818, "num_bytes": 600_000, "seconds": 1.0, "note": "alone"},
        {
            "name": "kneser_ney_5gram",
            "bits_per_byte": 1.6180339,
            "num_bytes": 600_000,
            "seconds": 9.0,
            "note": "t",
        },
    ],
}
LICENCES = {"PSF-2.0": 6, "unknown": 3}
PREDICTED = {"minutes_total": 7.75, "loss": 4.321}
MEASURED = {"minutes_total": 8.125, "loss": 4.0625}


def make(root: Path, licences: dict[str, int] | None = None, evaluated: bool = True) -> dict[str, Manifest]:
    """corpus -> tokenizer -> shards -> pretrained -> model -> eval under `root`, and the root's own manifest."""
    made: dict[str, Manifest] = {}

    def stage(name: str, inputs: tuple[str, ...], metrics: dict[str, Any], config: dict[str, Any]) -> None:
        def work(stage: Stage) -> None:
            files.write_atomic(stage.folder / f"{name}.txt", f"content of {name}")
            stage.metrics.update(metrics)
            if name in ("corpus", "model"):
                stage.licences.update(LICENCES if licences is None else licences)

        made[name] = artifact.run(root, name, name, {i: made[i] for i in inputs}, config, work)[0]

    sizes = {"train_documents": 8, "train_bytes": 1_234_567, "heldout_documents": 1, "heldout_bytes": 65_432}
    stage("corpus", (), {**sizes, "funnel": FUNNEL}, {"paths": ["/home/somebody/notes"], "seed": 3})
    stage("tokenizer", ("corpus",), {"vocab_size": 8192}, {"family": "llama3"})
    stage("shards", ("corpus", "tokenizer"), {"train_tokens": 345_678}, {})
    stage(
        "pretrained", ("shards",), {"loss": 3.987654321, "parameters": 1_442_432}, {"steps": 410, "depth": 2}
    )
    stage("model", ("pretrained", "tokenizer"), {"loss": 0.5}, {"steps": 200})
    if evaluated:
        stage("eval", ("model", "shards"), EVAL, {"questions": 400})
    artifact.write_root(
        root, "assistant", made, {"seed": 3}, {}, {"predicted": PREDICTED, "measured": MEASURED}
    )
    return made
