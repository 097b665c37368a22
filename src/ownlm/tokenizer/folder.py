"""The folder form of a `PipelineTokenizer`: the same four files as hf_json.py writes, read by `load.load`."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ownlm.errors import ArtifactError
from ownlm.runtime.files import write_atomic, write_json
from ownlm.tokenizer.fields import FIX, read_object, wrong
from ownlm.tokenizer.pipeline import ROLES, PipelineTokenizer

_UNLIMITED = int(1e30)  # what transformers writes for "no limit"


def save(tokenizer: PipelineTokenizer, folder: Path) -> None:
    """Write the four files, each atomically. tokenizer.json has the content that was read, field for field."""
    named = {f"{role}_token": token for role, token in tokenizer.named.items()}
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        **named,
        "model_max_length": tokenizer.model_max_length or _UNLIMITED,
        "clean_up_tokenization_spaces": False,
        "added_tokens_decoder": {
            str(token.id): {k: v for k, v in token.to_json().items() if k != "id"}
            for token in tokenizer.added
        },
    }
    text = json.dumps(tokenizer.raw, ensure_ascii=False, separators=(",", ":"))
    write_atomic(folder / "tokenizer.json", text + "\n")
    write_json(folder / "tokenizer_config.json", config)
    write_json(folder / "special_tokens_map.json", named)
    write_atomic(folder / "chat_template.jinja", tokenizer.chat_template)


def read_template(folder: Path) -> str | None:
    """The text of chat_template.jinja, or None without one."""
    path = folder / "chat_template.jinja"
    try:
        return path.read_bytes().decode("utf-8") if path.is_file() else None
    except ValueError as error:
        raise ArtifactError("The chat template is not UTF-8 text.", f"{path}: {error}", FIX) from error


def read_settings(folder: Path) -> tuple[dict[str, Any], list[str]]:
    """(keyword arguments of PipelineTokenizer, notices) from the files beside tokenizer.json."""
    notices: list[str] = []
    settings: dict[str, Any] = {"chat_template": read_template(folder), "named": {}}
    for name in ("special_tokens_map.json", "tokenizer_config.json"):  # the second has the last word
        path = folder / name
        if not path.is_file():
            continue
        config = read_object(path)
        settings["named"] |= roles(config, name)
        if name == "tokenizer_config.json":
            settings["model_max_length"] = max_length(config, name)
            if settings["chat_template"] is None:
                settings["chat_template"] = _config_template(config, name, notices)
    return settings, notices


def max_length(config: Mapping[str, Any], file: str) -> int | None:
    """model_max_length in tokens; None for no limit."""
    limit = config.get("model_max_length")
    if limit is None or (isinstance(limit, int | float) and limit >= 1e29):
        return None
    if isinstance(limit, bool) or not isinstance(limit, int | float) or not math.isfinite(limit) or limit < 1:
        raise wrong(file, "model_max_length", f"{limit!r}, not a positive number")
    return int(limit)


def roles(config: Mapping[str, Any], file: str) -> dict[str, str]:
    """Role -> token, as transformers' configuration names them."""
    named = {}
    for role in ROLES:
        value = config.get(f"{role}_token")
        content = value.get("content") if isinstance(value, dict) else value
        if content is None:
            continue
        if not isinstance(content, str):
            raise wrong(file, f"{role}_token", f"{str(value)[:60]!r} is no token")
        named[role] = content
    return named


def _config_template(config: Mapping[str, Any], file: str, notices: list[str]) -> str | None:
    """Older files keep the template in tokenizer_config.json, some several under names."""
    value = config.get("chat_template")
    if value is None or isinstance(value, str):
        return value
    rows = value if isinstance(value, list) else None
    if rows is None or not all(
        isinstance(row, dict) and isinstance(row.get("template"), str) for row in rows
    ):
        raise wrong(file, "chat_template", "neither a template nor a list of named ones")
    templates = {str(row.get("name")): row["template"] for row in rows}
    if "default" not in templates:
        raise wrong(file, "chat_template", f"no template is named default, only {', '.join(templates)[:80]}")
    others = [name for name in templates if name != "default"]
    if others:
        notices.append(f"of the chat templates only `default` is used, not {', '.join(others)}")
    return str(templates["default"])
