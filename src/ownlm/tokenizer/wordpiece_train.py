"""Learning a WordPiece vocabulary: merge the pair that raises the likelihood of the text most per pair of its parts.

Words start as characters, all but the first with the prefix "##". The pair with the highest count(ab) / (count(a) count(b))
is merged everywhere (Schuster and Nakajima 2012, as Devlin et al. 2019 describe it), until the vocabulary is full. That
score favours pairs of rare parts, so pairs seen fewer than `min_count` times are never merged; among equal scores the pair
with the smaller (left id, right id) goes first. The Hugging Face `WordPieceTrainer` differs: it is their BPE trainer, which
merges the most frequent pair, and only spells the result with "##".
"""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from ownlm.errors import DataError, UsageError
from ownlm.tokenizer.wordpiece import WordPiece

BERT_SPECIALS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
Pair = tuple[int, int]


def train(
    words: Iterable[str] | Counter[str],
    vocab_size: int,
    *,
    specials: Sequence[str] = BERT_SPECIALS,
    prefix: str = "##",
    unk_token: str = "[UNK]",
    min_count: int = 2,
    max_chars: int = 100,
) -> WordPiece:
    """A vocabulary of at most `vocab_size`: specials, characters in code point order, merges in order.

    words: normalised words (or their counts), as a pre-tokenizer gives them; words of more than `max_chars` characters are
    unknown to the encoder and teach nothing. Raises DataError without words, UsageError when the characters do not fit.
    """
    counts = Counter({w: n for w, n in Counter(words).items() if w and len(w) <= max_chars})
    if not counts:
        raise DataError("There is no word to learn a vocabulary from.", "0 words", "check the data")
    if unk_token not in specials or len(set(specials)) != len(specials):
        raise UsageError("Special tokens must be different and hold the unknown token.", f"{list(specials)}")
    tokens = list(specials)
    alphabet = sorted({word[0] for word in counts} | {prefix + c for word in counts for c in word[1:]})
    tokens += [token for token in alphabet if token not in specials]
    if len(tokens) > vocab_size:
        raise UsageError(
            "The vocabulary is too small for the characters of the text.",
            f"vocab_size = {vocab_size}; {len(tokens)} tokens are needed before any merge",
            "ask for more tokens or remove rare characters",
        )
    merged = _Merges(counts, {token: id for id, token in enumerate(tokens)}, prefix)
    while len(tokens) < vocab_size:
        pair = merged.best(min_count)
        if pair is None:
            break
        token = tokens[pair[0]] + tokens[pair[1]][len(prefix) :]
        known = merged.ids.get(token)
        if known is None:
            known = merged.ids[token] = len(tokens)
            tokens.append(token)
        merged.apply(pair, known)
    return WordPiece(tokens, unk_token, prefix, max_chars)


class _Merges:
    """The words as ids, and the counts of ids and of adjacent pairs."""

    def __init__(self, counts: Counter[str], ids: dict[str, int], prefix: str) -> None:
        self.ids = ids
        self.weights = list(counts.values())
        self.pieces = [[ids[(prefix if at else "") + c] for at, c in enumerate(word)] for word in counts]
        self.singles: defaultdict[int, int] = defaultdict(int)
        self.where: defaultdict[Pair, set[int]] = defaultdict(set)
        self.slots: dict[Pair, int] = {}
        self.left, self.right = np.zeros(1024, dtype=np.int64), np.zeros(1024, dtype=np.int64)
        self.pairs = np.zeros(1024, dtype=np.int64)  # [slots] count of each pair
        self.symbols = np.zeros(1024, dtype=np.int64)  # [ids] count of each id
        for number in range(len(self.pieces)):
            self._count(number, 1)

    def _count(self, number: int, sign: int) -> None:
        piece, weight = self.pieces[number], sign * self.weights[number]
        for id in piece:
            if id >= len(self.symbols):
                self.symbols = np.concatenate([self.symbols, np.zeros_like(self.symbols)])
            self.symbols[id] += weight
        for pair in itertools.pairwise(piece):
            slot = self._slot(pair)  # may make a longer array
            self.pairs[slot] += weight
            if sign > 0:
                self.where[pair].add(number)

    def _slot(self, pair: Pair) -> int:
        slot = self.slots.get(pair)
        if slot is None:
            slot = self.slots[pair] = len(self.slots)
            if slot == len(self.pairs):
                self.left, self.right, self.pairs = (
                    np.concatenate([a, np.zeros_like(a)]) for a in (self.left, self.right, self.pairs)
                )
            self.left[slot], self.right[slot] = pair
        return slot

    def best(self, min_count: int) -> Pair | None:
        """The pair of the highest score that occurs often enough."""
        slots = np.flatnonzero(self.pairs >= max(1, min_count))
        if not len(slots):
            return None
        left, right = self.left[slots], self.right[slots]
        score = self.pairs[slots] / (self.symbols[left].astype(np.float64) * self.symbols[right])
        ties = slots[score == score.max()]
        return min((int(self.left[slot]), int(self.right[slot])) for slot in ties)

    def apply(self, pair: Pair, new: int) -> None:
        """Merge one pair wherever it occurs, left to right."""
        for number in sorted(self.where.pop(pair, ())):
            old = self.pieces[number]
            merged, at = [], 0
            while at < len(old):
                if at + 1 < len(old) and (old[at], old[at + 1]) == pair:
                    merged.append(new)
                    at += 2
                else:
                    merged.append(old[at])
                    at += 1
            if len(merged) < len(old):
                self._count(number, -1)
                self.pieces[number] = merged
                self._count(number, 1)


def tokenizer_json(model: WordPiece, specials: Sequence[str] = BERT_SPECIALS) -> dict[str, Any]:
    """A whole tokenizer.json around the model: BERT's uncased normalisation and words."""
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    return {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [{"id": model.vocab.index(name), "content": name, **flags} for name in specials],
        "normalizer": {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True,
                       "strip_accents": None, "lowercase": True},
        "pre_tokenizer": {"type": "BertPreTokenizer"}, "post_processor": None,
        "decoder": {"type": "WordPiece", "prefix": model.prefix, "cleanup": True},
        "model": model.to_json(),
    }  # fmt: skip
