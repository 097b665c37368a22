"""New tokens for a language or domain that a byte-level BPE vocabulary knows badly.

Training goes on where it stopped: the new text is cut and encoded with the old merges, and the most frequent adjacent pair
is merged again and again (the rule of bpe.py). The new merges rank behind all old ones, so a text in which no new
merge applies keeps its ids, every old sequence of ids still decodes to the same text, and old ids keep their rows in
the model. What the rows of new tokens should be is in model/resize.py (`Extension.pieces` says of what they are made).
"""

from __future__ import annotations

import heapq
import itertools
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ownlm.errors import DataError, UsageError
from ownlm.tokenizer.bpe import merge_piece
from ownlm.tokenizer.encoder import surrogate_error
from ownlm.tokenizer.pretokenize import split
from ownlm.tokenizer.tokenizer import Tokenizer
from ownlm.tokenizer.vocabulary import Vocabulary

Pair = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Extension:
    """A tokenizer with new tokens behind all old ids."""

    tokenizer: Tokenizer
    pieces: tuple[tuple[int, ...], ...]  # pieces[n]: old ids that spell the token old_size + n
    old_size: int
    requested: int
    tokens_before: int  # of the new text, in old tokens and in new ones
    tokens_after: int
    num_bytes: int

    def notice(self) -> str:
        """One sentence: what came of it."""
        ran_out = f" instead of {self.requested}, the text has no more pairs" * (
            len(self.pieces) < self.requested
        )
        return (
            f"{len(self.pieces)} new tokens{ran_out}; bytes per token on the new text "
            f"{self.num_bytes / max(1, self.tokens_before):.2f} -> {self.num_bytes / max(1, self.tokens_after):.2f}"
        )


def extend(tokenizer: Tokenizer, texts: Iterable[str], num_tokens: int, min_count: int = 2) -> Extension:
    """Learn up to `num_tokens` further merges on new text.

    A pair that spells a token which exists already is passed over: no old token gets a second way to arise. Raises
    UsageError for a number below 1, DataError for no text or a lone surrogate.
    """
    if num_tokens < 1:
        raise UsageError("At least one token must be added.", f"num_tokens = {num_tokens}")
    words: Counter[str] = Counter()
    for text in texts:
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:
            raise surrogate_error(error) from None
        words.update(split(text, tokenizer.family))
    if not words:
        raise DataError("There is no text to learn tokens from.", "0 bytes", "check the data that was read")
    encoded = [tokenizer.encode(word) for word in words]
    weights = list(words.values())
    before = sum(len(ids) * weight for ids, weight in zip(encoded, weights, strict=True))
    old = tokenizer.vocabulary
    merges = _further_merges(encoded, weights, old.tokens, num_tokens, min_count)
    tokens = list(old.tokens)
    for left, right in merges:
        tokens.append(tokens[left] + tokens[right])
    vocabulary = Vocabulary(old.family, tuple(tokens), (*old.merges, *merges), old.specials)
    extended = Tokenizer(
        vocabulary, chat_template=tokenizer.chat_template, model_max_length=tokenizer.model_max_length, named=tokenizer.named
    )  # fmt: skip
    after = sum(len(extended.encode(word)) * weight for word, weight in words.items())
    num_bytes = sum(len(word.encode("utf-8")) * weight for word, weight in words.items())
    pieces = _pieces(merges, len(old.tokens))
    return Extension(extended, pieces, len(old.tokens), num_tokens, before, after, num_bytes)


def _pieces(merges: Sequence[Pair], old_size: int) -> tuple[tuple[int, ...], ...]:
    made: list[tuple[int, ...]] = []
    for pair in merges:
        parts = (made[id - old_size] if id >= old_size else (id,) for id in pair)
        made.append(tuple(itertools.chain.from_iterable(parts)))
    return tuple(made)


def _further_merges(
    pieces: list[list[int]], weights: Sequence[int], old: Sequence[bytes], wanted: int, min_count: int
) -> list[Pair]:
    """As bpe.learn_merges, but from pieces that are already merged, and with tokens that are taken.

    Ties go to the smaller pair of ids.
    """
    tokens, taken = list(old), set(old)
    counts: Counter[Pair] = Counter()
    where: defaultdict[Pair, set[int]] = defaultdict(set)
    for index, piece in enumerate(pieces):
        for pair in itertools.pairwise(piece):
            counts[pair] += weights[index]
            where[pair].add(index)
    heap = [(-count, pair) for pair, count in counts.items()]
    heapq.heapify(heap)
    merges: list[Pair] = []
    while heap and len(merges) < wanted:
        negative, pair = heapq.heappop(heap)
        if counts[pair] != -negative:  # counts only fall after a pair is queued: back to where it belongs
            heapq.heappush(heap, (-counts[pair], pair))
            continue
        if counts[pair] < min_count:
            break
        joined = tokens[pair[0]] + tokens[pair[1]]
        if joined in taken:
            continue
        taken.add(joined)
        tokens.append(joined)
        merges.append(pair)
        born = set()
        for index in where.pop(pair):
            born |= merge_piece(pieces, index, weights[index], pair, len(tokens) - 1, counts, where)
        counts.pop(pair, None)
        for other in born:
            heapq.heappush(heap, (-counts[other], other))
    return merges
