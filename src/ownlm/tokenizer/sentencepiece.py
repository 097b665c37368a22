"""SentencePiece tokenizers: raw text, white space included, to ids, with the ids of the sentencepiece package.

    text ── rules (charsmap) and white space -> "▁" ── cut by unigram, BPE, words or characters ── unknown runs, bytes ── ids

Kudo and Richardson 2018, arXiv:1808.06226. Pieces have types: normal ones have scores; user-defined ones are always
kept whole and never normalised; unused ones may be passed through, but never come out; control pieces and the
unknown piece never match text, so text cannot spell them; byte pieces write what no other piece can.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from functools import cached_property
from pathlib import Path

import numpy as np
import regex

from ownlm.errors import DataError, UsageError
from ownlm.tokenizer.charsmap import Charsmap
from ownlm.tokenizer.encoder import surrogate_error
from ownlm.tokenizer.piece_kernels import LONG, Cutter, cutter
from ownlm.tokenizer.scored_bpe import ScoredBPE
from ownlm.tokenizer.unigram import UNKNOWN_PENALTY
from ownlm.tokenizer.viterbi import best_cut, trie

SPACE = "▁"
_NOTHING = Charsmap(b"", "no rules")
Surface = tuple[str, int]  # a stretch of normalised text and the id of its piece


class PieceType(IntEnum):
    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


KINDS = ("unigram", "bpe", "word", "char")


@dataclass(frozen=True)
class Spec:
    """What a SentencePiece file says. pieces, scores, types: by id."""

    kind: str  # one of KINDS
    pieces: tuple[str, ...]
    scores: tuple[float, ...]  # float32 values
    types: tuple[PieceType, ...]
    unk_id: int
    byte_fallback: bool = False
    add_dummy_prefix: bool = True
    remove_extra_whitespaces: bool = True
    escape_whitespaces: bool = True
    whitespace_as_suffix: bool = False
    unk_surface: str = " ⁇ "
    charsmap: Charsmap = _NOTHING
    denormalizer: Charsmap = _NOTHING


class SentencePieceTokenizer:
    """Same face as `Tokenizer`; text never gives a control id."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.vocab_size = len(spec.pieces)
        self.family = f"sentencepiece-{spec.kind}"
        self.specials = {
            piece: id
            for id, (piece, kind) in enumerate(zip(spec.pieces, spec.types, strict=True))
            if kind in (PieceType.CONTROL, PieceType.UNKNOWN)
        }
        self.chat_template: str | None = None  # the format has none; a file beside it, or GGUF, may give one
        self.model_max_length: int | None = None
        self.file: bytes | None = None  # the .model file that this was read from
        usual = {"bos": "<s>", "eos": "</s>", "pad": "<pad>", "unk": spec.pieces[spec.unk_id]}
        self.named = {role: piece for role, piece in usual.items() if piece in self.specials}
        self.notices: tuple[str, ...] = ()
        self._twins: dict[frozenset[str], SentencePieceTokenizer] = {}
        self._cutters = {"unigram": self._unigram, "bpe": self._bpe, "word": self._words, "char": self._chars}
        rows = list(zip(spec.pieces, spec.scores, spec.types, range(self.vocab_size), strict=True))
        matching = (PieceType.NORMAL, PieceType.USER_DEFINED, PieceType.UNUSED)
        self._ids = {piece: id for piece, _, kind, id in rows if kind in matching}
        self._bytes = [-1] * 256
        for piece, _, kind, id in rows:
            if kind == PieceType.BYTE:
                self._bytes[int(piece[3:5], 16)] = id
        whole = sorted((p for p, _, kind, _ in rows if kind == PieceType.USER_DEFINED), key=len, reverse=True)
        self._whole = regex.compile("|".join(map(regex.escape, whole))) if whole else None
        self.merger: ScoredBPE | None = None
        if spec.kind == "unigram":
            self._prepare_unigram(rows)
        elif spec.kind == "bpe":
            unused = {piece for piece, _, kind, _ in rows if kind == PieceType.UNUSED}
            self.merger = ScoredBPE(self._ids, spec.scores, unused)

    def _prepare_unigram(self, rows: list[tuple[str, float, PieceType, int]]) -> None:
        normal = [score for _, score, kind, _ in rows if kind == PieceType.NORMAL]
        highest = np.float32(max([0.0, *normal]))  # sentencepiece starts from FLT_MIN, so it is never below 0
        self.unknown_score = float(np.float32(min(normal, default=0.0)) - np.float32(UNKNOWN_PENALTY))

        def score(piece: str, own: float, kind: PieceType) -> float:
            if kind != PieceType.USER_DEFINED:
                return own
            bonus = float(np.float32(len(piece.encode("utf-8"))) * highest) - 0.1  # beats any cut of it
            return float(np.float32(bonus))

        self._scored = [
            (piece, score(piece, own, kind), id)
            for piece, own, kind, id in rows
            if kind in (PieceType.NORMAL, PieceType.USER_DEFINED)
        ]
        self.trie = trie(self._scored)

    @cached_property
    def digest(self) -> str:
        """SHA-256 over everything that decides the ids."""
        spec, state = self.spec, hashlib.sha256(b"ownlm-sentencepiece-1")
        flags = (spec.kind, spec.unk_id, spec.byte_fallback, spec.add_dummy_prefix, spec.remove_extra_whitespaces,
                 spec.escape_whitespaces, spec.whitespace_as_suffix, sorted(spec.charsmap.rules.items()))  # fmt: skip
        state.update(repr(flags).encode())
        for piece, score, kind in zip(spec.pieces, spec.scores, spec.types, strict=True):
            state.update(piece.encode() + b"\0" + struct.pack("<fB", score, kind))
        return state.hexdigest()

    def normalize(self, text: str) -> str:
        """The text that is cut: rules applied, white space escaped, trimmed and marked as the file says."""
        spec = self.spec
        trim = spec.remove_extra_whitespaces
        parts = self._replaced(text)
        if trim:
            first = next((n for n, part in enumerate(parts) if part != " "), len(parts))
            parts = parts[first:]
        if not parts:
            return ""
        if trim:
            joined = _single_spaces(parts)
        else:
            joined = "".join(parts)
        space = SPACE if spec.escape_whitespaces else " "
        done = joined.replace(" ", space)
        if spec.add_dummy_prefix and not spec.whitespace_as_suffix:
            done = space + done
        if trim:
            done = done.rstrip(space)
        if spec.add_dummy_prefix and spec.whitespace_as_suffix:
            done += space
        return done

    def _replaced(self, text: str) -> list[str]:
        """The text in stretches, each the replacement of one key, one user-defined piece or one character."""
        rules, charsmap, whole = self.spec.charsmap.rules, self.spec.charsmap, self._whole
        if whole is None and not rules:
            return list(text)
        parts: list[str] = []
        at, size, candidate = 0, len(text), -1
        candidates = iter(charsmap.candidates(text))
        kept = whole.search(text) if whole else None
        while at < size:
            if kept is not None and kept.start() == at:
                parts.append(kept[0])
                at = kept.end()
            else:
                while candidate < at:
                    candidate = next(candidates, size)
                plain = min(candidate, kept.start() if kept else size)
                parts.extend(text[at:plain])
                at = plain
                if at < candidate or at == size:
                    continue
                length = charsmap.longest_at(text, at)
                parts.append(rules[text[at : at + length]] if length else text[at])
                at += length or 1
            if kept is not None and kept.start() < at and whole:
                kept = whole.search(text, at)
        return parts

    def encode(self, text: str) -> list[int]:
        """Ids of a text, no control token added or recognised. Raises DataError on a lone surrogate."""
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:
            raise surrogate_error(error) from None
        unknown, previous = self.spec.unk_id, False
        ids: list[int] = []
        for surface, id in self.surfaces(self.normalize(text)):
            if id != unknown:
                ids.append(id)
                previous = False
            else:
                written, previous = self.written(surface, id, previous)
                ids += written
        return ids

    def surfaces(self, normal: str) -> list[Surface]:
        """Normalised text in pieces; an unknown one has the id of the unknown piece."""
        return self._cutters[self.spec.kind](normal)

    def written(self, surface: str, id: int, previous: bool) -> tuple[Sequence[int], bool]:
        """(ids of a surface, is it unknown). previous: the surface before was; a run of unknown ones is one id."""
        unknown = id == self.spec.unk_id
        if unknown and self.spec.byte_fallback:
            return [self._bytes[byte] for byte in surface.encode("utf-8")], True
        return (() if unknown and previous else (id,)), unknown

    def without(self, pieces: Collection[str]) -> SentencePieceTokenizer:
        """The same ids, but text never gives one of these user-defined pieces."""
        hidden = frozenset(piece for piece in pieces if self._ids.get(piece) in self._whole_ids)
        if not hidden:
            return self
        if hidden not in self._twins:
            rows = zip(self.spec.pieces, self.spec.types, strict=True)
            types = tuple(PieceType.CONTROL if piece in hidden else kind for piece, kind in rows)
            self._twins[hidden] = SentencePieceTokenizer(replace(self.spec, types=types))
        return self._twins[hidden]

    @cached_property
    def _whole_ids(self) -> frozenset[int]:
        return frozenset(id for id, kind in enumerate(self.spec.types) if kind == PieceType.USER_DEFINED)

    def user_defined(self) -> dict[str, int]:
        """Pieces that are kept whole wherever text spells them."""
        return {self.spec.pieces[id]: id for id in sorted(self._whole_ids)}

    def save(self, folder: Path | str) -> None:
        """Write tokenizer.model, which reads back with equal ids here and in the sentencepiece package, and the template."""
        from ownlm.tokenizer.adapters import (
            sentencepiece as files,
        )  # builds SentencePieceTokenizers: imported late

        files.save(self, Path(folder))

    def encode_batch(self, texts: Sequence[str], threads: int | None = None) -> list[np.ndarray]:
        """Ids of each text as uint16 (up to 65,536 pieces) or uint32 [n]; one thread, whatever is asked."""
        dtype = np.uint16 if self.vocab_size <= 1 << 16 else np.uint32
        return [np.array(self.encode(text), dtype=dtype) for text in texts]

    def cut_unigram(self, text: str) -> list[tuple[int, int, int]]:
        """[(start, end, id)] of the most likely cut of normalised text."""
        if len(text) > LONG and self._fast is not None:
            return self._fast.cut(text, self.unknown_score, self.spec.unk_id, single=True)
        return best_cut(text, self.trie, self.unknown_score, self.spec.unk_id, single=True)

    @cached_property
    def _fast(self) -> Cutter | None:
        return cutter(self._scored)

    def _unigram(self, text: str) -> list[Surface]:
        return [(text[start:end], id) for start, end, id in self.cut_unigram(text)]

    def _bpe(self, text: str) -> list[Surface]:
        surfaces: list[Surface] = []
        for stretch, whole in self.apart(text):
            if whole:
                surfaces.append((stretch, self._ids[stretch]))
            elif self.merger is not None:
                surfaces.extend(
                    (piece, self._ids.get(piece, self.spec.unk_id)) for piece in self.merger.cut(stretch)
                )
        return surfaces

    def _chars(self, text: str) -> list[Surface]:
        unknown = self.spec.unk_id
        surfaces = []
        for stretch, whole in self.apart(text):
            surfaces += [(p, self._ids.get(p, unknown)) for p in ([stretch] if whole else stretch)]
        return surfaces

    def _words(self, text: str) -> list[Surface]:
        """A word begins at each "▁", wherever the file puts the marker of the first word."""
        words = regex.findall(f"{SPACE}[^{SPACE}]*|[^{SPACE}]+", text)
        return [(word, self._ids.get(word, self.spec.unk_id)) for word in words]

    def apart(self, text: str) -> list[tuple[str, bool]]:
        """(stretch, is it a user-defined piece), in order."""
        if self._whole is None:
            return [(text, False)]
        out, at = [], 0
        for found in self._whole.finditer(text):
            if found.start() > at:
                out.append((text[at : found.start()], False))
            out.append((found[0], True))
            at = found.end()
        return [*out, (text[at:], False)] if at < len(text) else out

    def special_id(self, name: str) -> int:
        if name not in self.specials:
            raise UsageError(
                "This tokenizer has no such special token.", f"{name!r}", f"it has {', '.join(self.specials)}"
            )
        return self.specials[name]

    def _check(self, id: int) -> None:
        if not 0 <= id < self.vocab_size:
            raise DataError(
                "This token id is not in the vocabulary.",
                f"id {id}, vocabulary of {self.vocab_size}",
                "use ids from the tokenizer of the same model",
            )

    def token_bytes(self, id: int) -> bytes:
        """The bytes that a piece stands for inside a text ("▁" is a space; a control piece: its name)."""
        self._check(id)
        piece, kind = self.spec.pieces[id], self.spec.types[id]
        if kind == PieceType.BYTE:
            return bytes([int(piece[3:5], 16)])
        return (
            piece.replace(SPACE, " ").encode("utf-8")
            if id not in self.specials.values()
            else piece.encode("utf-8")
        )

    def decode_bytes(self, ids: Sequence[int] | np.ndarray) -> bytes:
        """The UTF-8 of `decode`."""
        return self.decode(ids).encode("utf-8")

    def decode(self, ids: Sequence[int] | np.ndarray) -> str:
        """The text: control pieces give nothing, the unknown piece its surface (" ⁇ "), the marker of the first word goes."""
        spec = self.spec
        text: list[str] = []
        raw = bytearray()
        begin, mark_seen = True, False
        for id in ids.tolist() if isinstance(ids, np.ndarray) else ids:
            self._check(id)
            kind = spec.types[id]
            if kind == PieceType.BYTE:
                raw.append(int(spec.pieces[id][3:5], 16))
                continue
            if raw:
                text.append(_bytes_text(raw))
                raw.clear()
            begin = begin and not mark_seen and not any(text)
            shown, mark_seen = self._shown(id, kind, begin)
            text.append(shown)
        joined = "".join([*text, _bytes_text(raw)])
        return _longest(joined, spec.denormalizer) if spec.denormalizer.rules else joined

    def _shown(self, id: int, kind: PieceType, begin: bool) -> tuple[str, bool]:
        """(text of a piece, did it lose the marker of the first word)."""
        spec = self.spec
        if kind == PieceType.CONTROL:
            return "", False
        if kind == PieceType.UNKNOWN:
            return spec.unk_surface, False
        piece, lost = spec.pieces[id], False
        if begin and (spec.add_dummy_prefix or spec.remove_extra_whitespaces) and piece.startswith(SPACE):
            piece, lost = piece[1:], not spec.remove_extra_whitespaces
        return piece.replace(SPACE, " "), lost


def _single_spaces(parts: list[str]) -> str:
    """Joined, where a stretch loses its first spaces if the one before ended in one."""
    joined = "".join(parts)
    if "  " not in joined and not joined.startswith(" "):
        return joined
    out, space = [], True
    for part in parts:
        if space:
            part = part.lstrip(" ")
        if part:
            out.append(part)
            space = part.endswith(" ")
    return "".join(out)


def _longest(text: str, charsmap: Charsmap) -> str:
    out, at = [], 0
    while at < len(text):
        length = charsmap.longest_at(text, at)
        out.append(charsmap.rules[text[at : at + length]] if length else text[at])
        at += length or 1
    return "".join(out)


def _bytes_text(raw: bytes | bytearray) -> str:
    """UTF-8, where each byte that belongs to no character is one U+FFFD."""
    out, at = [], 0
    while at < len(raw):
        for length in (1, 2, 3, 4):
            try:
                out.append(bytes(raw[at : at + length]).decode("utf-8"))
                break
            except UnicodeDecodeError:
                continue
        else:
            out.append("\ufffd")
            length = 1
        at += length
    return "".join(out)
