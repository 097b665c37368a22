"""Learning a Unigram vocabulary: EM over all segmentations, then pruning, until the wanted size is reached.

Kudo 2018, arXiv:1804.10959, section 3.2. Seed: every frequent substring of a word, the best by count x length, and every
character. Then in turn: two rounds of EM, where the M step takes exp(digamma(count)) (as sentencepiece does: it pulls rare
pieces towards zero) and drops pieces expected less than half a time; and pruning of a quarter of the pieces, those whose
loss (the log likelihood given up when each occurrence is cut the second-best way) is least. Characters always stay.
Differences from sentencepiece: counts for the loss are expected counts, not those of the best cut; substrings come from
a dictionary over distinct words instead of a suffix array. Words are those of Metaspace: a space becomes "▁" and begins a word.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ownlm.errors import DataError, UsageError
from ownlm.tokenizer.encoder import surrogate_error
from ownlm.tokenizer.lattice import Array, Lattice
from ownlm.tokenizer.unigram import Unigram

SPACE = "▁"
UNKNOWN = "<unk>"
_KEPT_PER_ROUND = 0.75  # of the pieces, when pruning
_SURPLUS = 1.1  # pruning goes on until this many times the wanted size is left
_EXPECTED_ENOUGH = 0.5  # occurrences below which a piece is dropped in the M step


@dataclass(frozen=True, slots=True)
class UnigramTraining:
    """What learning came to."""

    requested: int
    vocab_size: int  # smaller when the text has too few substrings that come twice
    num_words: int  # distinct words
    num_bytes: int  # UTF-8 bytes read
    num_dropped_characters: int  # distinct characters left out by character_coverage; they are unknown text
    log_likelihood_per_byte: float  # nats, of the training text under all its segmentations


def train(
    texts: Iterable[str],
    vocab_size: int,
    *,
    specials: Sequence[str] = (),
    byte_fallback: bool = False,
    character_coverage: float = 0.9995,
    longest_piece: int = 16,
    seed_factor: int = 12,
    min_count: int = 2,
) -> tuple[Unigram, UnigramTraining]:
    """(model, account). Vocabulary: <unk>, specials, bytes if asked for, then pieces, best score first.

    character_coverage: share of the text's characters that get a token; the rarest are left out. seed_factor: size of
    the seed vocabulary in vocabularies. min_count: rarer substrings are no pieces. Raises DataError for text without a character or with a lone surrogate,
    UsageError when characters and specials alone do not fit.
    """
    words, num_bytes = count_words(texts)
    if not words:
        raise DataError("There is no text to learn a vocabulary from.", "0 characters", "check the data")
    kept, dropped = _characters(words, character_coverage)
    reserved = [UNKNOWN, *specials, *([f"<0x{byte:02X}>" for byte in range(256)] if byte_fallback else [])]
    wanted = vocab_size - len(reserved)
    if len(set(reserved)) != len(reserved) or wanted < len(kept):
        raise UsageError(
            "The vocabulary is too small for the characters of the text, or a special token is given twice.",
            f"vocab_size = {vocab_size}: {len(kept)} characters and {len(reserved)} other tokens",
            "ask for more tokens, lower character_coverage or set byte_fallback",
        )
    words = _without(words, kept)
    pieces, counts = seed_pieces(
        words, kept, seed_factor * vocab_size, longest_piece, set(reserved), min_count
    )
    pieces, scores, likelihood = _shrink(words, pieces, counts, len(kept), wanted, longest_piece)
    order = sorted(range(len(pieces)), key=lambda n: (-scores[n], pieces[n]))
    low = float(min(scores))
    vocab = [*reserved, *(pieces[n] for n in order)]
    model = Unigram(vocab, [*[low] * len(reserved), *(float(scores[n]) for n in order)], 0, byte_fallback)
    account = UnigramTraining(
        vocab_size, len(vocab), len(words), num_bytes, len(dropped), likelihood / num_bytes
    )
    return model, account


def count_words(texts: Iterable[str]) -> tuple[Counter[str], int]:
    """(word -> how often, UTF-8 bytes read). A word is "▁" and what follows up to the next white space."""
    words: Counter[str] = Counter()
    num_bytes = 0
    for text in texts:
        try:
            num_bytes += len(text.encode("utf-8"))
        except UnicodeEncodeError as error:
            raise surrogate_error(error) from None
        words.update(text.split())
    return Counter({SPACE + word: count for word, count in words.items()}), num_bytes


def _characters(words: Counter[str], coverage: float) -> tuple[list[str], list[str]]:
    """(characters to keep, characters left out), most frequent first."""
    counts: Counter[str] = Counter()
    for word, count in words.items():
        for character in word:
            counts[character] += count
    total, seen = sum(counts.values()), 0
    kept: list[str] = []
    in_order = sorted(counts, key=lambda character: (-counts[character], character))
    for character in in_order:
        if seen >= coverage * total and kept:
            break
        kept.append(character)
        seen += counts[character]
    return kept, in_order[len(kept) :]


def _without(words: Counter[str], kept: Sequence[str]) -> Counter[str]:
    """The words, cut where a character is left out."""
    known, out = set(kept), Counter[str]()
    for word, count in words.items():
        if known.issuperset(word):
            out[word] += count
            continue
        cut = "".join([character if character in known else "\n" for character in word])
        for part in cut.split("\n"):
            if part:
                out[part] += count
    return out


def seed_pieces(
    words: Counter[str],
    characters: Sequence[str],
    size: int,
    longest: int,
    taken: set[str],
    min_count: int = 2,
) -> tuple[list[str], Array]:
    """(pieces, counts): the characters, then substrings seen `min_count` times or more, by count x length."""
    counts: Counter[str] = Counter()
    for word, count in words.items():
        length = len(word)
        for start in range(length):
            for end in range(start + 1, min(length, start + longest) + 1):
                counts[word[start:end]] += count
    longer = [
        piece
        for piece, count in counts.items()
        if len(piece) > 1 and count >= min_count and piece not in taken
    ]
    longer.sort(key=lambda piece: (-counts[piece] * len(piece), piece))
    pieces = [*characters, *longer[: max(0, size - len(characters))]]
    return pieces, np.array([counts[piece] for piece in pieces], dtype=np.float64)


def _shrink(
    words: Counter[str], pieces: list[str], counts: Array, num_characters: int, wanted: int, longest: int
) -> tuple[list[str], list[float], float]:
    """(pieces, scores, log likelihood) after EM and pruning down to `wanted` pieces; the characters come first."""
    index = {piece: n for n, piece in enumerate(pieces)}
    strings = list(words)
    weights = np.array([words[string] for string in strings], dtype=np.float64)  # [S]
    lattice = Lattice(strings, index, longest)
    others = Lattice(pieces, index, longest, without_self=True)
    alive = np.ones(len(pieces), dtype=bool)
    must = np.arange(len(pieces)) < num_characters
    scores = np.log(counts / counts.sum())
    while True:
        for _ in range(2):
            expected, _ = lattice.expected(scores, weights)
            alive &= must | (expected >= _EXPECTED_ENOUGH)
            scores = _maximise(expected, alive)
            lattice.keep(alive)
        if alive.sum() <= _SURPLUS * wanted:
            break
        expected, _ = lattice.expected(scores, weights)
        others.keep(alive)
        left = max(int(_SURPLUS * wanted), int(_KEPT_PER_ROUND * alive.sum()))
        loss = _losses(others, scores, expected)
        loss[must] = np.inf
        alive = _most(loss, alive, left)
        lattice.keep(alive)
    alive = _most(np.where(must, np.inf, scores), alive, wanted)
    lattice.keep(alive)
    expected, total = lattice.expected(np.where(alive, scores, -np.inf), weights)
    scores = _maximise(np.maximum(expected, _EXPECTED_ENOUGH), alive)
    total = lattice.expected(scores, weights)[1]
    keep = np.flatnonzero(alive)
    return [pieces[n] for n in keep], [float(scores[n]) for n in keep], float((total * weights).sum())


def _most(value: Array, alive: Array, number: int) -> Array:
    """bool [P]: the `number` living pieces of the highest value; of equal ones the earlier."""
    candidates = np.flatnonzero(alive)
    order = candidates[np.argsort(-value[candidates], kind="stable")]
    kept = np.zeros_like(alive)
    kept[order[:number]] = True
    return kept


def _maximise(expected: Array, alive: Array) -> Array:
    """Scores [P]: digamma(count) - digamma(total); -inf for the dead. A character never seen keeps a little."""
    counts = np.where(alive, np.maximum(expected, 1e-2), 1.0)
    total = float(counts[alive].sum())
    scores = digamma(counts) - digamma(np.array([total]))[0]
    floor = np.log(1e-3 / total)  # digamma falls without end near 0
    return np.where(alive, np.maximum(scores, floor), -np.inf)


def _losses(others: Lattice, scores: Array, expected: Array) -> Array:
    """[P]: log likelihood lost when a piece goes and each of its occurrences is cut the best other way; 0 for pieces
    that are never expected, infinite for those that have no other way."""
    best = others.best_edges(scores)
    node = others.last.copy()
    total = expected.sum()
    log_others = np.zeros(len(scores))
    num_parts = np.zeros(len(scores))
    stuck = np.zeros(len(scores), dtype=bool)
    open_ = np.flatnonzero(node > others.first)
    while len(open_):
        edge = best[node[open_]]
        lost = edge < 0
        stuck[open_[lost]] = True
        open_, edge = open_[~lost], edge[~lost]
        log_others[open_] += np.log(np.maximum(expected[others.piece[edge]] + expected[open_], 1e-300))
        num_parts[open_] += 1
        node[open_] = others.start[edge]
        open_ = open_[node[open_] > others.first[open_]]
    with np.errstate(divide="ignore", invalid="ignore"):
        now = np.log(expected) - np.log(total)
        then = log_others - num_parts * np.log(total + expected * (num_parts - 1))
        loss = np.where(expected > 0, expected / total * (now - then), 0.0)
    return np.where(stuck, np.inf, loss)


def digamma(x: Array) -> Array:
    """d log Gamma(x) / dx for x > 0, to 1e-10: recurrence up to 7, then the asymptotic series."""
    value = np.zeros_like(x)
    x = x.copy()
    while (small := x < 7).any():
        value[small] -= 1 / x[small]
        x[small] += 1
    square = 1 / (x * x)
    series = square * (1 / 12 - square * (1 / 120 - square * (1 / 252 - square * (1 / 240 - square / 132))))
    return value + np.log(x) - 0.5 / x - series


def tokenizer_json(model: Unigram, specials: Sequence[str] = ()) -> dict[str, Any]:
    """A whole tokenizer.json around the model: spaces as "▁", words cut at them, white space kept as it is."""
    metaspace = {"type": "Metaspace", "replacement": SPACE, "prepend_scheme": "always", "split": True}
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    names = [UNKNOWN, *specials]
    decoder: dict[str, Any] = metaspace
    if model.byte_fallback:
        decoder = {"type": "Sequence", "decoders": [{"type": "ByteFallback"}, metaspace]}
    return {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [{"id": model.vocab.index(name), "content": name, **flags} for name in names],
        "normalizer": None, "pre_tokenizer": metaspace, "post_processor": None, "decoder": decoder,
        "model": model.to_json(),
    }  # fmt: skip
