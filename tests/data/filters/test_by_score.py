"""The asked part is kept, whatever the corpus is cut into."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ownlm.data.filters.by_score import ByScore
from ownlm.data.flow.step import run_alone
from ownlm.errors import UsageError
from ownlm.records import Document, Drop


def corpus(scores: list[float | None]) -> list[Document]:
    return [
        Document(str(n), "text", str(n), meta={} if s is None else {"model_bits": s})
        for n, s in enumerate(scores)
    ]


@pytest.mark.parametrize(("part", "kept"), [("lowest", "13"), ("middle", "30"), ("highest", "02")])
def test_parts_by_hand(part: str, kept: str) -> None:
    found = run_alone(ByScore(fraction=0.5, part=part), corpus([3, 0.5, 9, 1]))  # type: ignore[arg-type]
    assert {d.id for d in found if isinstance(d, Document)} == set(kept)


def test_documents_without_a_score_are_said() -> None:
    found = run_alone(ByScore(fraction=1.0), corpus([1.0, None]))
    assert isinstance(found[1], Drop) and found[1].reason.startswith("no score")
    assert len([d for d in run_alone(ByScore(fraction=1.0, without="keep"), corpus([1.0, None]))]) == 2
    with pytest.raises(UsageError, match="is a number"):
        run_alone(ByScore(fraction=1.0), [Document("a", "t", "s", meta={"model_bits": "high"})])


@settings(max_examples=50)
@given(st.lists(st.integers(0, 5) | st.floats(-5, 5), min_size=1, max_size=30), st.floats(0.05, 1), st.data())
def test_any_cut_gives_the_same_and_at_least_the_asked_share(scores: list, fraction: float, data) -> None:
    step, documents = ByScore(fraction=fraction, part="highest"), corpus(scores)
    cut = data.draw(st.integers(0, len(documents)))
    parts = [documents[:cut], documents[cut:]]
    decisions = step.decide([step.sketch(iter(part)) for part in parts])
    found = [item for part, d in zip(parts, decisions, strict=True) for item in step.apply(iter(part), d)]
    assert found == run_alone(step, documents)
    kept = [float(d.meta["model_bits"]) for d in found if isinstance(d, Document)]
    assert len(kept) >= max(1, round(fraction * len(scores)))
    assert kept and min(kept) >= max((s for s in scores if s < min(kept)), default=-math.inf)
