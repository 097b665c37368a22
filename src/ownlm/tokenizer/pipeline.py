"""`PipelineTokenizer`: everything a tokenizer.json can say, with the ids that Hugging Face `tokenizers` gives.

    text ── added tokens ── normalizer ── pre-tokenizer ── model ── post-processor ── ids
                                                                      (only with add_special_tokens=True)

The everyday class stays `Tokenizer` (tokenizer.py); this one is for foreign files that it cannot hold. A byte-level BPE
with a known split pattern runs on the compiled encoder here too.

Special tokens never come out of `encode`: a special token spelled in text is ordinary text, and the model itself is built
without them, so that no normalisation and no merge can make one (an unknown word still gives the unknown token).
`parse_special=True` is what `tokenizers` does by default.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ownlm.errors import DataError, UsageError
from ownlm.tokenizer.added import AddedToken, AddedVocabulary, read_added
from ownlm.tokenizer.byte_fast import fast_encoder
from ownlm.tokenizer.decoders import decoder
from ownlm.tokenizer.encoder import surrogate_error
from ownlm.tokenizer.fields import Fields, wrong
from ownlm.tokenizer.normalize import normalizer
from ownlm.tokenizer.piece_model import PieceModel
from ownlm.tokenizer.piece_vocab import model_from_json, model_ids, without_tokens
from ownlm.tokenizer.postprocess import post_processor
from ownlm.tokenizer.pretokenizers import Piece, pre_tokenizer
from ownlm.tokenizer.spelling import unspell

NO_TEMPLATE = "{{- raise_exception('this tokenizer came without a chat template') -}}\n"
ROLES = ("bos", "eos", "unk", "sep", "pad", "cls", "mask")  # of special tokens, as transformers names them
_CACHED_PIECES = 200_000
_LONGEST_CACHED = 64  # characters


class PipelineTokenizer:
    def __init__(
        self,
        raw: dict[str, Any],
        *,
        where: str = "tokenizer.json",
        chat_template: str | None = None,
        model_max_length: int | None = None,
        named: Mapping[str, str] | None = None,
        notices: Sequence[str] = (),
    ) -> None:
        """raw: the content of a tokenizer.json. named: role ("bos") -> special token.

        Raises ArtifactError naming the field for whatever is damaged, unknown or contradicts itself.
        """
        top = Fields(raw, where)
        if top.text("version", "1.0") != "1.0":
            raise top.wrong("version", f"{raw['version'][:20]!r} is not 1.0")
        self.raw = raw
        self.notices = (*notices, *_unapplied(top))
        self.added = read_added(top.any("added_tokens", []), where)
        model = model_ids(top.any("model"), f"{where}: model")
        self._tokens = _all_tokens(model, self.added, where)
        self.vocab_size = len(self._tokens)
        self._ids = {token: id for id, token in enumerate(self._tokens)}
        in_order = sorted(self.added, key=lambda token: token.id)
        self.specials = {token.content: token.id for token in in_order if token.special}
        self._special_ids = frozenset(self.specials.values())
        self._added_by_id = {token.id: token for token in self.added}
        normalize = _normalizer(top.any("normalizer"), f"{where}: normalizer")
        self._find = AddedVocabulary(self.added, normalize, where)
        self._pre = pre_tokenizer(top.any("pre_tokenizer"), f"{where}: pre_tokenizer")
        self._post = post_processor(top.any("post_processor"), self._ids, f"{where}: post_processor")
        self._decode = decoder(top.any("decoder"), f"{where}: decoder")
        top.done()
        self._where = where
        self._fast = fast_encoder(raw, self._tokens, self.added, where)
        self._model: PieceModel | None = None
        if self._fast is None:
            hidden = without_tokens(raw["model"], self.specials)
            self._model = model_from_json(hidden, f"{where}: model")
        self._cache: dict[str, list[int]] = {}
        self.family = self._fast.family if self._fast else f"pipeline:{_model_kind(raw)}"
        self.chat_template = NO_TEMPLATE if chat_template is None else chat_template
        self.model_max_length = model_max_length
        self.named = _checked_roles(named or {}, self._ids, where)

    @cached_property
    def digest(self) -> str:
        """SHA-256 over the content of tokenizer.json: equal digests give equal ids."""
        text = json.dumps(self.raw, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(b"ownlm-pipeline-1\0" + text.encode()).hexdigest()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PipelineTokenizer) and self._state() == other._state()

    def __hash__(self) -> int:
        return hash(self.digest)

    def _state(self) -> tuple[Any, ...]:
        return self.digest, self.chat_template, self.model_max_length, self.named

    @cached_property
    def _plain_model(self) -> PieceModel:
        """The model with the special tokens in it, for parse_special=True."""
        return model_from_json(self.raw["model"], f"{self._where}: model")

    def special_id(self, name: str) -> int:
        if name not in self.specials:
            raise UsageError(
                "This tokenizer has no such special token.", f"{name!r}", f"it has {', '.join(self.specials)}"
            )
        return self.specials[name]

    def encode(
        self,
        text: str,
        add_special_tokens: bool = False,
        parse_special: bool = False,
        as_text: Collection[str] = (),
    ) -> list[int]:
        """Ids of a text. Raises DataError on a lone surrogate.

        add_special_tokens: apply the post-processor. parse_special: special tokens spelled in the text are
        recognised (trusted text only). as_text: added tokens, special or not, to be left as text.
        """
        ids = self.encode_run(text, True, as_text, parse_special)
        return self._post(ids, None) if add_special_tokens else ids

    def encode_pair(self, first: str, second: str) -> list[int]:
        """Ids of two texts with the special tokens that the file puts around and between them."""
        return self._post(self.encode_run(first, True), self.encode_run(second, True))

    def encode_run(
        self, text: str, first: bool, as_text: Collection[str] = (), parse_special: bool = False
    ) -> list[int]:
        """Ids of a stretch of text; `first`: nothing stands before it, so it may get the prefix of a first word."""
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:
            raise surrogate_error(error) from None
        ids: list[int] = []
        for part, id, begins in self._find.parts(text, parse_special, as_text):
            if id is not None:
                ids.append(id)
            elif self._fast is not None:
                ids += self._fast.encode(part)
            else:
                ids += self._encode_part(part, first and begins, parse_special)
        return ids

    def _encode_part(self, part: str, first: bool, parse_special: bool) -> list[int]:
        model = self._plain_model if parse_special or self._model is None else self._model
        cache = {} if parse_special else self._cache
        ids: list[int] = []
        for piece, _ in self._pre([Piece(part, first)]):
            known = cache.get(piece)
            if known is None:
                known = model.encode_piece(piece)
                if len(piece) <= _LONGEST_CACHED and len(cache) < _CACHED_PIECES:
                    cache[piece] = known
            ids += known
        return ids

    def parts(self, text: str) -> list[tuple[str, int | None, bool]]:
        """(normalised text, None or the id of an added token found, does it begin at the first character)."""
        return self._find.parts(text, False, ())

    def text_model(self) -> PieceModel:
        """The model for ordinary text: no piece gives a special token."""
        hidden = without_tokens(self.raw["model"], self.specials)
        return self._model or model_from_json(hidden, f"{self._where}: model")

    def encode_batch(self, texts: Sequence[str], threads: int | None = None) -> list[np.ndarray]:
        """Ids of each text as uint16 (up to 65,536 tokens) or uint32 [n]."""
        dtype = np.uint16 if self.vocab_size <= 1 << 16 else np.uint32
        return [np.array(self.encode(text), dtype=dtype) for text in texts]

    def strips(self, id: int) -> tuple[bool, bool]:
        """Whether the token takes the white space (before, after) it where it is recognised."""
        token = self._added_by_id.get(id)
        return (token.lstrip, token.rstrip) if token else (False, False)

    def token(self, id: int) -> str:
        """The token as tokenizer.json spells it. Raises DataError for a foreign id."""
        if not 0 <= id < self.vocab_size:
            raise DataError(
                "This token id is not in the vocabulary.",
                f"id {id}, vocabulary of {self.vocab_size}",
                "use ids from the tokenizer of the same model",
            )
        return self._tokens[id]

    def token_bytes(self, id: int) -> bytes:
        """The bytes that a token stands for in the middle of a text (an added token: its content).

        Where a decoder looks at several tokens at once (CTC, clean-up of spaces), `decode` of the whole decides.
        """
        token = self.token(id)
        if id in self._added_by_id:
            return token.encode("utf-8")
        if self.is_byte_level:
            return self._byte_table[id]
        if len(token) == 6 and token.startswith("<0x") and self.raw["model"].get("byte_fallback"):
            return bytes([int(token[3:5], 16)])
        return self._decode(["a", token]).removeprefix(self._decode(["a"])).encode("utf-8")

    @cached_property
    def is_byte_level(self) -> bool:
        return isinstance(self.raw.get("decoder"), dict) and self.raw["decoder"].get("type") == "ByteLevel"

    def decode_bytes(self, ids: Sequence[int] | np.ndarray) -> bytes:
        """For a byte-level vocabulary the exact bytes; otherwise the UTF-8 of `decode`."""
        if self.is_byte_level:
            values = ids.tolist() if isinstance(ids, np.ndarray) else ids
            self._check(values)
            table = self._byte_table
            return b"".join([table[id] for id in values])
        return self.decode(ids).encode("utf-8")

    def decode(self, ids: Sequence[int] | np.ndarray, skip_special_tokens: bool = False) -> str:
        """The text of ids; special tokens appear by name unless skipped. Raises DataError for a foreign id."""
        values = ids.tolist() if isinstance(ids, np.ndarray) else ids
        if skip_special_tokens:
            self._check(values)
            values = [id for id in values if id not in self._special_ids]
        if self.is_byte_level:
            return self.decode_bytes(values).decode("utf-8", errors="replace")
        self._check(values)
        tokens = [self._tokens[id] for id in values]
        return self._decode(tokens) if tokens else ""

    def _check(self, ids: Sequence[int]) -> None:
        if ids and not 0 <= min(ids) <= max(ids) < self.vocab_size:
            for id in ids:
                self.token(id)

    @cached_property
    def _byte_table(self) -> list[bytes]:
        """The bytes of each token as the ByteLevel decoder reads it: letters of bytes, anything else as UTF-8."""
        known = (unspell(token) for token in self._tokens)
        return [
            token.encode("utf-8") if found is None else found
            for token, found in zip(self._tokens, known, strict=True)
        ]

    def save(self, folder: Path | str) -> None:
        """Write tokenizer.json, tokenizer_config.json, special_tokens_map.json and chat_template.jinja."""
        from ownlm.tokenizer import folder as files  # builds PipelineTokenizers: imported late

        files.save(self, Path(folder))


def _normalizer(raw: Any, where: str) -> Callable[[str], str] | None:
    return None if raw is None else normalizer(raw, where)


def _unapplied(top: Fields) -> list[str]:
    """What the file asks for and nobody gets: said, not done."""
    notices = []
    for name in ("truncation", "padding"):
        if top.any(name) is not None:
            if not isinstance(top.raw[name], dict):
                raise top.wrong(name, "not an object")
            notices.append(
                f"the file asks for {name}, which encode never does: cut or fill the ids where you use them"
            )
    return notices


def _all_tokens(model: Mapping[int, str], added: Sequence[AddedToken], where: str) -> list[str]:
    """Token of every id. Added tokens lie in the model's vocabulary, in its holes or behind it; no id is left over."""
    tokens = dict(model)
    ids = {token: id for id, token in model.items()}
    for token in added:
        if (
            ids.get(token.content, token.id) != token.id
            or tokens.get(token.id, token.content) != token.content
        ):
            other = tokens.get(token.id, ids.get(token.content))
            raise wrong(
                where, "added_tokens", f"{token.content[:40]!r} = {token.id} clashes with {str(other)[:40]!r}"
            )
        tokens[token.id] = token.content
    if len(tokens) <= max(tokens, default=-1):
        missing = next(id for id in range(len(tokens)) if id not in tokens)
        raise wrong(
            where, "model.vocab", f"no token has the id {missing}, although there are {len(tokens)} tokens"
        )
    return [tokens[id] for id in range(len(tokens))]


def _checked_roles(named: Mapping[str, str], ids: Mapping[str, int], where: str) -> dict[str, str]:
    for role, token in named.items():
        if role not in ROLES or token not in ids:
            raise wrong(where, f"{role[:40]}_token", f"{token[:60]!r} is no token of this vocabulary")
    return dict(named)


def _model_kind(raw: Mapping[str, Any]) -> str:
    return str(raw["model"].get("type") or "untyped")
