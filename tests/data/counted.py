"""One step over documents in memory, with the counts that a run keeps."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from ownlm.data.flow import chain
from ownlm.data.flow.chain import Dropped, Noted, Passed
from ownlm.data.flow.step import CorpusStep, Step
from ownlm.data.funnel import Funnel
from ownlm.records import Document


def counted(
    name: str, step: Step | CorpusStep, documents: Iterable[Document], funnel: Funnel
) -> list[Document]:
    given, kept = list(documents), []
    transform: chain.Transform
    if isinstance(step, CorpusStep):
        (decision,) = step.decide([step.sketch(iter(given))])
        transform = partial(step.apply, decision=decision)
    else:
        transform = step

    def emit(event: Passed | Dropped | Noted) -> None:
        if isinstance(event, Passed):
            funnel.passed(name, *event.trace)
            kept.append(event.document)
        elif isinstance(event, Dropped):
            funnel.dropped(event.drop, event.trace[-1])
        else:
            funnel.note(name, event.note.change, event.note.count)

    chain.run(iter(given), [(name, transform)], emit)
    return kept
