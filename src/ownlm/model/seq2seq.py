"""A recurrent encoder-decoder, with or without attention: translation before the transformer.

      source [B,S] -- embedding -- GRU in both directions -- memory [B,S,D]
                                                              |  attention
      ids [B,T] ----- embedding -------------------- GRU ---- joined -- output -- logits [B,T,V]

    none      the decoder has the encoder's last state and nothing else (Sutskever et al. 2014, arXiv:1409.3215)
    additive  the state before each step asks the memory; the answer goes into the step (Bahdanau, 1409.0473)
    dot, general, concat   the state after each step asks; the answer joins it (Luong, 1508.04025, section 3.1,
              without input feeding)

We deviate from both in the output layer: it reads tanh(W [state; context]) in either case.
Letters: B batch, S source tokens, T target tokens, D width of embeddings, states and memory, V target vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from ownlm.errors import UsageError
from ownlm.model import rnn
from ownlm.model.attention import luong
from ownlm.model.attention.additive import AdditiveAttention
from ownlm.model.attention.luong import LuongAttention
from ownlm.model.hooks import Tapped
from ownlm.model.place import DecodeCache

ATTENTIONS = ("none", "additive", *luong.KINDS)


@dataclass(frozen=True, slots=True)
class Seq2SeqConfig:
    source_vocab_size: int
    vocab_size: int
    """Of the target."""
    hidden_size: int
    """D, even: each direction of the encoder has half."""
    attention: str = "additive"
    """A name of ATTENTIONS."""

    def __post_init__(self) -> None:
        if self.attention not in ATTENTIONS:
            raise UsageError("This attention is not known.", repr(self.attention), f"use one of {', '.join(ATTENTIONS)}")  # fmt: skip
        if min(self.source_vocab_size, self.vocab_size, self.hidden_size) < 1 or self.hidden_size % 2:
            raise UsageError(
                "An encoder-decoder needs positive sizes and an even width.", str(self), "correct them"
            )


@dataclass(frozen=True, slots=True)
class Encoded:
    """A source that was read; what the decoder needs of it."""

    memory: Tensor  # [B, S, D]
    start: Tensor  # [B, D]: the decoder's first state
    mask: Tensor | None  # bool [B, S]


class Seq2Seq(Tapped):
    """Float32 weights drawn from `seed`."""

    POINTS: ClassVar = {"memory": "B S D", "joined": "B T D"}

    def __init__(self, config: Seq2SeqConfig, seed: int = 0) -> None:
        super().__init__()
        self.config = config
        D, kind = config.hidden_size, config.attention
        self.source_embedding = nn.Embedding(config.source_vocab_size, D)
        self.embedding = nn.Embedding(config.vocab_size, D)
        self.encoder = rnn.Recurrent("gru", D, D // 2, bidirectional=True)
        self.bridge = nn.Linear(D, D)
        self.attention: AdditiveAttention | LuongAttention | None = None
        if kind != "none":
            self.attention = AdditiveAttention(D, D, D) if kind == "additive" else LuongAttention(kind, D, D)
        self.decoder = rnn.Recurrent("gru", 2 * D if kind == "additive" else D, D)
        self.join = nn.Linear(D if kind == "none" else 2 * D, D)
        self.output = nn.Linear(D, config.vocab_size)
        if not self.embedding.weight.is_meta:
            self.initialize(seed)

    @torch.no_grad()
    def initialize(self, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        for table in (self.source_embedding, self.embedding):
            table.weight.normal_(0.0, 1.0, generator=generator)
        for linear in (self.bridge, self.join, self.output):
            linear.weight.uniform_(-(linear.in_features**-0.5), linear.in_features**-0.5, generator=generator)
            linear.bias.zero_()
        rnn.initialize(self, generator)
        if self.attention is not None:
            self.attention.initialize(generator)

    def forward(
        self,
        ids: Tensor,
        source: Tensor | Encoded,
        cache: DecodeCache | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        """ids [B, T] and source [B, S] int64 -> logits [B, T, V], causal in ids.

        source: the tokens, or what `encode` made of them (then without `mask`), which a loop over a cache should
        pass. mask: bool [B, S], False where the source is padding.
        """
        return self.output(self.read(ids, source, cache, mask)[0])  # type: ignore[no-any-return]

    def encode(self, source: Tensor, mask: Tensor | None = None) -> Encoded:
        """source [B, S] int64, mask bool [B, S] or None -> what the decoder needs."""
        if mask is not None and not bool(mask.any(dim=1).all()):
            raise UsageError(
                "A source has no token.", "a row of the mask is False everywhere", "leave it out"
            )
        memory, (forward, backward) = self.encoder(self.source_embedding(source), mask=mask)  # [B,S,D]
        last = torch.cat((forward[0], backward[0]), dim=-1)
        return Encoded(self.tap("memory", memory), torch.tanh(self.bridge(last)), mask)

    def read(
        self,
        ids: Tensor,
        source: Tensor | Encoded,
        cache: DecodeCache | None = None,
        mask: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """(the output layer's input [B, T, D], the attention pattern [B, T, S] or None without attention)."""
        if isinstance(source, Encoded) and mask is not None:
            raise UsageError(
                "The mask of this source is already in it.", "mask beside an Encoded", "leave it out"
            )
        if ids.ndim != 2 or ids.shape[1] < 1:
            raise UsageError(
                "The decoder needs at least one token.", f"ids {list(ids.shape)}", "give [B, T], from bos on"
            )
        told = source if isinstance(source, Encoded) else self.encode(source, mask)
        state = told.start
        if cache is not None:
            cache.begin(ids.shape[1], ids.device)
            kept = cache.state(0)
            state = state if kept is None else kept
        context: Tensor | None = None
        pattern: Tensor | None = None
        if isinstance(self.attention, AdditiveAttention):
            hidden, context, pattern, state = self._ask_before(self.embedding(ids), state, told)
        else:
            hidden, ((state,),) = self.decoder(self.embedding(ids), [(state,)])  # [B,T,D]
            if self.attention is not None:
                context, pattern = self.attention(hidden, told.memory, told.mask)  # [B,T,D], [B,T,S]
        if cache is not None:
            cache.keep(0, state)
            cache.end()
        both = hidden if context is None else torch.cat((hidden, context), dim=-1)
        return self.tap("joined", torch.tanh(self.join(both))), pattern

    def _ask_before(self, x: Tensor, state: Tensor, told: Encoded) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Bahdanau's order, step by step: hidden [B, T, D], context [B, T, D], pattern [B, T, S], last state."""
        assert self.attention is not None, "only called with attention"
        steps = []
        for t in range(x.shape[1]):
            context, pattern = self.attention(state[:, None], told.memory, told.mask)  # [B,1,D], [B,1,S]
            hidden, ((state,),) = self.decoder(torch.cat((x[:, t : t + 1], context), dim=-1), [(state,)])
            steps.append((hidden, context, pattern))
        hidden, context, pattern = (torch.cat(parts, dim=1) for parts in zip(*steps, strict=True))
        return hidden, context, pattern, state

    def alignment(self, ids: Tensor, source: Tensor | Encoded) -> Tensor:
        """The attention pattern [B, T, S]; row t belongs to the prediction after ids[:, t]."""
        pattern = self.read(ids, source)[1]
        if pattern is None:
            raise UsageError("This model has no attention.", "attention = 'none'", "choose another attention")
        return pattern

    @torch.no_grad()
    def translate(self, source: Tensor, bos: int, num_tokens: int, mask: Tensor | None = None) -> Tensor:
        """The most likely token at each of `num_tokens` steps after bos: [B, num_tokens]."""
        told, cache = self.encode(source, mask), self.new_cache()
        ids, found = torch.full((source.shape[0], 1), bos, device=source.device), []
        for _ in range(num_tokens):
            ids = self(ids, told, cache).argmax(dim=-1)
            found.append(ids)
        return torch.cat(found, dim=1) if found else ids[:, :0]

    def new_cache(self) -> DecodeCache:
        return DecodeCache([None])

    def num_parameters(self) -> int:
        c, D = self.config, self.config.hidden_size
        attention = 0
        if c.attention != "none":
            attention = AdditiveAttention.num_parameters(D, D, D) if c.attention == "additive" else LuongAttention.num_parameters(c.attention, D, D)  # fmt: skip
        recurrent = rnn.count_parameters("gru", D, D // 2, 1, True)
        recurrent += rnn.count_parameters("gru", 2 * D if c.attention == "additive" else D, D)
        joined = (D if c.attention == "none" else 2 * D) * D + D
        tables = (c.source_vocab_size + c.vocab_size) * D
        return tables + attention + recurrent + joined + D * D + D + c.vocab_size * (D + 1)

    def flops_per_token(self, context: int) -> int:
        """Training operations per target token with a source of `context` tokens, the encoder's work apart.

        6 per weight of a product; the attention's scores and context cost 4 D per source token (additive and
        concat: 6 D), three times that in training.
        """
        c, D = self.config, self.config.hidden_size
        inputs = 2 * D if c.attention == "additive" else D
        weights = 3 * D * (inputs + D) + (D if c.attention == "none" else 2 * D) * D + D * c.vocab_size
        query = {"none": 0, "dot": 0, "general": 0}.get(c.attention, D * D)
        scores = {"none": 0, "dot": 4 * D, "general": 4 * D}.get(c.attention, 6 * D) * context
        return 6 * (weights + query) + 3 * scores

    def cache_bytes_per_token(self, dtype_bytes: int = 4) -> int:
        """0: of the target only a state is kept."""
        return 0
