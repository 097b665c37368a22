"""The explanation of an encoding is the encoding: same ids, every step one merge, the tree spells the token."""

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from ownlm.tokenizer import bpe
from ownlm.tokenizer.explain import explain
from ownlm.tokenizer.explained import Node, shown

TEXT = "the lower the newest the widest lower lowest new newer wide 12345 den Löwen über\n" * 40
TOKENIZER = bpe.train([TEXT], 360, "llama3")


def leaves(node: Node) -> bytes:
    return node.text if node.parts is None else leaves(node.parts[0]) + leaves(node.parts[1])


@given(st.text(alphabet=st.sampled_from("the lownrsdi123 öL\n🙂"), max_size=40))
@settings(max_examples=60, deadline=None)
def test_ids_steps_and_trees_agree_with_the_encoder(text: str) -> None:
    found = explain(TOKENIZER, text)
    assert found.ids == TOKENIZER.encode(text)
    assert "".join(piece.text for piece in found.pieces) == text
    for piece in found.pieces:
        assert b"".join(leaves(root) for root in piece.roots) == piece.text.encode()
        assert len(piece.steps) == len(piece.text.encode()) - len(piece.roots)  # each step joins two into one
        tokens = tuple(bytes([b]) for b in piece.text.encode())
        for step in piece.steps:
            at = next(i for i in range(len(tokens)) if tokens[i : i + 2] == (step.left, step.right))
            tokens = (*tokens[:at], step.left + step.right, *tokens[at + 2 :])
            assert step.tokens == tokens, "one merge, at its first place"
        ranks = [step.rank for step in piece.steps]
        merges = TOKENIZER.vocabulary.merges
        for step, rank in zip(piece.steps, ranks, strict=True):
            left, right = merges[rank]
            assert (TOKENIZER.token_bytes(left), TOKENIZER.token_bytes(right)) == (step.left, step.right)


def test_rendering_shows_every_step_and_the_tree() -> None:
    found = explain(TOKENIZER, "the lowest")
    text = found.render()
    assert text.count("rank") == 2 * sum(
        len(piece.steps) for piece in found.pieces
    )  # in the list and in the tree
    assert "├─" in text and "└─" in text and "␣lo" in text
    assert json.loads(json.dumps(found.as_dict()))["ids"] == found.ids


def test_tokens_are_shown_without_loss_of_meaning() -> None:
    assert shown(b" a\n") == "␣a\\n" and shown(b"\xff\x00") == "\\xff\\x00" and shown("ü".encode()) == "ü"
