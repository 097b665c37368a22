"""Which training passages moved a finished build's model towards an answer? Influence functions on its pretrained model.

Candidates come from the index: passages of training documents that share the most words with the question and answer
(Grosse et al. 2023, arXiv:2308.03296, section 3.2, filter by TF-IDF for the same reason: gradients of everything are dear).
Attributed are the feed-forward weights, as there, and the curvature is that of the candidates. So scores order the
candidates; they say nothing about passages that are none.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from ownlm.data import store
from ownlm.errors import DataError, UsageError
from ownlm.interp import ekfac, influence
from ownlm.interp.gradients import Examples, Trained, of_module
from ownlm.interp.trak import trak
from ownlm.model.adapters import hf
from ownlm.pipeline import texts, training
from ownlm.rag.lexical import LexicalIndex
from ownlm.records import Passage
from ownlm.runtime import artifact
from ownlm.tokenizer.tokenizer import Tokenizer
from ownlm.train.objectives.cross_entropy import IGNORE

Method = Literal["influence", "ekfac", "gradients", "trak"]


@dataclass(frozen=True, slots=True)
class Attribution:
    """Scores in nats: by how much the answer's loss would rise without the passage (an estimate; order counts)."""

    passages: tuple[tuple[float, Passage], ...]  # best first
    num_candidates: int
    num_cut: int  # candidates longer than the context, of which only the beginning counts
    num_weights: int

    def as_dict(self) -> dict[str, Any]:
        rows = [
            {"score": score, "passage": p.id, "document": p.document_id, "source": p.source, "title": p.title,
             "licence": p.licence, "text": p.text}
            for score, p in self.passages
        ]  # fmt: skip
        return {
            "passages": rows,
            "candidates": self.num_candidates,
            "cut": self.num_cut,
            "weights": self.num_weights,
        }


def attribute(
    root: Path,
    question: str,
    answer: str,
    method: Method = "influence",
    candidates: int = 100,
    context: int = 128,
    damping: float = 0.1,
) -> Attribution:
    """`answer` is what is explained, `question` (may be empty) what stood before it. Raises UsageError for an empty
    answer or one that does not fit into `context` tokens, DataError when no training passage shares a word with them,
    ArtifactError when `root` is no finished build."""
    artifact.read(root)
    tokenizer = Tokenizer.load(root / "tokenizer")
    query = _query(tokenizer, question, answer, context)
    trained_on = {document.id for document in store.read_documents(root / "corpus" / texts.TRAIN)}
    index = LexicalIndex(root / "index" / "passages.sqlite")
    found = [p for p in index.search(f"{question} {answer}", candidates) if p.document_id in trained_on]
    if not found:
        raise DataError(
            "No training passage shares a word with this.", repr(answer[:80]), "ask about the corpus"
        )
    bos = tokenizer.special_id("<|bos|>")
    rows = [[bos, *tokenizer.encode(passage.text)] for passage in found]
    module = hf.load(root / training.PRETRAINED)
    model = of_module(module, only=_attributed)
    scores = _scores(method, damping, module)(model, _examples(rows, context), query)
    order = torch.sort(scores[0], descending=True, stable=True).indices.tolist()
    ranked = tuple((float(scores[0, n]), found[n]) for n in order)
    return Attribution(ranked, len(found), sum(len(row) > context + 1 for row in rows), model.num_weights())


def _attributed(name: str) -> bool:
    return ".feed_forward." in name


def _scores(
    method: Method, damping: float, module: Any
) -> Callable[[Trained, Examples, Examples], torch.Tensor]:
    known: dict[str, Callable[[Trained, Examples, Examples], torch.Tensor]] = {
        "influence": lambda m, train, query: influence.conjugate_gradients(
            m, train, query, damping, steps=10
        ),
        "ekfac": lambda _, train, query: ekfac.influence(
            ekfac.fit(module, train, _attributed), train, query, damping
        ),
        "gradients": lambda m, train, query: influence.tracin([m], [1.0], train, query),
        "trak": lambda m, train, query: trak([m], train, query, width=max(8, len(train) // 2)),
    }
    if method not in known:
        raise UsageError("There is no such method.", method, ", ".join(known))
    return known[method]


def _query(tokenizer: Tokenizer, question: str, answer: str, context: int) -> Examples:
    before = [
        tokenizer.special_id("<|bos|>"),
        *(tokenizer.encode(question + " ") if question.strip() else []),
    ]
    ids = [*before, *tokenizer.encode(answer)]
    if not answer.strip() or len(ids) > context + 1:
        raise UsageError("The answer is empty or does not fit.", f"{len(ids)} tokens, {context + 1} are the most",
                         "give a shorter answer, or a larger context")  # fmt: skip
    found = _examples([ids], context)
    found.targets[0, : len(before) - 1] = IGNORE
    return found


def _examples(rows: list[list[int]], context: int) -> Examples:
    """[N, T]: padded on the right with ignored targets, cut to the context."""
    width = min(context, max(len(row) for row in rows) - 1)
    inputs = torch.zeros(len(rows), width, dtype=torch.int64)
    targets = torch.full((len(rows), width), IGNORE)
    for n, row in enumerate(rows):
        ids = torch.tensor(row[: width + 1])
        inputs[n, : len(ids) - 1], targets[n, : len(ids) - 1] = ids[:-1], ids[1:]
    return Examples(inputs, targets)
