"""The objectives by name: what is trained, on which batches, which model.

entry = find("spans")
model = entry.model(config, specials, seed)
batch_at = entry.batches(Text(shards.tokens, shards.document_starts, context, batch_size, seed, vocab_size), specials)
for record in train(model, batch_at, settings, folder, objective=entry.objective()): ...
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from torch import nn

from ownlm.config import nearest
from ownlm.errors import UsageError
from ownlm.train.batches import BatchAt, ShardBatches, shard_batches
from ownlm.train.corruption.bart import BartBatches
from ownlm.train.corruption.documents import DocumentBatches
from ownlm.train.corruption.infill import ADDED, InfillBatches, Sentinels
from ownlm.train.corruption.masking import MaskedBatches
from ownlm.train.corruption.noising import NoisedBatches
from ownlm.train.corruption.pairs import PairBatches
from ownlm.train.corruption.prefix import PrefixBatches
from ownlm.train.corruption.spans import SpanBatches, ul2
from ownlm.train.objectives import models
from ownlm.train.objectives.causal import Causal, Objective
from ownlm.train.objectives.diffusion import Diffusion
from ownlm.train.objectives.masked import Masked
from ownlm.train.objectives.multi_token import MultiTokenPrediction
from ownlm.train.objectives.prefix import Prefix
from ownlm.train.objectives.seq2seq import SourceToTarget
from ownlm.train.objectives.specials import Specials


@dataclass(frozen=True, slots=True)
class Text:
    """The text that batches are cut from."""

    tokens: np.ndarray
    """All documents in one row, as `data.shards.Shards.tokens`."""
    document_starts: np.ndarray | None
    """Where each begins; None: not known."""
    context: int
    """Tokens of a row, as the model sees it."""
    batch_size: int
    """Rows of a step."""
    seed: int
    vocab_size: int
    """Of the model."""

    def windows(self, context: int | None = None) -> ShardBatches:
        """Plain windows; raises DataError where the text is too short for them."""
        return shard_batches(self, context or self.context, self.batch_size, self.seed)

    def starts(self) -> np.ndarray:
        """Raises UsageError where they are not known."""
        if self.document_starts is None:
            raise UsageError("This objective needs to know where documents begin.", "only tokens were given",
                             "give token shards, which have an index")  # fmt: skip
        return self.document_starts


@dataclass(frozen=True, slots=True)
class Entry:
    """One way to pretrain."""

    about: str
    objective: Callable[..., Objective]
    """Keywords: the fields of the objective."""
    batches: Callable[..., BatchAt]
    """(Text, Specials, further keywords of the batches) -> batch_at."""
    model: Callable[..., nn.Module]
    """(ModelConfig, Specials, seed) -> what is trained."""
    roles: tuple[str, ...] = ()
    """Special tokens that `batches` or `model` need."""


def find(name: str) -> Entry:
    """Raises UsageError for an unknown name, with the nearest that is known."""
    if name not in OBJECTIVES:
        close = nearest(name, list(OBJECTIVES))
        raise UsageError("This objective is not known.", repr(name),
                         f"did you mean {close}?" if close else f"use one of {', '.join(OBJECTIVES)}")  # fmt: skip
    return OBJECTIVES[name]


def _windows(text: Text, specials: Specials) -> BatchAt:
    return text.windows()


def _documents(text: Text, specials: Specials) -> BatchAt:
    return DocumentBatches(text.windows(), text.starts())


def _masked(text: Text, specials: Specials, rate: float = 0.15) -> BatchAt:
    return _ask(text.windows(), text, specials, rate)


def _masked_pairs(text: Text, specials: Specials, rate: float = 0.15) -> BatchAt:
    ids = {f"{role}_id": specials.one(role) for role in ("cls", "sep", "pad")}
    pairs = PairBatches(text.tokens, text.starts(), text.context, text.batch_size, text.seed, **ids)
    return _ask(pairs, text, specials, rate)


def _ask(source: BatchAt, text: Text, specials: Specials, rate: float) -> BatchAt:
    return MaskedBatches(source, mask_id=specials.one("mask"), vocab_size=text.vocab_size, seed=text.seed,
                         rate=rate, keep_ids=specials.reserved())  # fmt: skip


def _spans(text: Text, specials: Specials, **options: Any) -> BatchAt:
    return SpanBatches(text.windows(), context=text.context, sentinels=specials.all("sentinels"),
                       end_id=specials.one("end"), pad_id=specials.one("pad"), seed=text.seed, **options)  # fmt: skip


def _ul2(text: Text, specials: Specials) -> BatchAt:
    modes = specials.all("modes")
    if len(modes) != 3:
        raise UsageError("UL2 has three modes.", f"modes: {list(modes)}", "give the ids of R, S and X")
    return _spans(text, specials, denoisers=ul2(*modes))


def _bart(text: Text, specials: Specials, **options: Any) -> BatchAt:
    return BartBatches(text.windows(), mask_id=specials.one("mask"), end_id=specials.one("end"), seed=text.seed,
                       pad_id=specials.one("pad"), stop_ids=specials.all("stops"), **options)  # fmt: skip


def _prefix(text: Text, specials: Specials) -> BatchAt:
    return PrefixBatches(text.windows(), text.seed)


def _infill(text: Text, specials: Specials, documents_per_row: int = 1, **options: Any) -> BatchAt:
    parts = (specials.one(role) for role in ("infill_prefix", "infill_suffix", "infill_middle", "end"))
    room = text.context - ADDED * documents_per_row
    if room < 2:
        raise UsageError("The sentinels leave no room for text.", f"context {text.context}, {documents_per_row} documents",
                         "give a longer context or fewer documents per row")  # fmt: skip
    return InfillBatches(text.windows(room), sentinels=Sentinels(*parts), bos_id=specials.one("bos"), seed=text.seed,
                         pad_id=specials.one("pad"), documents_per_row=documents_per_row, **options)  # fmt: skip


def _noised(text: Text, specials: Specials, **options: Any) -> BatchAt:
    return NoisedBatches(text.windows(), mask_id=text.vocab_size, seed=text.seed, **options)


OBJECTIVES: dict[str, Entry] = {
    "causal": Entry("the next token", Causal, _windows, models.decoder),
    "causal_documents": Entry(
        "the next token, documents of a window kept apart", Causal, _documents, models.decoder
    ),
    "mlm": Entry("masked tokens (BERT)", Masked, _masked, models.encoder, ("mask",)),
    "mlm+nsp": Entry("masked tokens and whether texts follow each other (BERT)", partial(Masked, next_sentence=True),
                     _masked_pairs, models.encoder_of_pairs, ("mask", "cls", "sep", "pad")),
    "spans": Entry("cut-out spans (T5)", SourceToTarget, _spans, models.t5, ("sentinels", "end", "pad")),
    "ul2": Entry("a mixture of seven ways to cut (UL2)", SourceToTarget, _ul2, models.t5,
                 ("sentinels", "modes", "end", "pad")),
    "bart": Entry("the text behind noise (BART)", SourceToTarget, _bart, models.bart,
                  ("mask", "stops", "end", "pad")),
    "prefix": Entry("the rest of a text whose prefix is read both ways", Prefix, _prefix, models.decoder),
    "fim": Entry("the next token, middles last (fill in the middle)", Causal, _infill, models.decoder,
                 ("infill_prefix", "infill_suffix", "infill_middle", "bos", "end", "pad")),
    "multi_token": Entry("several tokens ahead", MultiTokenPrediction, _windows, models.multi_token),
    "diffusion": Entry("tokens that vanished at a random time", Diffusion, _noised, models.diffusion),
}  # fmt: skip
"""PRE-01 to PRE-05 by name."""
