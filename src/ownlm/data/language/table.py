"""The table behind language identification: for each letter n-gram, how much it speaks for each language.

    weight(gram, language) = importance(length) * log(1 + f / floor)

with f the relative frequency of the gram among those of its length, and importance 0.5, 0.5, 1, 1.5 for 1 to 4 letters.

The sum over the n-grams of a text is the log-likelihood ratio of a naive Bayes model against a language of which every
n-gram has frequency `floor`; n-grams of 1 to 4 letters overlap, so the sum is too sure of itself and is tempered
(`identify.py`). Kept are the n-grams that tell languages apart best. The frequencies come from the language models of
the lingua library (Peter M. Stahl, Apache-2.0), which were counted on the Wortschatz corpora of Leipzig University;
`scripts/language_table.py` makes the file from them.

On disk (languages.safetensors, 2 MB): keys uint32 [G], the upper half of each gram's hash; counts uint8 [G], the
languages that have it; language uint8 [N] and weight uint8 [N] (in steps of 1/16), gram after gram; expected float32
[L], the mean weight of one letter position in text of that language. In memory: one byte per gram and language (8 MB)
and 4 MB of slots. Reading: slot = upper 20 bits of the hash; the row there counts when its key is the hash's.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from safetensors import safe_open

from ownlm.data.language import grams
from ownlm.errors import ArtifactError

FILE = Path(__file__).with_name("languages.safetensors")
SLOT_BITS = 20
STEPS = 16.0  # weights are stored in 1/16


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """G grams, L languages."""

    languages: tuple[str, ...]  # ISO 639-1 codes, sorted
    keys: np.ndarray  # uint32 [G + 1]; row 0 is no gram
    slots: np.ndarray  # int32 [2^20], row of the gram with those upper bits, 0 for none
    weights: (
        np.ndarray
    )  # uint8 [G + 1, L rounded up to a multiple of 16], in steps of 1/16; row 0 is all zero
    expected: dict[str, float]  # mean score of a letter in text of that language

    def scores(self, text: str) -> tuple[np.ndarray, int]:
        """Sum of weights per language, float64 [L], and the letters counted, of a lower-cased text."""
        codes, letter = grams.codes_of(text)
        letter = grams.main_script(codes, letter)
        rows = np.concatenate([self._rows(hashes) for hashes in grams.hashes(codes, letter)])
        sums = self.weights.take(rows, axis=0).sum(axis=0, dtype=np.uint64)
        return sums[: len(self.languages)] / STEPS, int(np.count_nonzero(letter))

    def _rows(self, hashes: np.ndarray) -> np.ndarray:
        upper = (hashes >> np.uint64(32)).astype(np.uint32)
        rows = self.slots.take(upper >> np.uint32(32 - SLOT_BITS))
        found: np.ndarray = rows[self.keys.take(rows) == upper]
        return found


@cache
def load(path: Path = FILE) -> Table:
    """Raises ArtifactError when the file is absent or damaged."""
    try:
        with safe_open(path, "numpy") as file:
            languages = tuple(json.loads(file.metadata()["languages"]))
            keys, counts = file.get_tensor("keys"), file.get_tensor("counts")
            language, weight = file.get_tensor("language"), file.get_tensor("weight")
            expected = file.get_tensor("expected")
    except Exception as error:  # safetensors raises its own kinds
        raise ArtifactError(
            "The language table cannot be read.", f"{path}: {error}", "install ownlm again"
        ) from error
    weights = np.zeros((len(keys) + 1, -(-len(languages) // 16) * 16), dtype=np.uint8)
    weights[np.repeat(np.arange(1, len(keys) + 1), counts), language] = weight
    slots = np.zeros(1 << SLOT_BITS, dtype=np.int32)
    slots[keys >> np.uint32(32 - SLOT_BITS)] = np.arange(1, len(keys) + 1, dtype=np.int32)
    return Table(
        languages,
        np.concatenate([np.zeros(1, np.uint32), keys]),
        slots,
        weights,
        dict(zip(languages, expected.tolist(), strict=True)),
    )
