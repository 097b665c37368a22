"""Learning a byte-level BPE vocabulary: text in, `Tokenizer` out.

Rule (the same in the compiled and the readable trainer, so both give identical merges): count the adjacent pairs
of every distinct piece, weighted by how often the piece occurs ("aaa" holds the pair aa twice); merge the most
frequent pair everywhere, left to right; among equally frequent pairs the one with the smaller (left id, right id)
wins; repeat. A pair seen fewer than `min_count` times is never merged: a word seen once is no vocabulary.
Ids: 0-255 are the bytes, then the merges in order, then reserved tokens (if any), then the special tokens.
Paper: Sennrich et al. 2016, arXiv:1508.07909; the pair queue with lazy re-insertion is that of subword-nmt.
"""

from __future__ import annotations

import heapq
import itertools
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from ownlm.errors import DataError, UsageError
from ownlm.runtime import native
from ownlm.tokenizer.encoder import surrogate_error
from ownlm.tokenizer.pretokenize import PATTERNS, class_table, require_family, split
from ownlm.tokenizer.tokenizer import Tokenizer, Training
from ownlm.tokenizer.vocabulary import SPECIALS, Vocabulary

_CHUNK_CHARACTERS = (
    8 << 20
)  # text is counted in portions of about this size, so a stream need not fit in memory
_ALIGNMENT = 64  # model widths like vocabularies that are a multiple of this
Pair = tuple[int, int]


def train(
    texts: Iterable[str],
    vocab_size: int,
    family: str = "llama3",
    specials: Sequence[str] = SPECIALS,
    min_count: int = 2,
) -> Tokenizer:
    """Learn a vocabulary of `vocab_size` tokens: 256 bytes, merges, and `specials` at the end.

    When the text has too few repeated pairs, the vocabulary is smaller: the next multiple of 64, filled up with
    named tokens `<|reserved_0|>`...; `Tokenizer.training` states it. Raises UsageError for a vocabulary that
    cannot hold bytes and specials or specials that clash, DataError for text without a character or with lone
    surrogates.
    """
    require_family(family)
    _check(vocab_size, specials)
    wanted = vocab_size - 256 - len(specials)
    try:
        merges, num_words, num_bytes = _learn(texts, family, wanted, min_count)
    except UnicodeEncodeError as error:
        raise surrogate_error(error) from None
    if num_bytes == 0:
        raise DataError(
            "There is no text to learn a vocabulary from.", "0 bytes", "check the data that was read"
        )
    natural = 256 + len(merges) + len(specials)
    total = vocab_size if len(merges) == wanted else min(vocab_size, -(-natural // _ALIGNMENT) * _ALIGNMENT)
    names = [f"<|reserved_{n}|>" for n in range(total - natural)] + list(specials)
    vocabulary = Vocabulary.from_merges(family, merges, names)
    for name in names:
        if name.encode("utf-8") in vocabulary.tokens[: 256 + len(merges)]:
            raise UsageError(
                "A special token must not be an ordinary token too.",
                repr(name),
                "choose a name like <|this|>",
            )
    training = Training(vocab_size, total, len(merges), total - natural, num_words, num_bytes, min_count)
    return Tokenizer(vocabulary, training=training)


def _check(vocab_size: int, specials: Sequence[str]) -> None:
    if len(set(specials)) != len(specials) or any(
        not name or name.startswith("<|reserved_") for name in specials
    ):
        raise UsageError(
            "Special tokens must be different, not empty, not reserved names.", f"{list(specials)}"
        )
    if vocab_size < 256 + len(specials):
        raise UsageError(
            "The vocabulary is too small for a byte-level tokenizer.",
            f"vocab_size = {vocab_size}; 256 bytes + {len(specials)} special tokens are needed",
            "ask for at least 512 tokens",
        )


def _learn(texts: Iterable[str], family: str, wanted: int, min_count: int) -> tuple[list[Pair], int, int]:
    """(merges, distinct pieces, bytes read), by the compiled trainer where there is one."""
    kernels = native.kernels()
    if kernels is None:
        words: Counter[bytes] = Counter()
        num_bytes = count_words(texts, family, words)
        return learn_merges(words, wanted, min_count), len(words), num_bytes
    counter = kernels.WordCounter(list(PATTERNS).index(family), class_table())
    threads = len(os.sched_getaffinity(0))
    for portion in _portions(texts):
        counter.add(portion, threads)
    merges: np.ndarray = counter.learn(wanted, min_count)
    return [(a, b) for a, b in merges.tolist()], counter.num_words, counter.num_bytes


def _portions(texts: Iterable[str]) -> Iterator[list[str]]:
    portion: list[str] = []
    size = 0
    for text in texts:
        portion.append(text)
        size += len(text)
        if size >= _CHUNK_CHARACTERS:
            yield portion
            portion, size = [], 0
    if portion:
        yield portion


def count_words(texts: Iterable[str], family: str, words: Counter[bytes]) -> int:
    """Add the pieces of all texts to `words`; returns the number of UTF-8 bytes read."""
    before = sum(len(word) * count for word, count in words.items())
    for text in texts:
        text.encode("utf-8")  # a lone surrogate is found here, with its position in the whole text
        for piece, count in Counter(split(text, family)).items():
            words[piece.encode("utf-8")] += count
    return sum(len(word) * count for word, count in words.items()) - before


def learn_merges(words: Mapping[bytes, int], num_merges: int, min_count: int = 2) -> list[Pair]:
    """The readable trainer: up to `num_merges` pairs; the n-th makes the token 256 + n."""
    pieces = [list(word) for word in words]
    weights = list(words.values())
    counts: Counter[Pair] = Counter()
    where: defaultdict[Pair, set[int]] = defaultdict(set)
    for index, piece in enumerate(pieces):
        for pair in itertools.pairwise(piece):
            counts[pair] += weights[index]
            where[pair].add(index)
    heap = [(-count, pair) for pair, count in counts.items()]
    heapq.heapify(heap)
    merges: list[Pair] = []
    while heap and len(merges) < num_merges:
        negative, pair = heapq.heappop(heap)
        if (
            counts[pair] != -negative
        ):  # counts only fall after a pair is queued: queue it again where it belongs
            heapq.heappush(heap, (-counts[pair], pair))
            continue
        if counts[pair] < min_count:
            break
        new = 256 + len(merges)
        merges.append(pair)
        born = set()
        for index in where.pop(pair):
            born |= merge_piece(pieces, index, weights[index], pair, new, counts, where)
        counts.pop(pair, None)
        for other in born:
            heapq.heappush(heap, (-counts[other], other))
    return merges


def merge_piece(
    pieces: list[list[int]], index: int, weight: int, pair: Pair, new: int,
    counts: Counter[Pair], where: defaultdict[Pair, set[int]],
) -> set[Pair]:  # fmt: skip
    """Apply one merge to one piece and recount its pairs; returns the pairs with the new token."""
    old, merged, at = pieces[index], [], 0
    while at < len(old):
        if tuple(old[at : at + 2]) == pair:
            merged.append(new)
            at += 2
        else:
            merged.append(old[at])
            at += 1
    for before in itertools.pairwise(old):
        counts[before] -= weight
    born = set()
    for after in itertools.pairwise(merged):
        counts[after] += weight
        if new in after:
            where[after].add(index)
            born.add(after)
    pieces[index] = merged
    return born
