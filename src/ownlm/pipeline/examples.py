"""Questions written from the documents, and the conversations that they become for fine-tuning."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from ownlm.data import store
from ownlm.data.synth import questions as synth
from ownlm.evals.grounded import overlaps
from ownlm.pipeline import texts
from ownlm.pipeline.journey import Journey
from ownlm.rag.grounding import REFUSAL, claims
from ownlm.rag.lexical import LexicalIndex
from ownlm.rag.prompt import prompt_for, worth_reading
from ownlm.records import Document, Message, Passage, Question
from ownlm.runtime.artifact import Stage
from ownlm.runtime.progress import Progress
from ownlm.runtime.seed import generator

Conversation = tuple[Sequence[Passage], Sequence[Message]]

TRAIN, EVAL = "train.jsonl.zst", "eval.jsonl.zst"
EXPECTED_TOKENS = 240  # of a conversation with three passages; decides how many are worth writing
EPOCHS = 1.5  # a second look at a conversation costs nothing to prepare
UNANSWERABLE_SHARE = 0.05  # of the training questions
WITHHELD_SHARE = (
    0.05  # of the answerable questions, to learn to refuse from passages that are near but silent
)
_LOOK_DOWN = 30  # how far down the ranking the answering passage is looked for
_SPREAD = 3  # questions written for each one wanted, so that a seeded choice can mix the documents


def questions(journey: Journey) -> None:
    """Instruction pairs from training documents; evaluation questions from held-out documents, never trained on."""
    settings, plan = journey.settings, journey.plan
    assert plan is not None
    steps = plan.integer("sft_steps")
    wanted = min(settings.sft.questions, num_wanted(steps, settings.sft.batch_tokens))
    config = {
        "train": wanted,
        "eval": settings.eval.questions,
        "unanswerable": settings.eval.unanswerable,
        "seed": settings.seed,
    }

    def work(stage: Stage) -> None:
        index = LexicalIndex(journey.root / "index" / "passages.sqlite")
        sizes = journey.made["corpus"].metrics
        refused = math.ceil(wanted * UNANSWERABLE_SHARE)
        train = _written(
            texts.train_documents(journey),
            sizes["train_documents"],
            wanted - refused,
            index,
            settings.seed,
            "questions",
        )
        sample = _spread(texts.train_documents(journey), sizes["train_documents"])
        train += synth.unanswerable(sample, refused, seed=settings.seed + 1, together=index.together)
        train = [train[i] for i in generator(settings.seed, "mix questions").permutation(len(train))]
        heldout = _written(
            texts.heldout_documents(journey),
            sizes["heldout_documents"],
            settings.eval.questions,
            index,
            settings.seed,
            "eval set",
        )
        sample = _spread(texts.heldout_documents(journey), sizes["heldout_documents"])
        heldout += synth.unanswerable(
            sample, settings.eval.unanswerable, seed=settings.seed + 2, together=index.together
        )
        store.write_rows(stage.folder / TRAIN, map(asdict, train))
        store.write_rows(stage.folder / EVAL, map(asdict, heldout))
        stage.metrics.update(train=_kinds(train), eval=_kinds(heldout))

    journey.make("questions", ("corpus", "index"), config, work)


def num_wanted(num_steps: int, batch_tokens: int) -> int:
    """Conversations for so many steps of fine-tuning, each used about EPOCHS times."""
    return 1 + int(num_steps * batch_tokens / EXPECTED_TOKENS / EPOCHS)


def _written(
    documents: Iterable[Document], count: int, wanted: int, index: LexicalIndex, seed: int, label: str
) -> list[Question]:
    """At most `wanted` questions, evenly over the documents as far as they have any."""
    if count == 0 or wanted == 0:
        return []
    most = max(6, math.ceil(_SPREAD * wanted / count))
    found: list[Question] = []
    with Progress(label, total=count, unit="documents") as progress:
        for document in documents:
            found += synth.from_document(
                document, seed=seed, most=most, count_of=index.sections_named, mentions_of=index.mentions
            )
            progress.update(1, questions=len(found))
    order = generator(seed, "choose questions", label).permutation(len(found))[:wanted]
    return [found[i] for i in sorted(order)]


def _spread(documents: Iterable[Document], count: int, most: int = 200) -> list[Document]:
    every = max(1, count // most)
    return [document for number, document in enumerate(documents) if number % every == 0]


def _kinds(found: Iterable[Question]) -> dict[str, int]:
    kinds: dict[str, int] = {}
    for question in found:
        kinds[question.kind] = kinds.get(question.kind, 0) + 1
    return dict(sorted(kinds.items()))


def read(path: Path) -> Iterator[Question]:
    for row in store.read_rows(path):
        yield Question(**row)


def read_training(root: Path) -> list[Question]:
    return list(read(root / "questions" / TRAIN))


@dataclass(frozen=True, slots=True)
class Made:
    """A conversation, or None where none could be made; `note` says what had to be done to it."""

    conversation: Conversation | None
    note: tuple[str, ...] = ()


def conversation(question: Question, index: LexicalIndex, k: int, seed: int) -> Made:
    """A question with the passages that retrieval finds and its grounded answer, as service and evaluation see it.

    Where retrieval misses the passage that answers, it takes a random place among the k; None when it is not among
    the first 30 either, or when the answer is no claim that the passages allow. A few lose their passage on purpose:
    to what stands in none of the passages the answer is the refusal, however near they are.
    """
    passages = worth_reading(index.search(question.text, k))
    if not question.answerable:
        return Made(_spoken(question, passages, REFUSAL))
    draw = generator(seed, "conversation")
    if draw.random() < WITHHELD_SHARE:
        near = [
            p for p in index.search(question.text, _LOOK_DOWN) if question.subject not in p.text + p.title
        ]
        return Made(_spoken(question, near[:k], REFUSAL), ("the answering passage was taken out",))
    note: tuple[str, ...] = ()
    if _answering(question, passages) is None:
        deeper = index.search(question.text, _LOOK_DOWN)
        found = _answering(question, deeper)
        if found is None:
            return Made(None, ("the answering passage is not found",))
        at = int(draw.integers(max(1, len(passages))))
        passages = [*passages[:at], deeper[found], *passages[at + 1 :]]
        note = ("the answering passage was put in",)
    said = next(
        (claim.text for claim in claims(passages) if claim.text.rpartition(" [")[0] == question.answer), None
    )
    if said is None:
        return Made(None, ("the answer is not quotable",))
    return Made(_spoken(question, passages, said), note)


def _answering(question: Question, passages: Sequence[Passage]) -> int | None:
    return next(
        (n for n, p in enumerate(passages) if overlaps(question, p.document_id, p.start, p.end)), None
    )


def _spoken(question: Question, passages: Sequence[Passage], answer: str) -> Conversation:
    messages, documents = prompt_for(question.text, passages)
    return documents, (*messages, Message("assistant", answer))
