"""Recognises a byte-level BPE with a known split pattern in a tokenizer.json and runs it on the compiled encoder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ownlm.tokenizer.added import AddedToken
from ownlm.tokenizer.encoder import Encoder, make_encoder
from ownlm.tokenizer.fields import wrong
from ownlm.tokenizer.pretokenize import family_of, split
from ownlm.tokenizer.spelling import unspell
from ownlm.tokenizer.vocabulary import Vocabulary

MODEL_FIELDS = {
    "type", "vocab", "merges", "dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix", "fuse_unk",
    "byte_fallback", "ignore_merges",
}  # fmt: skip


class FastEncoder:
    """One stretch of normalised text without added tokens -> ids."""

    def __init__(self, family: str, prefix: bool, encoder: Encoder) -> None:
        self.family, self._prefix, self._encoder = family, prefix, encoder

    def encode(self, text: str) -> list[int]:
        return self._encoder.encode(" " + text if self._prefix and not text.startswith(" ") else text)


def fast_encoder(
    raw: Mapping[str, Any], tokens: Sequence[str], added: Sequence[AddedToken], where: str
) -> FastEncoder | None:
    """None where the pipeline is of another kind; the general path then gives the same ids, slower."""
    model, pre = raw["model"], raw.get("pre_tokenizer")
    known = _pre_family(pre) if set(model) <= MODEL_FIELDS and _flags_fit(model) else None
    plain = (
        model.get("type", "BPE") == "BPE" and "merges" in model and not model.get("dropout")
        and not model.get("continuing_subword_prefix") and not model.get("end_of_word_suffix")
        and not model.get("byte_fallback")
    )  # fmt: skip
    if known is None or not plain:
        return None
    family, prefix = known
    apart = {token.content: token.id for token in added}
    spelled: list[bytes] = []
    for token in tokens:
        value = token.encode("utf-8") if token in apart else unspell(token)
        if not value:
            return None  # a token outside the byte alphabet: no text reaches it; the general path knows
        spelled.append(value)
    ordinary = {token for id, token in enumerate(spelled) if tokens[id] not in apart}
    if any(bytes([byte]) not in ordinary for byte in range(256)):
        return None
    merges = read_merges(model, {token: id for id, token in enumerate(tokens) if token not in apart}, where)
    if merges is None:
        return None
    vocabulary = Vocabulary(family, tuple(spelled), merges, apart)
    encoder = make_encoder(family, vocabulary.byte_ids(), vocabulary.merge_table(), len(tokens))
    if model.get("ignore_merges") and not merges_reach_all(encoder, vocabulary):
        return None
    return FastEncoder(family, prefix, encoder)


def _flags_fit(model: Mapping[str, Any]) -> bool:
    """Whether the options have the types they should; the general path names the one that has not."""
    flags = all(type(model.get(key, False)) is bool for key in ("fuse_unk", "byte_fallback", "ignore_merges"))
    texts = ("unk_token", "continuing_subword_prefix", "end_of_word_suffix")
    unknown = model.get("unk_token")
    known = unknown is None or (isinstance(unknown, str) and unknown in model["vocab"])
    return flags and known and all(model.get(key) is None or isinstance(model[key], str) for key in texts)


def _pre_family(pre: Any) -> tuple[str, bool] | None:
    """(family, is a space put first) of the two forms that byte-level files use."""
    if not isinstance(pre, dict):
        return None
    if pre.get("type") == "ByteLevel":
        return ("gpt2", bool(pre.get("add_prefix_space", True))) if pre.get("use_regex", True) else None
    steps = pre.get("pretokenizers")
    if pre.get("type") != "Sequence" or not isinstance(steps, list) or len(steps) != 2:
        return None
    first, second = steps
    if not isinstance(first, dict) or not isinstance(second, dict):
        return None
    pattern = first.get("pattern")
    source = pattern.get("Regex") if isinstance(pattern, dict) else None
    family = family_of(source) if isinstance(source, str) else None
    fits = (
        first.get("type") == "Split" and first.get("behavior") == "Isolated" and not first.get("invert")
        and second.get("type") == "ByteLevel" and second.get("use_regex", True) is False
        and second.get("add_prefix_space", True) is False
    )  # fmt: skip
    return (family, False) if family and fits else None


def read_merges(
    model: Mapping[str, Any], ids: Mapping[str, int], where: str
) -> tuple[tuple[int, int], ...] | None:
    """(left id, right id) by rank; None when one needs a token of `added` (then the general path decides)."""
    rows = model.get("merges")
    if not isinstance(rows, list):
        raise wrong(where, "model.merges", "missing or not a list")
    merges: dict[tuple[int, int], None] = {}
    for n, row in enumerate(rows):
        parts = row.split(" ") if isinstance(row, str) else row
        if not isinstance(parts, list) or len(parts) != 2 or not all(isinstance(part, str) for part in parts):
            raise wrong(where, f"model.merges[{n}]", "not a pair of tokens")
        if parts[0] not in ids or parts[1] not in ids or parts[0] + parts[1] not in ids:
            vocab = model["vocab"]
            missing = next((t for t in (*parts, parts[0] + parts[1]) if t not in vocab), None)
            if missing is None:
                return None
            raise wrong(where, f"model.merges[{n}]", f"{missing[:40]!r} is not in model.vocab")
        pair = (ids[parts[0]], ids[parts[1]])
        if pair in merges:
            raise wrong(where, f"model.merges[{n}]", f"{parts!r} occurs twice")
        merges[pair] = None
    return tuple(merges)


def merges_reach_all(encoder: Encoder, vocabulary: Vocabulary) -> bool:
    """Whether the merges make every token that is a whole piece: then `ignore_merges` changes nothing."""
    apart = set(vocabulary.specials.values())
    texts, ids = [], []
    for id, token in enumerate(vocabulary.tokens):
        if id not in apart:
            try:
                texts.append(token.decode("utf-8"))
                ids.append(id)
            except UnicodeDecodeError:
                continue  # no piece of a text
    for text, id, got in zip(texts, ids, encoder.encode_batch(texts), strict=True):
        if not np.array_equal(got, [id]) and len(list(split(text, vocabulary.family))) == 1:
            return False
    return True
