"""The vocabulary in a GGUF file -> a tokenizer with the ids of llama.cpp and of the tokenizer that the file came from.

Three kinds, named by `tokenizer.ggml.model`: "gpt2" (byte-level BPE, split as `tokenizer.ggml.pre` says), "llama"
(SentencePiece BPE by scores) and "bert" (WordPiece, a word's first token spelled with "▁" instead of the others with
"##"). Other kinds and unknown splits are refused by name. Token types are those of SentencePiece.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from ownlm.errors import ArtifactError
from ownlm.runtime.gguf import Header, read_header
from ownlm.tokenizer import hf_json
from ownlm.tokenizer.adapters.sentencepiece import check_bytes
from ownlm.tokenizer.pipeline import PipelineTokenizer
from ownlm.tokenizer.pretokenize import PATTERNS
from ownlm.tokenizer.sentencepiece import PieceType, SentencePieceTokenizer, Spec
from ownlm.tokenizer.tokenizer import Tokenizer

_FAMILIES = {
    "gpt-2": "gpt2", "phi-2": "gpt2", "mpt": "gpt2", "olmo": "gpt2", "roberta-bpe": "gpt2",
    "llama3": "llama3", "llama-v3": "llama3", "llama-bpe": "llama3", "smaug-bpe": "llama3", "dbrx": "llama3",
    "qwen2": "qwen2", "stablelm2": "qwen2", "deepseek-r1-qwen": "qwen2", "gpt-4o": "o200k",
}  # fmt: skip
"""tokenizer.ggml.pre -> split family, where one pattern does it."""
_IGNORE_MERGES = ("llama3", "llama-v3", "llama-bpe")
_DIGITS_APART = (
    "starcoder",
    "refact",
    "command-r",
    "smollm",
    "codeshell",
    "exaone",
)  # one digit a piece, then gpt2
_FALCON = r"[\p{P}\$\+<=>\^~\|`]+"
_ROLES = {
    "bos": "bos",
    "eos": "eos",
    "unknown": "unk",
    "seperator": "sep",
    "padding": "pad",
    "cls": "cls",
    "mask": "mask",
}
"""GGUF key part (its spelling) -> role of a special token."""
_ADDED = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}


def load(path: Path | str) -> Tokenizer | PipelineTokenizer | SentencePieceTokenizer:
    """Raises ArtifactError naming the file and the key."""
    path = Path(path)
    return from_header(read_header(path), path.name)


def from_header(header: Header, where: str) -> Tokenizer | PipelineTokenizer | SentencePieceTokenizer:
    """The tokenizer of an open header; `where` names the file in errors."""
    file = _File(header, where)
    kind = file.text("tokenizer.ggml.model")
    if kind == "gpt2":
        return _byte_level(file)
    if kind == "llama":
        return _llama(file)
    if kind == "bert":
        return PipelineTokenizer(_bert(file), where=where, chat_template=file.template, named=file.named)
    raise file.wrong("tokenizer.ggml.model", f"{kind[:40]!r} is none of gpt2, llama, bert")


class _File:
    """The keys of one file, checked."""

    def __init__(self, header: Header, where: str) -> None:
        self.keys, self.where = header.metadata, where
        self.tokens: list[str] = self._rows("tokenizer.ggml.tokens", str)
        size = len(self.tokens)
        raw = (
            self._rows("tokenizer.ggml.token_type", int)
            if "tokenizer.ggml.token_type" in self.keys
            else [1] * size
        )
        if len(raw) != size or not all(1 <= kind <= 6 for kind in raw) or "" in self.tokens:
            raise self.wrong(
                "tokenizer.ggml.token_type",
                f"{len(raw)} types of 1 to 6 for {size} tokens that are not empty",
            )
        self.types = [PieceType(kind) for kind in raw]
        self.ids = {token: id for id, token in enumerate(self.tokens)}
        if len(self.ids) != size:
            raise self.wrong("tokenizer.ggml.tokens", f"{size - len(self.ids)} tokens occur twice")
        roles = {role: self._id(f"tokenizer.ggml.{key}_token_id") for key, role in _ROLES.items()}
        self.roles = {role: id for role, id in roles.items() if id is not None}
        self.named = {role: self.tokens[id] for role, id in self.roles.items()}
        template = self.keys.get("tokenizer.chat_template")
        self.template: str | None = template if isinstance(template, str) else None

    def wrong(self, key: str, values: str) -> ArtifactError:
        return ArtifactError(
            "This GGUF file's vocabulary is damaged or of a kind that is not supported.",
            f"{self.where}: {key}: {values}",
            "use the tokenizer.json or .model file of the same model",
        )

    def text(self, key: str) -> str:
        value = self.keys.get(key)
        if not isinstance(value, str):
            raise self.wrong(key, "missing or no string")
        return value

    def flag(self, key: str, default: bool) -> bool:
        value = self.keys.get(key, default)
        if not isinstance(value, bool):
            raise self.wrong(key, f"{str(value)[:40]} is neither true nor false")
        return value

    def _rows(self, key: str, kind: type) -> list[Any]:
        value = self.keys.get(key)
        rows = value.tolist() if isinstance(value, np.ndarray) else value if isinstance(value, list) else None
        if rows is None or not all(type(row) is kind for row in rows):
            raise self.wrong(key, f"missing or no array of {kind.__name__}")
        return rows

    def merges(self) -> list[str]:
        return self._rows("tokenizer.ggml.merges", str)

    def scores(self) -> list[float]:
        rows: list[float] = self._rows("tokenizer.ggml.scores", float)
        if len(rows) != len(self.tokens) or not all(map(math.isfinite, rows)):
            raise self.wrong(
                "tokenizer.ggml.scores", f"{len(rows)} finite scores for {len(self.tokens)} tokens"
            )
        return rows

    def _id(self, key: str) -> int | None:
        value = self.keys.get(key)
        if value is None or value == 0xFFFFFFFF:  # llama.cpp's "none"
            return None
        if type(value) is not int or not 0 <= value < len(self.tokens):
            raise self.wrong(key, f"{str(value)[:40]} is no id of {len(self.tokens)} tokens")
        return value


def _byte_level(file: _File) -> Tokenizer | PipelineTokenizer:
    pre = file.text("tokenizer.ggml.pre")
    steps = _steps(pre)
    if steps is None:
        known = ", ".join([*_FAMILIES, "falcon", *_DIGITS_APART])
        raise file.wrong("tokenizer.ggml.pre", f"{pre[:40]!r} is none of {known}")
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    special = set(file.roles.values())
    added = [
        {"id": id, "content": token, **_ADDED, "special": kind != PieceType.USER_DEFINED or id in special}
        for id, (token, kind) in enumerate(zip(file.tokens, file.types, strict=True))
        if kind not in (PieceType.NORMAL, PieceType.BYTE) or id in special
    ]
    apart = {row["id"] for row in added}
    raw: dict[str, Any] = {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": added, "normalizer": None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [*steps, byte_level]},
        "post_processor": None, "decoder": byte_level,
        "model": {
            "type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
            "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False,
            "ignore_merges": pre in _IGNORE_MERGES,
            "vocab": {token: id for id, token in enumerate(file.tokens)}, "merges": file.merges(),
        },
    }  # fmt: skip
    if len(steps) == 1 and not raw["model"]["ignore_merges"] and all(row["special"] for row in added):
        raw["model"]["vocab"] = {token: id for token, id in file.ids.items() if id not in apart}
        return Tokenizer(hf_json.from_json(raw, file.where), chat_template=file.template)
    return PipelineTokenizer(raw, where=file.where, chat_template=file.template, named=file.named)


def _steps(pre: str) -> list[dict[str, Any]] | None:
    """The Split pre-tokenizers of one `tokenizer.ggml.pre`; None for an unknown one."""

    def split(pattern: str) -> dict[str, Any]:
        return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}

    if pre in _FAMILIES:
        return [split(PATTERNS[_FAMILIES[pre]])]
    if pre == "falcon":
        return [split(_FALCON), split(PATTERNS["gpt2"]), split("[0-9][0-9][0-9]")]
    if pre in _DIGITS_APART:
        return [split(r"\p{N}"), split(PATTERNS["gpt2"])]
    return None


def _llama(file: _File) -> SentencePieceTokenizer:
    unknown = file.roles.get("unk", 0)
    special = set(file.roles.values())
    types = [
        PieceType.UNKNOWN if id == unknown
        else PieceType.CONTROL if id in special or kind == PieceType.UNKNOWN  # a second unknown piece is a filler
        else kind
        for id, kind in enumerate(file.types)
    ]  # fmt: skip
    spec = Spec(
        kind="bpe",
        pieces=tuple(file.tokens),
        scores=tuple(file.scores()),
        types=tuple(types),
        unk_id=unknown,
        byte_fallback=PieceType.BYTE in types,
        add_dummy_prefix=file.flag("tokenizer.ggml.add_space_prefix", True),
        remove_extra_whitespaces=file.flag("tokenizer.ggml.remove_extra_whitespaces", False),
    )
    check_bytes(spec, file.where)
    made = SentencePieceTokenizer(spec)
    made.chat_template = file.template
    return made


def _bert(file: _File) -> dict[str, Any]:
    """WordPiece under a tokenizer.json: lower case without accents, as llama.cpp has it for every file of this kind."""
    vocab: dict[str, int] = {}
    for id, (token, kind) in enumerate(zip(file.tokens, file.types, strict=True)):
        bracketed = token.startswith("[") and token.endswith("]")
        spelled = token if bracketed or kind != PieceType.NORMAL else (
            token[1:] if token.startswith("▁") else "##" + token
        )  # fmt: skip
        if not spelled or vocab.setdefault(spelled, id) != id:
            raise file.wrong("tokenizer.ggml.tokens", f"id {id}: {token[:40]!r} is spelled as another token")
    special = sorted(
        set(file.roles.values()) | {i for i, k in enumerate(file.types) if k == PieceType.CONTROL}
    )
    return {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [{"id": id, "content": file.tokens[id], **_ADDED, "special": True} for id in special],
        "normalizer": {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True,
                       "strip_accents": None, "lowercase": True},
        "pre_tokenizer": {"type": "BertPreTokenizer"}, "post_processor": None,
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "model": {"type": "WordPiece", "unk_token": file.named.get("unk", "[UNK]"),
                  "continuing_subword_prefix": "##", "max_input_chars_per_word": 100, "vocab": vocab},
    }  # fmt: skip
