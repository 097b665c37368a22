"""Scores are the bits of the model, in any batches; a second round built from them is the cleaner corpus."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch

from ownlm.data.filters.by_score import ByScore
from ownlm.data.flow.step import run_alone
from ownlm.errors import UsageError
from ownlm.model.config import ModelConfig
from ownlm.model.decoder import Decoder
from ownlm.pipeline import rescore
from ownlm.records import Document

MODEL = Decoder(ModelConfig(257, 16, 32, 1, 1, 1, 16, 64), 0)


def encode(texts: Sequence[str]) -> list[np.ndarray]:
    return [np.frombuffer(text.encode(), np.uint8) for text in texts]


def test_scores_are_bits_per_byte(monkeypatch: pytest.MonkeyPatch) -> None:
    documents = [
        Document(str(n), text, "", meta={"title": "t"}) for n, text in enumerate(["abc", "", "hello é", "z"])
    ]
    found = list(rescore.scored(documents, MODEL, encode, 256, 64))
    assert [d.id for d in found] == ["0", "1", "2", "3"] and found[1].meta == {"title": "t"}
    for document in (found[0], found[2]):
        ids = [256, *document.text.encode()]
        logits = MODEL(torch.tensor([ids]))[0]
        nats = torch.nn.functional.cross_entropy(logits[:-1], torch.tensor(ids[1:]), reduction="sum")
        expected = float(nats) / math.log(2) / (len(ids) - 1)
        assert document.meta["model_bits"] == pytest.approx(expected, abs=1e-5)
        assert document.meta["title"] == "t"
    monkeypatch.setattr(rescore, "DOCUMENTS", 1)
    alone = list(rescore.scored(documents, MODEL, encode, 256, 64))
    assert [d.meta.get("model_bits") for d in alone] == pytest.approx(
        [d.meta.get("model_bits") for d in found], abs=1e-5
    )


def test_the_step_takes_what_the_model_wrote() -> None:
    documents = list(
        rescore.scored([Document(str(n), "word " * n, "") for n in range(1, 9)], MODEL, encode, 256, 64)
    )
    kept = [d for d in run_alone(ByScore(fraction=0.5), documents) if isinstance(d, Document)]
    assert len(kept) == 4
    assert max(d.meta["model_bits"] for d in kept) <= min(
        d.meta["model_bits"] for d in documents if d not in kept
    )


def test_a_context_is_needed() -> None:
    with pytest.raises(UsageError):
        next(rescore.scored([Document("a", "a", "")], MODEL, encode, 256, 1))
