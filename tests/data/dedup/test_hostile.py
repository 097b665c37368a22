"""Text made to be slow or to break (RELIABILITY C5), quick size: time may not grow faster than the text."""

from __future__ import annotations

import time

import pytest
from growth import check_growth

from ownlm.data.dedup.exact import ExactDuplicates
from ownlm.data.dedup.lines import LineDuplicates, ParagraphDuplicates
from ownlm.data.dedup.minhash import MinHash
from ownlm.data.dedup.semantic import SemanticDuplicates
from ownlm.data.dedup.simhash import SimHash
from ownlm.data.dedup.substrings import SubstringDuplicates
from ownlm.data.flow.step import run_alone
from ownlm.records import Document, Drop

STEPS = [MinHash(), SimHash(), ExactDuplicates(), LineDuplicates(), ParagraphDuplicates(), SubstringDuplicates(),
         SubstringDuplicates(unit="characters"), SubstringDuplicates(method="windows"), SemanticDuplicates()]  # fmt: skip
SMALL, LARGE = 1 << 12, 1 << 18  # 64 times as long: a quadratic step would take 4,096 times as long
HOSTILE = {
    "one word": lambda n: "a" * n,
    "one word again and again": lambda n: "a " * (n // 2),
    "blank lines": lambda n: "\n" * n,
    "separators": lambda n: ".-" * (n // 2),
    "one line again and again": lambda n: "the same line of text\n" * (n // 22),
    "words of their own": lambda n: "我" * n,
    "surrogates and marks": lambda n: "\udc80\u0301\x00" * (n // 3),
}


@pytest.mark.parametrize("kind", HOSTILE)
@pytest.mark.parametrize("step", STEPS, ids=lambda step: f"{type(step).__name__}-{len(repr(step))}")
def test_linear_time_and_every_document_accounted_for(step, kind):
    def seconds(size: int) -> float:
        items = [Document(str(number), HOSTILE[kind](size), str(number)) for number in range(2)]
        start = time.process_time()
        output = run_alone(step, items)
        taken = time.process_time() - start
        assert sum(isinstance(item, (Document, Drop)) for item in output) == 2
        return taken

    seconds(64)
    check_growth(seconds, SMALL, LARGE, most=5 * LARGE // SMALL, floor=1e-3)
