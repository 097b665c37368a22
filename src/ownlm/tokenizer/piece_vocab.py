"""The `model` object of tokenizer.json: which class reads it, its tokens by id, and the same model without some tokens."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from ownlm.tokenizer.char_bpe import CharBPE
from ownlm.tokenizer.characters import Characters
from ownlm.tokenizer.fields import Fields, require_unicode, wrong
from ownlm.tokenizer.piece_model import MAX_IDS, PieceModel
from ownlm.tokenizer.unigram import Unigram
from ownlm.tokenizer.wordlevel import WordLevel
from ownlm.tokenizer.wordpiece import WordPiece

_UNREACHABLE = "\udfff"  # half a surrogate pair: `encode` refuses any text that holds one
_LONGEST_TOKEN = 1 << 16  # characters; the longest of public vocabularies has a few hundred


def kind_of(raw: Any, where: str) -> str:
    """BPE, WordPiece, Unigram or WordLevel; files older than the `type` field are known by their other fields."""
    fields = Fields(raw, where)
    if "type" in raw:
        return fields.choice("type", ("BPE", "WordPiece", "Unigram", "WordLevel"))
    if "merges" in raw:
        return "BPE"
    if isinstance(raw.get("vocab"), list):
        return "Unigram"
    return "WordPiece" if "continuing_subword_prefix" in raw else "WordLevel"


def model_ids(raw: Any, where: str) -> dict[int, str]:
    """The token of each id; added tokens fill the holes. Raises ArtifactError for clashes and what is no token."""
    kind = kind_of(raw, where)
    vocab = raw.get("vocab")
    if kind == "Unigram":
        if not isinstance(vocab, list) or not all(isinstance(row, list) and row for row in vocab):
            raise wrong(where, "vocab", "not a list of [token, score]")
        named = [(row[0], id) for id, row in enumerate(vocab)]
    else:
        if not isinstance(vocab, dict):
            raise wrong(where, "vocab", "missing or not an object")
        named = list(vocab.items())
    tokens: dict[int, str] = {}
    seen: set[str] = set()
    limit = min(MAX_IDS, 4 * len(named) + (1 << 16))
    for token, id in named:
        if not isinstance(token, str) or len(token) > _LONGEST_TOKEN:
            raise wrong(where, "vocab", f"id {id!r} is no string of at most {_LONGEST_TOKEN} characters")
        require_unicode(token, where, "vocab")
        if type(id) is not int or not 0 <= id < limit:
            raise wrong(where, "vocab", f"token {token[:40]!r} has the id {str(id)[:40]}")
        if id in tokens or token in seen:
            raise wrong(
                where, "vocab", f"id {id} belongs to both {tokens.get(id, token)[:40]!r} and {token[:40]!r}"
            )
        tokens[id] = token
        seen.add(token)
    return tokens


def model_from_json(raw: dict[str, Any], where: str) -> PieceModel:
    """The model of any kind. Raises ArtifactError naming the field."""
    kind = kind_of(raw, where)
    if kind == "BPE":
        return (Characters if _single_characters(raw) else CharBPE).from_json(raw, where)
    if kind == "WordPiece":
        return WordPiece.from_json(raw, where)
    if kind == "Unigram":
        return Unigram.from_json(raw, where)
    return WordLevel.from_json(raw, where)


def _single_characters(raw: dict[str, Any]) -> bool:
    """A BPE that merges nothing and has no unknown token: an unknown character is an error, not dropped as in CharBPE."""
    options = ("unk_token", "byte_fallback", "dropout", "continuing_subword_prefix", "end_of_word_suffix",
               "fuse_unk", "ignore_merges")  # fmt: skip
    vocab = raw.get("vocab")
    return (
        raw.get("merges") == [] and not any(raw.get(option) for option in options)
        and isinstance(vocab, dict) and bool(vocab) and all(len(token) == 1 for token in vocab)
    )  # fmt: skip


def without_tokens(raw: dict[str, Any], hidden: Collection[str]) -> dict[str, Any]:
    """The same model in which no text can reach the hidden tokens: they keep their ids under another spelling.

    A token that is the model's `unk_token` stays: every unknown word gives it, spelled out or not.
    """
    hidden = {token for token in hidden if token != raw.get("unk_token")}

    def spelled(token: str) -> str:
        return _UNREACHABLE + token if token in hidden else token

    changed = dict(raw)
    vocab = raw["vocab"]
    if isinstance(vocab, list):
        if not any(row[0] in hidden for row in vocab):
            return raw
        changed["vocab"] = [[spelled(row[0]), *row[1:]] for row in vocab]
        return changed
    if not any(token in vocab for token in hidden):
        return raw
    changed["vocab"] = {spelled(token): id for token, id in vocab.items()}
    if isinstance(raw.get("merges"), list):
        given = raw.get("continuing_subword_prefix")
        prefix = given if isinstance(given, str) else ""
        changed["merges"] = [row for row in raw["merges"] if not _makes(row, prefix, hidden)]
    return changed


def _makes(row: Any, prefix: str, hidden: Collection[str]) -> bool:
    parts = row.split(" ") if isinstance(row, str) else row
    if not isinstance(parts, list) or len(parts) != 2 or not all(isinstance(part, str) for part in parts):
        return False  # damaged: the model names it
    left, right = parts
    return left in hidden or right in hidden or left + right.removeprefix(prefix) in hidden
