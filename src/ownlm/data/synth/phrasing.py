"""How questions are worded: several templates a kind, and the ways people type. {x} is what is asked about."""

from __future__ import annotations

import numpy as np
import regex

WHAT_IS = ("What is {x}?", "What's {x}?", "What is {x}?", "Explain {x}.", "Can you explain {x}?", "Tell me about {x}.",
           "What does {x} mean?", "Describe {x}", "what is {x}", "{x}?", "What do you know about {x}?")  # fmt: skip
WHAT_DOES = ("What does {x} do?", "What is {x} for?", "What is {x}?", "Explain {x}.", "What's the purpose of {x}?",
             "what does {x} do", "When would I use {x}?", "Describe what {x} does.", "What can I use {x} for?",
             "Tell me what {x} does.", "What happens when I call {x}?", "What is the use of {x}?")  # fmt: skip
WHAT_ARE = ("What are {x}?", "Explain {x}.", "Tell me about {x}.", "what are {x}", "What do you know about {x}?",
            "Describe {x}.")  # fmt: skip
HOW_TO = ("How do I {x}?", "How can I {x}?", "How to {x}?", "how do i {x}", "How would one {x}?", "I want to {x}. How?",
          "What is the way to {x}?", "How does one {x}?")  # fmt: skip
WHAT_TO_USE = ("What can I use to {x}?", "Which function do I use to {x}?", "What should I call to {x}?",
               "Is there something to {x}?")  # fmt: skip
WHERE = ("Where is {x} defined?", "Which module has {x}?", "Where can I find {x}?", "In which file is {x}?",
         "Which module contains {x}?", "where is {x}", "What module is {x} in?", "Where does {x} come from?")  # fmt: skip
WHERE_CODE = ("Where is {x} defined?", "Which file has {x}?", "Where can I find {x}?", "In which file is {x}?",
              "Which file contains {x}?", "where is {x} implemented")  # fmt: skip
WHERE_ABOUT = ("Where is {x} described?", "Which section covers {x}?", "Where can I read about {x}?",
               "Which page explains {x}?", "Where do I find something about {x}?", "where is {x} documented",
               "Which part is about {x}?")  # fmt: skip
RETURNS = ("What does {x} return?", "What is the return value of {x}?", "what does {x} return", "What do I get back from {x}?",
           "What does calling {x} give me back?", "What is returned by {x}?")  # fmt: skip
ARGUMENTS = ("What arguments does {x} take?", "What is the signature of {x}?", "Which parameters does {x} have?",
             "How do I call {x}?", "What are the parameters of {x}?", "what arguments does {x} take")  # fmt: skip
RAISES = ("What does {x} raise?", "When does {x} raise an error?", "Which exception does {x} raise?",
          "What errors can {x} raise?")  # fmt: skip
WHO_IS = (
    "Who is {x}?",
    "Who's {x}?",
    "Tell me about {x}.",
    "who is {x}",
    "What do you know about {x}?",
    "Who was {x}?",
)
ABOUT = ("What is said about {x}?", "What does the text say about {x}?", "Tell me about {x}.", "What about {x}?",
         "What do we learn about {x}?", "Where is {x} mentioned?", "What does it say about {x}?")  # fmt: skip
SECTION = ("What does the section on {x} say?", "What is {x} about?", "Tell me about {x}.", "Explain {x}.",
           "How does {x} work?", "What should I know about {x}?")  # fmt: skip

LOWER_CASE, NO_MARK, TYPO = 0.15, 0.2, 0.04  # shares of the questions typed so


def ask(templates: tuple[str, ...], x: str, draw: np.random.Generator) -> str:
    """A question about x, worded and typed as drawn. What is asked about keeps its spelling."""
    template = templates[int(draw.integers(len(templates)))]
    if draw.random() < TYPO:
        template = _typo(template, draw)
    if draw.random() < LOWER_CASE:
        template = template[:1].lower() + template[1:] if not template.startswith("{") else template
    if draw.random() < NO_MARK:
        template = template.rstrip("?.")
    return template.replace("{x}", x)


def _typo(template: str, draw: np.random.Generator) -> str:
    """Two neighbouring letters of a longer word of the template swapped."""
    words = [match.span() for match in regex.finditer(r"(?<!\{)\b[a-z]{5,}\b(?!\})", template)]
    if not words:
        return template
    start, end = words[int(draw.integers(len(words)))]
    at = int(draw.integers(start + 1, end - 1))
    return template[:at] + template[at + 1] + template[at] + template[at + 2 :]
