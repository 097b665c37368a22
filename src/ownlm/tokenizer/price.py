"""What a prompt will cost at a provider that charges by the token: exact tokens, your own price table.

The table is a YAML file, because prices change and are nobody's to ship:

    small-model:
      tokenizer: o200k_base.tiktoken   # anything `load` reads, relative to the table
      input: 0.25                      # currency units per million tokens of input
      output: 2.0                      # ... of output
      context: 128000                  # tokens; optional
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from ownlm.errors import UsageError

_KEYS = {"tokenizer": True, "input": True, "output": True, "context": False}


@dataclass(frozen=True, slots=True)
class Price:
    """One model of the table; prices per million tokens."""

    model: str
    tokenizer: Path
    input: float
    output: float
    context: int | None = None


@dataclass(frozen=True, slots=True)
class Estimate:
    model: str
    input_tokens: int
    output_tokens: int
    cost: float
    fits: bool | None
    """Whether input and output fit the model's context; None where the table gives none."""

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def read_table(path: Path | str) -> list[Price]:
    """Raises UsageError with every mistake of the table at once."""
    path = Path(path)
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise UsageError(
            "The price table cannot be read.", f"{path}: {error}", "see `ownlm tokenizer cost --help`"
        ) from error
    problems = [] if isinstance(raw, dict) and raw else ["it is no mapping of models"]
    prices = []
    for model, row in (raw or {}).items() if not problems else ():
        fields = row if isinstance(row, dict) else {}
        problems += [
            f"{model}: {key} is missing" for key, needed in _KEYS.items() if needed and key not in fields
        ]
        problems += [f"{model}: {key!r} is not known" for key in fields if key not in _KEYS]
        numbers = {
            key: fields.get(key) for key in ("input", "output", "context") if fields.get(key) is not None
        }
        problems += [
            f"{model}: {key} = {n!r} is no number >= 0" for key, n in numbers.items() if not _number(n)
        ]
        if not problems:
            prices.append(Price(str(model), path.parent / str(fields["tokenizer"]), float(fields["input"]),
                                float(fields["output"]), fields.get("context")))  # fmt: skip
    if problems:
        raise UsageError(
            "The price table is not right.",
            f"{path}\n" + "\n".join(problems),
            "see `ownlm tokenizer cost --help`",
        )
    return prices


def estimate(price: Price, input_tokens: int, output_tokens: int) -> Estimate:
    """Tokens of both kinds at the price per million."""
    cost = (input_tokens * price.input + output_tokens * price.output) / 1e6
    fits = None if price.context is None else input_tokens + output_tokens <= price.context
    return Estimate(price.model, input_tokens, output_tokens, cost, fits)


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value >= 0
