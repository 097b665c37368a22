"""A finished build, opened for answering: checks it first, then wires engine, index and grounded answerer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ownlm.data.overlap import Overlap
from ownlm.engine.engine import Engine
from ownlm.errors import ArtifactError, DigestMismatch
from ownlm.govern import trace
from ownlm.model.adapters import hf
from ownlm.rag.answer import GroundedAnswerer
from ownlm.rag.lexical import LexicalIndex
from ownlm.records import Generate
from ownlm.runtime import artifact
from ownlm.runtime.artifact import Manifest
from ownlm.tokenizer.load import load
from ownlm.tokenizer.tokenizer import Tokenizer

NEEDED = ("model", "tokenizer", "index", "overlap")


@dataclass(frozen=True, slots=True)
class Assistant:
    """Everything that answering needs, from one build folder."""

    root: Path
    manifest: Manifest  # of the model
    tokenizer: Tokenizer
    index: LexicalIndex
    overlap: Overlap
    raw: Engine  # the bare language model
    grounded: GroundedAnswerer  # the same model, answering from passages

    def lineage(self, answer: str, passage_ids: tuple[int, ...] = ()) -> dict[str, Any]:
        """Where an answer comes from: passages, overlaps with the training text, the model and its sources."""
        passages = [self.index.passage(number) for number in passage_ids]
        found = trace.trace(answer, self.overlap, self.index, passages=passages)
        return {
            **found.as_dict(),
            "model": {
                "name": self.root.name,
                "digest": self.manifest.digest,
                "inputs": self.manifest.inputs,
                "licences": self.manifest.licences,
            },
        }


@contextmanager
def open_assistant(root: Path, passages: int = 3, max_running: int = 16) -> Iterator[Assistant]:
    """A finished build. Raises ArtifactError when it is none, DigestMismatch naming a changed file."""
    with assemble(root, check(root)["model"], passages, max_running) as assistant:
        yield assistant


@contextmanager
def assemble(root: Path, manifest: Manifest, passages: int, max_running: int = 16) -> Iterator[Assistant]:
    """Wire the parts in `root`; the engine stops when the context ends."""
    tokenizer = Tokenizer.load(root / "model")
    raw = Engine(hf.load(root / "model"), tokenizer, max_running=max_running, name=f"{root.name}:raw")
    index = LexicalIndex(root / "index" / "passages.sqlite")
    overlap = Overlap(root / "overlap")
    grounded = GroundedAnswerer(raw, index, tokenizer, k=passages, name=root.name)
    raw.start()
    try:
        yield Assistant(root, manifest, tokenizer, index, overlap, raw, grounded)
    finally:
        raw.stop()


@contextmanager
def open_generator(root: Path, raw: bool) -> Iterator[Generate]:
    """The grounded assistant of a build; with `raw` the language model alone, of a build, of a pretraining run or in
    a model folder. Raises ArtifactError for a folder that is none of these."""
    alone = next((folder for folder in (root, root / "model") if (folder / "config.json").is_file()), None)
    if raw and alone is not None and not (root / "index").exists():
        tokenizer: Any = load(alone)  # of any kind
        engine = Engine(hf.load(alone), tokenizer, name=f"{root.name}:raw")
        engine.start()
        try:
            yield engine
        finally:
            engine.stop()
        return
    with open_assistant(root) as assistant:
        yield assistant.raw if raw else assistant.grounded


def check(root: Path) -> dict[str, Manifest]:
    """The manifests that answering needs, every file verified and every input the one it was made from."""
    whole = artifact.read(root)
    manifests = {}
    for name in NEEDED:
        if name not in whole.inputs:
            raise ArtifactError(
                "This build is not finished.", f"{root} has no {name}", f"run `ownlm build --out {root}`"
            )
        manifests[name] = artifact.read(root / name)
        problems = artifact.verify(root / name)
        if problems:
            raise DigestMismatch(
                "A file has changed since it was made.",
                "\n".join(problems),
                f"run `ownlm build --out {root}` again",
            )
    model = manifests["model"]
    if model.inputs.get("tokenizer") != manifests["tokenizer"].digest:
        raise ArtifactError(
            "The tokenizer belongs to another model.",
            f"the model was trained with tokenizer {model.inputs.get('tokenizer', '?')[:16]}..., "
            f"{root / 'tokenizer'} is {manifests['tokenizer'].digest[:16]}...",
            f"put the model's own tokenizer back, or run `ownlm build --out {root}`",
        )
    return manifests
