"""Several tokenizers on the same texts: how many tokens, for which language, at what price in vocabulary.

fertility        tokens per word (words: runs between white space; no figure for scripts written without spaces)
bytes per token  UTF-8 bytes that one token stands for on average: higher is shorter
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from ownlm.errors import DataError, UsageError
from ownlm.tokenizer.explained import shown


class Encodes(Protocol):
    """What is compared: anything that encodes."""

    vocab_size: int

    def encode(self, text: str) -> list[int]: ...

    def decode(self, ids: Sequence[int]) -> str: ...

    def token_bytes(self, id: int) -> bytes: ...


SAMPLES = {
    "English": "Every answer the assistant gives can be traced back to the pages from which it was learned, "
    "and whoever owns the model may open each step on the way.",
    "German": "Jede Antwort des Assistenten lässt sich zu den Seiten zurückverfolgen, aus denen sie gelernt "
    "wurde, und wem das Modell gehört, der darf jeden Schritt auf dem Weg öffnen.",
    "French": "Chaque réponse de l'assistant peut être suivie jusqu'aux pages dont elle a été apprise, et le "
    "propriétaire du modèle peut ouvrir chaque étape du chemin.",
    "Russian": "Каждый ответ помощника можно проследить до страниц, по которым он был выучен, и владелец "
    "модели может открыть каждый шаг на этом пути.",
    "Arabic": "يمكن تتبع كل إجابة يقدمها المساعد إلى الصفحات التي تعلم منها، ويحق لمن يملك النموذج أن يفتح كل خطوة في الطريق.",
    "Hindi": "सहायक के हर उत्तर को उन पन्नों तक खोजा जा सकता है जिनसे वह सीखा गया, और मॉडल का स्वामी रास्ते का हर कदम खोल सकता है।",
    "Chinese": "助手给出的每一个回答都可以追溯到它所学习的页面，模型的所有者可以打开途中的每一个步骤。",
    "Japanese": "アシスタントの答えはすべて、学習元のページまでたどることができ、モデルの持ち主は途中のどの段階も開いて見ることができます。",
    "Python": "def mean(values: list[float]) -> float:\n    if not values:\n        raise ValueError('no values')\n"
    "    return sum(values) / len(values)\n",
    "JSON": '{"id": 1024, "name": "ownlm", "tags": ["a", "b"], "ratio": 0.9375, "open": true}\n',
}
"""Short parallel sentences (code apart), written for this purpose."""

EDGE_CASES = {
    "number": "1234567890",
    "decimal": "3.14159265",
    "date": "2026-11-21",
    "thousands": "1,000,000",
    "indentation": "        return x",
    "camel case": "getHTTPResponseCode",
    "snake case": "num_hidden_layers",
    "URL": "https://example.org/a?b=c#d",
    "CJK": "語言模型",
    "emoji": "🙂👩‍👩‍👧🇺🇳",
    "accents": "naïve façade coöperate",
    "combining": "e\u0301a\u0308",
    "long word": "Donaudampfschifffahrtsgesellschaft",
    "repeat": "aaaaaaaaaaaaaaaa",
    "leading space": " word",
    "new lines": "\n\n\n",
    "markup": "<b>bold</b>",
    "special text": "<|endoftext|>",
}


@dataclass(frozen=True, slots=True)
class Row:
    """One tokenizer on one text."""

    tokenizer: str
    text: str
    num_bytes: int
    num_characters: int
    num_tokens: int
    fertility: float | None
    bytes_per_token: float
    tokens_per_character: float
    lossless: bool
    """decode(encode(text)) gave the text back."""
    refused: str = ""
    """Why the tokenizer cannot write the text at all; then the figures are 0."""


@dataclass(frozen=True, slots=True)
class Comparison:
    rows: tuple[Row, ...]
    vocab_sizes: Mapping[str, int]
    edges: Mapping[str, Mapping[str, list[str] | None]]
    """Case -> tokenizer -> the tokens of its text; None: the tokenizer cannot write it."""

    def as_dict(self) -> dict[str, Any]:
        return {"rows": [asdict(row) for row in self.rows], "vocab_sizes": dict(self.vocab_sizes),
                "edges": {case: dict(found) for case, found in self.edges.items()}}  # fmt: skip

    def of(self, tokenizer: str, text: str) -> Row:
        return next(row for row in self.rows if (row.tokenizer, row.text) == (tokenizer, text))


def compare(
    tokenizers: Mapping[str, Encodes],
    texts: Mapping[str, str] | None = None,
    edges: Mapping[str, str] | None = None,
) -> Comparison:
    """Encode every text with every tokenizer; default texts SAMPLES and EDGE_CASES. Raises UsageError for none."""
    texts = SAMPLES if texts is None else texts
    edges = EDGE_CASES if edges is None else edges
    empty = [name for name, text in texts.items() if not text]
    if not tokenizers or not texts or empty:
        raise UsageError(
            "A comparison needs tokenizers and texts that are not empty.",
            f"{len(tokenizers)} tokenizers, {len(texts)} texts, empty: {', '.join(empty) or 'none'}",
            "name at least one of each",
        )
    rows = [
        _row(name, title, tokenizer, text)
        for title, text in texts.items()
        for name, tokenizer in tokenizers.items()
    ]
    pieces = {
        case: {name: _tokens(tokenizer, text) for name, tokenizer in tokenizers.items()}
        for case, text in edges.items()
    }  # fmt: skip
    return Comparison(tuple(rows), {name: t.vocab_size for name, t in tokenizers.items()}, pieces)


def _tokens(tokenizer: Encodes, text: str) -> list[str] | None:
    try:
        return [shown(tokenizer.token_bytes(id)) for id in tokenizer.encode(text)]
    except DataError:
        return None


def _row(name: str, title: str, tokenizer: Encodes, text: str) -> Row:
    try:
        ids = tokenizer.encode(text)
    except (
        DataError
    ) as error:  # a vocabulary without the characters of this language: a result, not a failure
        why = f"{error.what} {error.values}".strip()
        return Row(name, title, len(text.encode("utf-8")), len(text), 0, None, 0.0, 0.0, False, why)
    words = len(text.split())
    spaced = (
        words > 1 and len(text) / words < 20
    )  # Chinese and Japanese sentences are one or two such "words"
    return Row(
        name,
        title,
        len(text.encode("utf-8")),
        len(text),
        len(ids),
        len(ids) / words if spaced else None,
        len(text.encode("utf-8")) / max(1, len(ids)),
        len(ids) / len(text),
        tokenizer.decode(ids) == text,
    )


@dataclass(frozen=True, slots=True)
class SizeRow:
    """What a vocabulary size costs and brings."""

    vocab_size: int
    num_tokens: int
    bytes_per_token: float
    embedding_parameters: int
    edge_tokens: int
    """Tokens of all EDGE_CASES together."""


def size_rows(tokenizers: Sequence[Encodes], text: str, width: int) -> list[SizeRow]:
    """The trade-off of vocabulary sizes: sequence length of `text` against V * width numbers in the embedding."""
    rows = []
    for tokenizer in tokenizers:
        tokens = len(tokenizer.encode(text))
        edges = sum(len(tokenizer.encode(case)) for case in EDGE_CASES.values())
        size = len(text.encode("utf-8")) / max(1, tokens)
        rows.append(SizeRow(tokenizer.vocab_size, tokens, size, tokenizer.vocab_size * width, edges))
    return rows
