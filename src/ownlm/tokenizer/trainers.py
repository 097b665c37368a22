"""Learning a tokenizer of any kind from text: `train("unigram", texts, 8000)`. What comes back saves and loads as a folder.

bpe, bytes            `Tokenizer`: byte-level, any text without loss
unigram, characters   `PipelineTokenizer` with ownlm's special tokens and chat template
wordpiece             `PipelineTokenizer` with BERT's special tokens, for encoders: it has no template and loses white space

The algorithms are bpe.py, unigram_train.py, wordpiece_train.py, characters.py and byte_level.py; here they get what
stands around them in a tokenizer.json, such that Hugging Face `tokenizers` gives the same ids from the folder.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ownlm.errors import UsageError
from ownlm.tokenizer import bpe, characters, unigram_train, wordpiece_train
from ownlm.tokenizer.byte_level import byte_tokenizer
from ownlm.tokenizer.encoder import surrogate_error
from ownlm.tokenizer.normalize import normalizer
from ownlm.tokenizer.pipeline import PipelineTokenizer
from ownlm.tokenizer.pretokenizers import Piece, pre_tokenizer
from ownlm.tokenizer.tokenizer import Tokenizer, default_chat_template
from ownlm.tokenizer.vocabulary import BOS, END, PAD, SPECIALS

_SPACE = unigram_train.SPACE
_FLAGS = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
_NAMED = {"bos": BOS, "eos": END, "pad": PAD}


@dataclass(frozen=True, slots=True)
class Trained:
    """A fresh tokenizer, sentences about what is not as asked for, and what it cost."""

    tokenizer: Tokenizer | PipelineTokenizer
    notices: tuple[str, ...]
    num_bytes: int  # UTF-8 bytes of text read
    seconds: float


def train(
    kind: str,
    texts: Iterable[str],
    vocab_size: int,
    *,
    family: str | None = None,
    min_count: int | None = None,
) -> Trained:
    """Learn at most `vocab_size` tokens, special ones included.

    family: split pattern of bpe (None: llama3). min_count: rarer pairs, substrings or characters are not learned (None: 2,
    of characters 1). Raises UsageError for an option that the kind has no use for or a vocabulary that is too small,
    DataError for no text or a lone surrogate.
    """
    if kind not in KINDS:
        raise UsageError("There is no tokenizer of this kind.", f"{kind!r}", f"use one of {', '.join(KINDS)}")
    for name, value, users in (("family", family, ("bpe",)), ("min_count", min_count, KINDS[:-1])):
        if value is not None and kind not in users:
            raise UsageError(
                "This kind of tokenizer has no use for that option.",
                f"{kind}: {name} = {value!r}",
                "leave it out",
            )
    if min_count is not None and min_count < 1:
        raise UsageError("A count of at least 1 is needed.", f"min_count = {min_count}", "give 1 or more")
    started = time.perf_counter()
    text = _Counted(texts)
    if kind == "bpe":
        tokenizer, notices = _bpe(text, vocab_size, family or "llama3", min_count or 2)
    else:
        tokenizer, notices = _TRAINERS[kind](text, vocab_size, min_count)
    return Trained(tokenizer, tuple(notices), text.num_bytes, time.perf_counter() - started)


class _Counted:
    """The texts, once, and how many bytes they came to. Raises DataError on a lone surrogate."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._texts = texts
        self.num_bytes = 0

    def __iter__(self) -> Iterator[str]:
        for text in self._texts:
            try:
                self.num_bytes += len(text.encode("utf-8"))
            except UnicodeEncodeError as error:
                raise surrogate_error(error) from None
            yield text


_Made = tuple[Tokenizer | PipelineTokenizer, list[str]]


def _bpe(texts: Iterable[str], vocab_size: int, family: str, min_count: int) -> _Made:
    tokenizer = bpe.train(texts, vocab_size, family, min_count=min_count)
    notice = tokenizer.training.notice() if tokenizer.training else ""
    return tokenizer, [notice] if notice else []


def _unigram(texts: Iterable[str], vocab_size: int, min_count: int | None) -> _Made:
    """White space as "▁", one put before each stretch of text and taken away again; other text as bytes: loss-free,
    except that a "▁" of the text comes back as a space."""
    wanted = vocab_size - len(
        SPECIALS
    )  # those stand behind the model's own: then no other reader spells them either
    model, account = unigram_train.train(texts, wanted, byte_fallback=True, min_count=min_count or 2)
    size = len(model.vocab)
    specials = [(unigram_train.UNKNOWN, 0), *((name, size + n) for n, name in enumerate(SPECIALS))]
    metaspace = {"type": "Metaspace", "replacement": _SPACE, "split": True}
    raw = document(
        model.to_json(),
        specials,
        normalizer={"type": "Prepend", "prepend": _SPACE},
        pre_tokenizer={**metaspace, "prepend_scheme": "never"},
        decoder={
            "type": "Sequence",
            "decoders": [{"type": "ByteFallback"}, {**metaspace, "prepend_scheme": "always"}],
        },
    )
    notices = _smaller(size + len(SPECIALS), vocab_size, "substrings that occur often enough")
    if account.num_dropped_characters:
        notices.append(
            f"{account.num_dropped_characters} rare characters have no token: they are written as bytes"
        )
    return _with_template(raw), notices


