"""In which order the documents of a shard are read: arrays of document numbers for `pack.plan_rows`.

An order names every document as often as its `repeat` says, and no more. Scores ascend from easy to hard: perplexity
does, a quality score is turned round with `hardest_first`. To keep an order, the stream must not shuffle it away:
TokenStream(..., shuffle=0), or a small window.

as-stored       round after round: all documents, then those that are read twice, ...
shuffled        a random order; repeats fall anywhere
sorted          by score, easiest or hardest first (curriculum learning, Bengio et al. 2009; the reverse is "anti")
bucketed        by score in buckets of equal size, shuffled inside each: a curriculum without runs of equal texts
interleaved     sources in turn, by their share, so that any stretch has the mix of the whole
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

import numpy as np

from ownlm.data.pack.plan import in_rounds
from ownlm.data.shards import Shards
from ownlm.errors import ArtifactError, DataError, UsageError
from ownlm.runtime.files import open_atomic, read_json, sha256_file, write_json
from ownlm.runtime.seed import generator

Order = Literal["as-stored", "shuffled", "sorted", "bucketed", "interleaved"]
_FIX = "make the order again"


def document_scores(shards: Shards, key: str) -> np.ndarray:
    """One number per document, float64: "length" is its tokens, anything else a kept meta key.

    Raises DataError when a document has no such number.
    """
    if key == "length":
        return shards.document_lengths.astype(np.float64)
    scores = np.empty(shards.num_documents)
    for number, (_, source, _, _, kept) in enumerate(shards.lines()):
        value = kept.get(key)
        if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
            raise DataError(
                "A document has no score to be ordered by.",
                f"{source}: {key} is {value!r}",
                f'score the documents first and write the shards with keep_meta=["{key}"]',
            )
        scores[number] = value
    return scores


def make_order(
    shards: Shards,
    order: Order,
    *,
    by: str = "length",
    hardest_first: bool = False,
    buckets: int = 10,
    seed: int = 0,
) -> np.ndarray:
    """Document numbers, int64 [sum of repeats]. `by`, `hardest_first`: sorted, bucketed; `seed`: what is random.

    Memory: about 50 bytes per document. Raises UsageError for an unknown order.
    """
    numbers = in_rounds(shards.repeats)
    if order == "as-stored":
        return numbers
    random = generator(seed, "document order", order)
    if order == "shuffled":
        return random.permutation(numbers)
    if order == "sorted":
        return _sorted(numbers, document_scores(shards, by), hardest_first)
    if order == "bucketed":
        if buckets < 1:
            raise UsageError("An order needs at least one bucket.", f"buckets {buckets}", "e.g. 10")
        ranked = _sorted(numbers, document_scores(shards, by), hardest_first)
        return np.concatenate([random.permutation(part) for part in np.array_split(ranked, buckets)])
    if order == "interleaved":
        return _interleaved(shards, random.permutation(numbers))
    raise UsageError(
        "There is no such order.", repr(order), "as-stored, shuffled, sorted, bucketed, interleaved"
    )


def _sorted(numbers: np.ndarray, scores: np.ndarray, hardest_first: bool) -> np.ndarray:
    """Equal scores keep their order both ways."""
    sign = -1.0 if hardest_first else 1.0
    return numbers[np.argsort(sign * scores[numbers], kind="stable")]


def _interleaved(shards: Shards, numbers: np.ndarray) -> np.ndarray:
    """The n-th of a source's N documents stands at (n + 1/2) / N of the whole, by tokens."""
    names: dict[str, int] = {}
    source = np.array([names.setdefault(line[3], len(names)) for line in shards.lines()], np.int64)[numbers]
    lengths = shards.document_lengths[numbers].astype(np.float64)
    place = np.empty(len(numbers))
    for which in range(len(names)):
        mine = source == which
        ends = np.cumsum(lengths[mine])
        if len(ends):
            place[mine] = (ends - lengths[mine] / 2) / ends[-1]
    return numbers[np.argsort(place, kind="stable")]


def save_order(path: Path | str, order: np.ndarray, shards: Shards, made: dict[str, object]) -> None:
    """PATH.npy, and PATH.json with how it was made and of which shard."""
    with open_atomic(Path(f"{path}.npy")) as file:
        np.lib.format.write_array(file, np.asarray(order, np.int64), allow_pickle=False)
    write_json(
        Path(f"{path}.json"),
        {
            "version": 1, "made": json.loads(json.dumps(made)), "length": len(order),
            "sha256": sha256_file(f"{path}.npy"), "shard_digest": shards.digest,
        },
    )  # fmt: skip


def load_order(path: Path | str, shards: Shards) -> np.ndarray:
    """Raises ArtifactError when the order is damaged or of another shard."""
    facts = read_json(Path(f"{path}.json"))
    if not isinstance(facts, dict) or facts.get("version") != 1:
        raise ArtifactError("This is not an order of documents.", f"{path}.json", _FIX)
    if facts.get("shard_digest") != shards.digest:
        raise ArtifactError("The order is of another shard.", str(path), _FIX)
    file = Path(f"{path}.npy")
    if not file.is_file() or sha256_file(file) != facts.get("sha256"):
        raise ArtifactError("An order of documents is missing or damaged.", str(file), _FIX)
    order: np.ndarray = np.load(file, allow_pickle=False)
    return order
