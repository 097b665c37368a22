"""The service over an opened assistant: what the page shows of the build, and examples to try."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from ownlm.pipeline import examples
from ownlm.pipeline.assistant import Assistant
from ownlm.records import Question
from ownlm.runtime import artifact
from ownlm.serve.app import create_app
from ownlm.serve.run import hosts_for

_EXAMPLES = 6


def application(assistant: Assistant, host: str, api_key: str | None = None) -> FastAPI:
    return create_app(
        assistant.grounded,
        raw=assistant.raw,
        lineage=assistant.lineage,
        passages=assistant.index,
        model_info=about(assistant),
        examples=_examples(assistant),
        api_key=api_key,
        feedback_path=assistant.root / "feedback.jsonl",
        allowed_hosts=hosts_for(host),
    )


def about(assistant: Assistant) -> dict[str, Any]:
    """What the header and the lineage panel say of the model; from manifests alone."""
    root = assistant.root
    corpus, shards = artifact.read(root / "corpus"), artifact.read(root / "shards")
    return {
        "name": root.name,
        "digest": assistant.manifest.digest,
        "documents": corpus.metrics["train_documents"],
        "tokens": shards.metrics["train_tokens"],
        "parameters": assistant.raw.model.num_parameters(),
        "licences": corpus.licences,
        "context": assistant.raw.max_context,
        "created": assistant.manifest.created,
    }


def _examples(assistant: Assistant) -> list[str]:
    """Short questions of different kinds from held-out documents, and one that the documents do not answer."""
    path = assistant.root / "questions" / examples.EVAL
    found: dict[str, Question] = {}
    for question in examples.read(path):
        known = found.get(question.kind)
        if (
            12 <= len(question.text) <= 60
            and question.text.endswith("?")
            and question.text[0].isupper()
            and known is None
        ):
            found[question.kind] = question
    answerable = [question.text for question in found.values() if question.answerable]
    refused = [question.text for question in found.values() if not question.answerable]
    return answerable[: _EXAMPLES - 1] + refused[:1]
