"""Reading config.json strictly: every key is understood, known to be without effect, or refused by name.

keys = Reader(raw, where)
keys.require("model_type", ("llama",))
width = keys.whole("hidden_size", 4096)
keys.harmless(("attention_dropout",))
keys.done()      # whatever was not asked for is refused here
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ownlm.errors import ArtifactError

ALWAYS_HARMLESS = frozenset(
    (
        "dtype", "torch_dtype", "transformers_version", "use_cache", "bos_token_id", "eos_token_id", "pad_token_id",
        "_name_or_path", "return_dict", "use_return_dict", "output_hidden_states", "output_attentions",
        "chunk_size_feed_forward", "id2label", "label2id", "task_specific_params", "_attn_implementation",
        "_attn_implementation_autoset", "problem_type", "finetuning_task", "num_labels", "sep_token_id", "prefix",
        "decoder_start_token_id", "tokenizer_class", "attention_dropout", "hidden_dropout", "embd_pdrop", "attn_pdrop",
        "resid_pdrop", "resid_dropout", "embedding_dropout", "classifier_dropout",
    )
)  # fmt: skip
"""Keys of every family: types of storage, ids that only generation reads, kernels, dropout, other heads."""

NEUTRAL: dict[str, tuple[Any, ...]] = {
    "quantization_config": (None,),
    "is_encoder_decoder": (False,),
    "is_decoder": (False, True),
    "add_cross_attention": (False,),
    "cross_attention_hidden_size": (None,),
    "tie_encoder_decoder": (False,),
    "pruned_heads": ({}, None),
    "torchscript": (False,),
    "use_bfloat16": (False,),
    "tf_legacy_loss": (False,),
}
"""Keys that every configuration may carry with these values, at which they do nothing."""

MAX_SIZE = 1 << 24
"""Above this no size in a configuration is believed."""


class Reader:
    """The keys of one config.json; remembers which were asked for. Every method raises ArtifactError."""

    def __init__(self, raw: object, where: str) -> None:
        if not isinstance(raw, Mapping) or not all(isinstance(key, str) for key in raw):
            raise ArtifactError("config.json is not an object.", where, "this is not a model folder")
        self.raw: Mapping[str, Any] = raw
        self.where = where
        self._known: set[str] = set()

    def take(self, key: str, default: Any = None) -> Any:
        """The value, whatever it is; `default` where the key is absent."""
        self._known.add(key)
        return self.raw.get(key, default)

    def present(self, key: str) -> bool:
        """Whether the key is there and not null."""
        return self.raw.get(key) is not None

    def require(self, key: str, allowed: Sequence[Any]) -> Any:
        """The value if the key is there (else None), which must be one of `allowed`: anything else is another model."""
        value = self.take(key, None)
        if key in self.raw and not any(_same(value, fine) for fine in allowed):
            raise self.unsupported(f"{key} = {value!r}", f"supported: {', '.join(map(repr, allowed))}")
        return value

    def harmless(self, keys: Iterable[str]) -> None:
        """Keys that do not change the outputs."""
        self._known.update(keys)

    def done(self) -> None:
        """Refuses what was not asked for, all of it at once."""
        unknown = sorted(set(self.raw) - self._known - ALWAYS_HARMLESS)
        for key in [key for key in unknown if key in NEUTRAL]:
            self.require(key, NEUTRAL[key])
            unknown.remove(key)
        if unknown:
            values = ", ".join(f"{key} = {self.raw[key]!r}" for key in unknown)
            raise self.unsupported(
                f"not understood: {values}", "remove a key only if it is known to do nothing"
            )

    def whole(self, key: str, default: int | None, limit: int = MAX_SIZE, least: int = 1) -> int:
        """A whole number; `default` where the key is absent, None: it must be there."""
        value = self.take(key, default)
        if value is None and key not in self.raw:
            raise ArtifactError("config.json lacks a key.", f"{self.where}: {key}", "this is not a complete model folder")  # fmt: skip
        if type(value) is not int or not least <= value <= limit:
            raise self.wrong(key, value, f"a whole number from {least} to {limit:,}")
        return value

    def optional(self, key: str, default: int | None = None, limit: int = MAX_SIZE) -> int | None:
        """A positive whole number or null."""
        value = self.take(key, default)
        if value is not None and (type(value) is not int or not 1 <= value <= limit):
            raise self.wrong(key, value, f"null or a whole number from 1 to {limit:,}")
        return value

    def number(self, key: str, default: float) -> float:
        """A positive finite number."""
        value = self.take(key, default)
        if not _number(value) or value <= 0:
            raise self.wrong(key, value, "a positive number")
        return float(value)

    def optional_number(self, key: str, default: float | None) -> float | None:
        """A positive finite number or null."""
        value = self.take(key, default)
        if value is not None and (not _number(value) or value <= 0):
            raise self.wrong(key, value, "null or a positive number")
        return None if value is None else float(value)

    def switch(self, key: str, default: bool) -> bool:
        value = self.take(key, default)
        if not isinstance(value, bool):
            raise self.wrong(key, value, "true or false")
        return value

    def table(self, key: str) -> dict[str, Any] | None:
        """An object, or None where it is absent or null."""
        value = self.take(key, None)
        if value is not None and not isinstance(value, dict):
            raise self.wrong(key, value, "null or an object")
        return value

    def wrong(self, key: str, value: object, wanted: str) -> ArtifactError:
        return ArtifactError("config.json has an impossible value.", f"{self.where}: {key} = {value!r}",
                             f"{wanted} is wanted; restore the file")  # fmt: skip

    def unsupported(self, values: str, fix: str) -> ArtifactError:
        kind = self.raw.get("model_type")
        return ArtifactError("This model has an architecture or an option that ownlm does not support.",
                             f"{self.where}: {values} (model_type = {kind!r})", fix)  # fmt: skip


def _same(value: object, fine: object) -> bool:
    """Equal, where true is not 1."""
    return value == fine and isinstance(value, bool) == isinstance(fine, bool)


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
