"""The folder form of a tokenizer: the files that Hugging Face `tokenizers` and transformers load, with equal ids.

Read back strictly: what we cannot reproduce exactly (another model type, a normalizer, an unknown split pattern,
a special token that strips its neighbours) is refused by field name, never approximated.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ownlm.errors import ArtifactError
from ownlm.runtime.files import write_atomic, write_json
from ownlm.tokenizer.fields import read_object, wrong
from ownlm.tokenizer.folder import max_length, read_template, roles
from ownlm.tokenizer.pretokenize import PATTERNS, family_of
from ownlm.tokenizer.spelling import spell, unspell
from ownlm.tokenizer.tokenizer import Tokenizer
from ownlm.tokenizer.vocabulary import Vocabulary

_UNLIMITED = int(1e30)  # what transformers writes for "no limit"


def save(tokenizer: Tokenizer, folder: Path) -> None:
    """Write the four files, each atomically."""
    limit = tokenizer.model_max_length or _UNLIMITED
    named = {f"{role}_token": name for role, name in tokenizer.named.items()}
    added = _added_tokens(tokenizer.vocabulary)
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        **named,
        "model_max_length": limit,
        "clean_up_tokenization_spaces": False,
        "added_tokens_decoder": {
            str(row["id"]): {k: v for k, v in row.items() if k != "id"} for row in added
        },
    }
    text = json.dumps(to_json(tokenizer.vocabulary), ensure_ascii=False, separators=(",", ":"))
    write_atomic(folder / "tokenizer.json", text + "\n")
    write_json(folder / "tokenizer_config.json", config)
    write_json(folder / "special_tokens_map.json", named)
    write_atomic(folder / "chat_template.jinja", tokenizer.chat_template)


def _added_tokens(vocabulary: Vocabulary) -> list[dict[str, Any]]:
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    return [{"id": id, "content": name, **flags} for name, id in vocabulary.specials.items()]


def to_json(vocabulary: Vocabulary) -> dict[str, Any]:
    """The content of tokenizer.json."""
    special = set(vocabulary.specials.values())
    spelled = [spell(token) for token in vocabulary.tokens]
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    pattern = {"Regex": PATTERNS[vocabulary.family]}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": _added_tokens(vocabulary),
        "normalizer": None,
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [
                {"type": "Split", "pattern": pattern, "behavior": "Isolated", "invert": False},
                byte_level,
            ],
        },
        "post_processor": None,
        "decoder": byte_level,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {text: id for id, text in enumerate(spelled) if id not in special},
            "merges": [[spelled[left], spelled[right]] for left, right in vocabulary.merges],
        },
    }


def load(folder: Path) -> Tokenizer:
    """Raises ArtifactError naming file and field."""
    path = folder / "tokenizer.json"
    vocabulary = from_json(read_object(path), path.name)
    source = read_template(folder)
    limit, named = None, None
    config_path = folder / "tokenizer_config.json"
    if config_path.is_file():
        config = read_object(config_path)
        limit, named = max_length(config, config_path.name), roles(config, config_path.name)
    try:
        return Tokenizer(vocabulary, chat_template=source, model_max_length=limit, named=named or None)
    except ArtifactError as error:
        raise ArtifactError(error.what, f"{path.name}: {error.values}", error.fix) from error


def from_json(data: dict[str, Any], file: str = "tokenizer.json") -> Vocabulary:
    """The vocabulary in the content of a tokenizer.json. Raises ArtifactError naming the field."""
    _expect(data, file, "", {"normalizer": None, "truncation": None, "padding": None})
    model = _object(data, file, "model")
    _expect(
        model,
        file,
        "model.",
        {"type": "BPE", "dropout": None, "unk_token": None, "byte_fallback": False, "ignore_merges": False},
    )
    for key in ("continuing_subword_prefix", "end_of_word_suffix"):
        if model.get(key) not in (None, ""):
            raise wrong(file, f"model.{key}", f"{model[key]!r} is not supported")
    family = _family(data, file)
    by_id = _ids(model, file)
    specials = _specials(data, file, by_id)
    tokens = _tokens(by_id, specials, file)
    return Vocabulary(family, tokens, _merges(model, tokens, specials, file), specials)


def _expect(data: dict[str, Any], file: str, prefix: str, wanted: dict[str, Any]) -> None:
    for key, value in wanted.items():
        found = data.get(key, None if key == "type" else value)
        if found != value or type(found) is not type(value):
            raise wrong(file, prefix + key, f"{str(found)[:80]!r} is not supported, only {value!r}")


def _object(data: dict[str, Any], file: str, key: str) -> dict[str, Any]:
    value = data.get(key)
    if not isinstance(value, dict):
        raise wrong(file, key, "missing or not an object")
    return value


def _family(data: dict[str, Any], file: str) -> str:
    steps = _object(data, file, "pre_tokenizer").get("pretokenizers")
    field = "pre_tokenizer.pretokenizers"
    if not isinstance(steps, list) or len(steps) != 2 or not all(isinstance(step, dict) for step in steps):
        raise wrong(file, field, "not the two steps Split and ByteLevel")
    split, byte_level = steps
    _expect(split, file, f"{field}[0].", {"type": "Split", "behavior": "Isolated", "invert": False})
    _expect(
        byte_level, file, f"{field}[1].", {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False}
    )
    pattern = split.get("pattern")
    pattern = pattern.get("Regex") if isinstance(pattern, dict) else None
    family = family_of(pattern) if isinstance(pattern, str) else None
    if family is None:
        raise wrong(
            file,
            f"{field}[0].pattern.Regex",
            f"{str(pattern)[:80]!r} is none of the known patterns ({', '.join(PATTERNS)})",
        )
    return family


def _ids(model: dict[str, Any], file: str) -> dict[int, str]:
    by_id: dict[int, str] = {}
    for text, id in _object(model, file, "vocab").items():
        if type(id) is not int or id < 0:
            raise wrong(file, "model.vocab", f"token {text[:40]!r} has the id {id!r}")
        if id in by_id:
            raise wrong(file, "model.vocab", f"id {id} belongs to both {by_id[id][:40]!r} and {text[:40]!r}")
        by_id[id] = text
    return by_id


def _specials(data: dict[str, Any], file: str, by_id: dict[int, str]) -> dict[str, int]:
    rows = data.get("added_tokens", [])
    if not isinstance(rows, list):
        raise wrong(file, "added_tokens", "not a list")
    ids = {text: id for id, text in by_id.items()}
    names: dict[str, int] = {}
    for n, row in enumerate(rows):
        field = f"added_tokens[{n}]"
        if not isinstance(row, dict) or not isinstance(row.get("content"), str) or not row["content"]:
            raise wrong(file, f"{field}.content", "missing or empty")
        _expect(
            row,
            file,
            f"{field}.",
            {"special": True, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False},
        )
        name, id = row["content"], row.get("id")
        if type(id) is not int or id < 0:
            raise wrong(file, f"{field}.id", f"{id!r}")
        if name in names or id in names.values() or by_id.get(id, name) != name or ids.get(name, id) != id:
            raise wrong(file, f"{field}.id", f"{name[:40]!r} = {id} clashes with another token")
        names[name] = id
    return dict(sorted(names.items(), key=lambda item: item[1]))


def _tokens(by_id: dict[int, str], specials: dict[str, int], file: str) -> tuple[bytes, ...]:
    """Bytes of every token in id order; ids must be 0..n-1 without a gap."""
    special = {id: name for name, id in specials.items()}
    total = len(by_id.keys() | special.keys())
    tokens: list[bytes] = []
    for id in range(total):
        if id in special:
            try:
                tokens.append(special[id].encode("utf-8"))
            except UnicodeEncodeError as error:
                raise wrong(file, "added_tokens", f"id {id}: half a surrogate pair in the name") from error
            continue
        if id not in by_id:
            raise wrong(file, "model.vocab", f"no token has the id {id}, although there are {total} tokens")
        token = unspell(by_id[id])
        if not token:
            raise wrong(file, "model.vocab", f"token {by_id[id][:40]!r} is not spelled in byte letters")
        tokens.append(token)
    return tuple(tokens)


def _merges(
    model: dict[str, Any], tokens: tuple[bytes, ...], specials: dict[str, int], file: str
) -> tuple[tuple[int, int], ...]:
    rows = model.get("merges")
    if not isinstance(rows, list):
        raise wrong(file, "model.merges", "missing or not a list")
    special = set(specials.values())
    ids = {spell(token): id for id, token in enumerate(tokens) if id not in special}
    merges: dict[tuple[int, int], None] = {}
    for n, row in enumerate(rows):
        parts = row.split(" ") if isinstance(row, str) else row
        if not isinstance(parts, list) or len(parts) != 2 or not all(isinstance(part, str) for part in parts):
            raise wrong(file, f"model.merges[{n}]", "not a pair of tokens")
        for part in parts:
            if part not in ids:
                raise wrong(file, f"model.merges[{n}]", f"{part[:40]!r} is not in model.vocab")
        pair = (ids[parts[0]], ids[parts[1]])
        if pair in merges:
            raise wrong(file, f"model.merges[{n}]", f"{parts!r} occurs twice")
        merges[pair] = None
    return tuple(merges)