def _characters(texts: Iterable[str], vocab_size: int, min_count: int | None) -> _Made:
    """A character that is not in the vocabulary is an error, never dropped."""
    model = characters.train(texts, "error", min_count or 1)
    size = len(model.vocab) + len(SPECIALS)
    if not model.vocab or size > vocab_size:
        raise UsageError(
            "The vocabulary does not hold the characters of the text.",
            f"vocab_size = {vocab_size}: {len(model.vocab)} characters and {len(SPECIALS)} special tokens",
            f"ask for {max(size, 8)} tokens, or change min_count",
        )
    behind = [(name, len(model.vocab) + n) for n, name in enumerate(SPECIALS)]
    raw = document(model.to_json(), behind, decoder={"type": "Fuse"})
    return _with_template(raw), _smaller(size, vocab_size, "different characters")


def _wordpiece(texts: Iterable[str], vocab_size: int, min_count: int | None) -> _Made:
    """BERT's cased normalisation, words, template and decoder."""
    clean = {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True, "strip_accents": None,
             "lowercase": False}  # fmt: skip
    model = wordpiece_train.train(_words(texts, clean), vocab_size, min_count=min_count or 2)
    ids = {name: model.vocab.index(name) for name in wordpiece_train.BERT_SPECIALS}
    raw = document(
        model.to_json(),
        list(ids.items()),
        normalizer=clean,
        pre_tokenizer={"type": "BertPreTokenizer"},
        post_processor=bert_template(ids),
        decoder={"type": "WordPiece", "prefix": model.prefix, "cleanup": True},
    )
    tokenizer = PipelineTokenizer(raw, named={name[1:-1].lower(): name for name in ids})
    return tokenizer, _smaller(len(model.vocab), vocab_size, "pairs that occur often enough")


def _words(texts: Iterable[str], clean: dict[str, Any]) -> Counter[str]:
    """The words of all texts as the encoder will see them."""
    normalize = normalizer(clean, "normalizer")
    cut = pre_tokenizer({"type": "BertPreTokenizer"}, "pre_tokenizer")
    words: Counter[str] = Counter()
    for text in texts:
        words.update(piece.text for piece in cut([Piece(normalize(text), True)]))
    return words


def _bytes(texts: Iterable[str], vocab_size: int, min_count: int | None) -> _Made:
    for _ in texts:  # only counted
        pass
    tokenizer = byte_tokenizer()
    if vocab_size < tokenizer.vocab_size:
        raise UsageError(
            "The vocabulary is too small for the bytes and the special tokens.",
            f"vocab_size = {vocab_size}",
            f"ask for {tokenizer.vocab_size}",
        )
    return tokenizer, [f"bytes need no learning: {tokenizer.vocab_size} tokens whatever the text is"]


_TRAINERS: dict[str, Callable[[Iterable[str], int, int | None], _Made]] = {
    "unigram": _unigram,
    "wordpiece": _wordpiece,
    "characters": _characters,
    "bytes": _bytes,
}
KINDS = ("bpe", *_TRAINERS)


def _smaller(size: int, requested: int, of_what: str) -> list[str]:
    if size >= requested:
        return []
    return [f"the text has too few {of_what}: the vocabulary has {size} tokens instead of {requested}"]


def _with_template(raw: dict[str, Any]) -> PipelineTokenizer:
    return PipelineTokenizer(raw, chat_template=default_chat_template(), named=_NAMED)


def document(model: dict[str, Any], specials: Sequence[tuple[str, int]], **parts: Any) -> dict[str, Any]:
    """A whole tokenizer.json around a model. specials: (name, id)."""
    return {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [{"id": id, "content": name, **_FLAGS} for name, id in specials],
        "normalizer": None, "pre_tokenizer": None, "post_processor": None, "decoder": None,
        **parts, "model": model,
    }  # fmt: skip


def bert_template(ids: dict[str, int]) -> dict[str, Any]:
    """[CLS] A [SEP] and [CLS] A [SEP] B [SEP]."""
    single: list[Any] = [
        {"SpecialToken": {"id": "[CLS]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
        {"SpecialToken": {"id": "[SEP]", "type_id": 0}},
    ]  # fmt: skip
    second = [{"Sequence": {"id": "B", "type_id": 1}}, {"SpecialToken": {"id": "[SEP]", "type_id": 1}}]
    return {
        "type": "TemplateProcessing", "single": single, "pair": single + second,
        "special_tokens": {t: {"id": t, "ids": [ids[t]], "tokens": [t]} for t in ("[CLS]", "[SEP]")},
    }  # fmt: skip
