"""Whether an SPDX licence expression is satisfied by the licences that are allowed.

AND binds tighter than OR; the exception after WITH only grants more and is not looked at; `GPL-2.0+` is read as
GPL-2.0. What is no expression is taken as the name of one licence.
"""

from __future__ import annotations

import re
from collections.abc import Callable

_TOKEN = re.compile(r"[()]|[^\s()]+")
_MOST_TOKENS = 200  # a longer expression is not satisfied
_BINDING = {"OR": 1, "AND": 2}


def holds(expression: str, allowed: Callable[[str], bool]) -> bool:
    tokens = _TOKEN.findall(expression)
    if len(tokens) > _MOST_TOKENS:
        return False
    try:
        return _evaluate(tokens, allowed)
    except ValueError:
        return allowed(expression.strip())


def _evaluate(tokens: list[str], allowed: Callable[[str], bool]) -> bool:
    """A shunting yard over truth values: no recursion, so nesting cannot exhaust the stack."""
    values: list[bool] = []
    operators: list[str] = []
    skip = False
    for token in tokens:
        word = token.upper()
        if skip:
            skip = False
        elif word == "WITH":
            skip = True
        elif word == "(":
            operators.append(word)
        elif word == ")":
            _reduce(values, operators, 0)
            if not operators:
                raise ValueError
            operators.pop()
        elif word in _BINDING:
            _reduce(values, operators, _BINDING[word])
            operators.append(word)
        else:
            values.append(allowed(token.removesuffix("+")))
    _reduce(values, operators, 0)
    if len(values) != 1 or operators:
        raise ValueError
    return values[0]


def _reduce(values: list[bool], operators: list[str], least: int) -> None:
    while operators and operators[-1] != "(" and _BINDING[operators[-1]] >= least:
        if len(values) < 2:
            raise ValueError
        right, left = values.pop(), values.pop()
        values.append((left and right) if operators.pop() == "AND" else (left or right))
