"""Questions from documents: form of the answers, exactness, determinism, ambiguity, and what is not answerable."""

from __future__ import annotations

import re

import pytest

from ownlm.data.synth.questions import KINDS, REFUSAL, from_document, unanswerable
from ownlm.data.synth.sentences import plain
from ownlm.data.synth.verbs import imperative
from ownlm.evals.grounded import names_subject
from ownlm.records import Document

SOURCE = '''"""Tools for kettles and for the water in them."""

class Kettle:
    """A kettle that can be filled and boiled."""

    def boil(self, minutes):
        """Heat the water until it is boiling hot.

        Returns the temperature in degrees. Raises ValueError when the kettle is empty.
        """
        return 100

    def close(self):
        """Close the lid of the kettle firmly."""

    def _secret(self):
        """Nobody should ask for this one."""

class Pot:
    """A pot without any lid at all."""

    def close(self):
        """Do nothing because there is no lid."""
'''
PAGE = """# Teapots

A teapot is a vessel for brewing tea.

## Cleaning the spout

Use a thin brush for it.

## What is limescale?

Limescale is a hard deposit of minerals.

## Introduction

Words that introduce something here.
"""
STORY = (
    "CHAPTER I\n\nThe house stood at the edge of Marlow Heath. Josiah Amberley, the owner of the old mill, came out.\n\n"
    "A samovar is a metal container for boiling water. They met near the village of Great Missenden at noon.\n\n"
) * 1 + "It was getting late. " * 30


def document(text, source, **meta):
    return Document(f"id-{source}", text, source, "MIT", meta)


DOCUMENTS = [document(SOURCE, "kitchen/kettle.py"), document(PAGE, "teapots.md"), document(STORY, "mill.txt")]


def asked(number, **options):
    return list(from_document(DOCUMENTS[number], most=300, **options))


@pytest.mark.parametrize("number", range(3))
def test_answers_are_verbatim_and_name_the_subject(number):
    source = DOCUMENTS[number]
    found = asked(number)
    assert len(found) >= 5 and len({q.id for q in found}) == len(found) == len(
        {q.text.lower() for q in found}
    )
    for question in found:
        assert question.kind in KINDS and question.answerable and question.document_id == source.id
        assert names_subject(question.subject, question.answer), question
        span = source.text[question.start : question.end]
        assert span.strip() and "\n" not in question.answer
        if question.answer.endswith(f" is in {source.source}."):
            assert question.kind == "which_place"
        else:
            assert question.answer.endswith(f": {plain(span)}")


def test_python_kinds():
    found = {(q.kind, q.subject): q.answer for q in asked(0)}
    assert (
        found["what_is", "kitchen.kettle.Kettle"]
        == "kitchen.kettle.Kettle: A kettle that can be filled and boiled."
    )
    assert found["returns", "kitchen.kettle.Kettle.boil"].endswith(": Returns the temperature in degrees.")
    assert found["raises", "kitchen.kettle.Kettle.boil"].endswith(
        ": Raises ValueError when the kettle is empty."
    )
    assert found["arguments", "kitchen.kettle.Kettle.boil"].endswith(": def boil(self, minutes):")
    assert found["which_place", "kitchen.kettle.Pot"] == "kitchen.kettle.Pot is in kitchen/kettle.py."
    assert any(
        "heat the water until it is boiling hot" in q.text.lower() for q in asked(0) if q.kind == "how_to"
    )


def test_shared_names_are_qualified_and_private_ones_left_out():
    texts = [q.text.lower() for q in asked(0, count_of=lambda name: 1)]
    assert any(re.search(r"(?<!\.)\bboil\b", text) for text in texts if "kettle.boil" not in text)
    assert not any(
        re.search(r"(?<!\.)\bclose\b(?! the)", text)
        for text in texts
        if "kettle.close" not in text and "pot.close" not in text
    )
    assert not any("_secret" in text for text in texts)
    assert not any("what is boil" in q.text.lower() for q in asked(0, count_of=lambda name: 5))


def test_headings_and_definitions():
    texts = {q.text.lower().rstrip("?.") for q in asked(1, count_of=lambda name: 1)}
    assert any("clean the spout" in text for text in texts)
    assert "what is limescale" in texts
    assert any(
        q.subject == "teapot" and q.answer == "Teapots: A teapot is a vessel for brewing tea."
        for q in asked(1)
    )
    assert all("teapots" in q.text.lower() for q in asked(1) if "introduction" in q.text.lower())


def test_stories():
    kinds = {q.subject: q.kind for q in asked(2)}
    assert (
        kinds["Josiah Amberley"] == "who_is"
        and kinds["samovar"] == "what_is"
        and kinds["Great Missenden"] == "about"
    )
    assert not any(q.kind == "about" for q in asked(2, mentions_of=lambda phrase: 3))


def test_deterministic_by_seed():
    assert asked(0, seed=1) == asked(0, seed=1) != asked(0, seed=2)
    few = list(from_document(DOCUMENTS[0], seed=1, most=6))
    assert len(few) == 6 and len({q.kind for q in few}) >= 5  # every kind gets its turn


def test_nothing_from_nothing():
    assert list(from_document(document("x = 1\n", "a.py"))) == []
    assert list(from_document(document("1 2 3", "a.txt"))) == []


def test_unanswerable():
    found = unanswerable(DOCUMENTS, 90, seed=3)
    assert len(found) == 90 == len({q.text.lower() for q in found})
    assert all(q.answer == REFUSAL and not q.answerable and q.document_id == "" == q.subject for q in found)
    assert found == unanswerable(DOCUMENTS, 90, seed=3) != unanswerable(DOCUMENTS, 90, seed=4)
    near = [q for q in found if re.search(r"\b(boil|close|Kettle|Pot)_\w+", q.text)]
    assert near


def test_general_questions_that_the_text_answers_are_left_out():
    text = "The capital of France is Paris. Penicillin was discovered by Fleming."
    found = [q.text for q in unanswerable([document(text, "a.txt")], 400, seed=0)]
    assert not any("France" in question or "penicillin" in question for question in found)
    assert any("Mongolia" in question for question in found)


def test_imperatives():
    assert (
        imperative("Returns") == "return"
        and imperative("running") == "run"
        and imperative("Creating") == "create"
    )
    assert imperative("Copies") == "copy" and imperative("Kettle") == "" and imperative("string") == ""
