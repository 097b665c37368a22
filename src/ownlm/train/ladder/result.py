"""What one finished run of a ladder is worth: sizes, tokens, held-out loss, cost. Torch-free.

N counts every weight; n leaves out the embedding (and output) matrix, as in Kaplan et al. 2020 (arXiv:2001.08361,
section 2.1). D is tokens trained on, U how many different ones there were, C = 6 n D operations as in that paper.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ownlm.errors import ArtifactError, DataError
from ownlm.runtime.files import read_json, write_atomic, write_json

RESULTS = "results.jsonl"


@dataclass(frozen=True, slots=True)
class LadderRun:
    """One line of results.jsonl."""

    name: str
    parameters: int  # N
    non_embedding: int  # n
    tokens: int  # D
    unique_tokens: int  # U
    loss: float  # nats per held-out token
    loss_stderr: float  # of that mean, over windows
    flops: float  # of training, with the attention products: count.flops_per_token * D
    seconds: float  # wall time of the training, evaluation left out
    num_layers: int
    hidden_size: int
    num_steps: int
    train_loss: float  # mean of the last tenth of the steps
    digest: str = ""  # of everything that decides the result

    @property
    def compute(self) -> float:
        """6 n D, without attention and embedding."""
        return 6.0 * self.non_embedding * self.tokens

    @property
    def epochs(self) -> float:
        return self.tokens / self.unique_tokens


def write_result(folder: Path, run: LadderRun) -> None:
    write_json(folder / "result.json", dataclasses.asdict(run))


def read_result(folder: Path) -> LadderRun | None:
    """None where the run has not finished."""
    path = folder / "result.json"
    return from_row(read_json(path), str(path)) if path.exists() else None


def from_row(row: dict[str, Any], where: str) -> LadderRun:
    """Raises ArtifactError naming what is missing or unknown."""
    known = {field.name for field in dataclasses.fields(LadderRun)}
    if wrong := sorted((known - {"digest"}) - row.keys() | (row.keys() - known)):
        raise ArtifactError(
            "This is no result of a ladder.",
            f"{where}: missing or unknown: {', '.join(wrong)}",
            "make results with `ownlm scaling run`",
        )
    return LadderRun(**row)


def write_results(path: Path, runs: Iterable[LadderRun]) -> None:
    """One JSON object per line, whole or not at all."""
    write_atomic(path, "".join(json.dumps(dataclasses.asdict(run)) + "\n" for run in runs))


def read_results(path: Path) -> list[LadderRun]:
    """`path`: a ladder's folder, its results.jsonl, or a JSON file with a list under "runs".

    Raises DataError where there is nothing, ArtifactError where it is something else.
    """
    path = path / RESULTS if path.is_dir() else path
    if not path.is_file():
        raise DataError("There are no results here.", str(path), "run `ownlm scaling run` first")
    try:
        if path.suffix == ".json":
            rows = json.loads(path.read_text(encoding="utf-8"))["runs"]
        else:
            rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]
    except (ValueError, KeyError, TypeError) as error:
        raise ArtifactError(
            "The results cannot be read.", f"{path}: {error!r}", "give results.jsonl of a ladder"
        ) from error
    return [from_row(row, f"{path}, run {number + 1}") for number, row in enumerate(rows)]
