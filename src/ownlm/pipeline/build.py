"""The whole path, in order: read this file to know what `ownlm build` does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ownlm.config import Resolved, flat
from ownlm.govern.card import model_card
from ownlm.pipeline import examples, measuring, planning, texts, training
from ownlm.pipeline.config import BuildSettings
from ownlm.pipeline.journey import Journey
from ownlm.runtime import artifact, files
from ownlm.runtime.artifact import Manifest
from ownlm.runtime.runlog import RunLog


def build(resolved: Resolved[BuildSettings], root: Path, say: Callable[[str], None]) -> Manifest:
    """Text to assistant. Whatever is there already and unchanged is kept; whatever was interrupted goes on."""
    with artifact.exclusive(root):
        journey = Journey(root, resolved, RunLog(root / "run.jsonl"), say)
        journey.log.write("build", settings=flat(resolved.value))
        texts.corpus(journey)
        planning.plan(journey)
        texts.tokenizer(journey)
        texts.shards(journey)
        texts.index(journey)
        texts.fingerprints(journey)
        training.pretrain(journey)
        examples.questions(journey)
        training.finetune(journey)
        measuring.evaluate(journey)
        return _finish(journey)


def _finish(journey: Journey) -> Manifest:
    """The manifest of the whole, and the model card in the model's own folder."""
    root = journey.root
    files.write_json(root / "settings.json", planning.origins(journey))
    manifest = artifact.write_root(
        root,
        "assistant",
        journey.made,
        flat(journey.settings),
        planning.results(journey),
        planning.costs(journey),
    )
    artifact.attach(root / "model", "README.md", model_card(root))
    journey.log.write("build done", digest=manifest.digest)
    return manifest
