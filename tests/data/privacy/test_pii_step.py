"""The step `pii`: options, notes, drops."""

from __future__ import annotations

import pydantic
import pytest

from ownlm.data.filters.pii import Pii
from ownlm.data.flow.step import Note, run_alone
from ownlm.records import Document, Drop

TEXTS = ["Mail a@x.org or b@x.org, call +44 20 7946 0958.", "Nothing here.", "His SSN is 536-90-4399."]
DOCUMENTS = [Document(str(index), text, f"{index}.txt", "MIT", {"k": 1}) for index, text in enumerate(TEXTS)]


def test_replaces_and_counts() -> None:
    out = run_alone(Pii(), DOCUMENTS)
    kept = [one for one in out if isinstance(one, Document)]
    assert [one.text for one in kept] == [
        "Mail [EMAIL] or [EMAIL], call [PHONE].", "Nothing here.", "His SSN is [SSN]."
    ]  # fmt: skip
    assert [(one.id, one.source, one.licence, one.meta) for one in kept] == [
        (one.id, one.source, one.licence, one.meta) for one in DOCUMENTS
    ]
    assert [one for one in out if isinstance(one, Note)] == [
        Note("EMAIL replaced", 2), Note("PHONE replaced", 1), Note("SSN replaced", 1)
    ]  # fmt: skip


def test_drop_keeps_the_data_out_of_the_sample() -> None:
    out = run_alone(Pii(action="drop", most=1), DOCUMENTS)
    dropped, *kept = out
    assert isinstance(dropped, Drop)
    assert dropped.reason == "personal data: EMAIL 2, PHONE 1"
    assert "x.org" not in dropped.sample and "[EMAIL]" in dropped.sample
    assert kept == DOCUMENTS[1:]


def test_types_and_numbers() -> None:
    step = Pii(types=("PERSON", "EMAIL_ADDRESS"), numbered=True)
    document = Document("1", "Dear Jane Fuller, Jane Fuller (j@x.org) called +44 20 7946 0958.", "a")
    (text,) = [one.text for one in run_alone(step, [document]) if isinstance(one, Document)]
    assert text == "Dear [PERSON_1], [PERSON_1] ([EMAIL_1]) called +44 20 7946 0958."


@pytest.mark.parametrize("options", [{"types": ("SHOE_SIZE",)}, {"types": ()}, {"most": -1}, {"colour": 1}])
def test_bad_options(options: dict[str, object]) -> None:
    with pytest.raises(pydantic.ValidationError):
        Pii.model_validate(options)


def test_takes_no_document_early() -> None:
    taken = []

    def source() -> object:
        for document in DOCUMENTS:
            taken.append(document.id)
            yield document

    steps = Pii()(source())  # type: ignore[arg-type]
    for index in range(3):
        while isinstance(next(steps), Note):
            pass
        assert len(taken) == index + 1
