"""tiktoken rank files ("base64 rank" per line) -> the byte-level `Tokenizer`, with tiktoken's ids.

tiktoken merges whatever adjacent pair makes the token of the lowest rank. Each token has exactly one pair that it is made
of when its own bytes are merged that way, and merging in the order of ranks meets no other: a merge across
the token's border would mean that the token does not stand there. So ranks give merges, one per token.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from pathlib import Path

from ownlm.errors import ArtifactError, UsageError
from ownlm.tokenizer.fields import FIX, MAX_FILE_BYTES
from ownlm.tokenizer.piece_model import MAX_IDS
from ownlm.tokenizer.pretokenize import require_family
from ownlm.tokenizer.tokenizer import Tokenizer
from ownlm.tokenizer.vocabulary import Vocabulary

_FIM = ("<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>")
_LANGUAGES = (
    "en zh de es ru ko fr ja pt tr pl ca nl ar sv it id hi fi vi he uk el ms cs ro da hu ta no th ur hr bg lt la mi ml cy sk "
    "te fa lv bn sr az sl kn et mk br eu is hy ne mn bs kk sq sw gl mr pa si km sn yo so af oc ka be tg sd gu am yi lo uz fo "
    "ht ps tk nn mt sa lb my bo tl mg as tt haw ln ha ba jw su"
)


def _whisper(first: int) -> dict[str, int]:
    tasks = ("translate", "transcribe", "startoflm", "startofprev", "nospeech", "notimestamps")
    names = ["endoftext", "startoftranscript", *_LANGUAGES.split(), *tasks]
    names += [f"{n * 0.02:.2f}" for n in range(1501)]
    return {f"<|{name}|>": first + n for n, name in enumerate(names)}


_CL100K = {
    "<|endoftext|>": 100257,
    **{name: 100258 + n for n, name in enumerate(_FIM)},
    "<|endofprompt|>": 100276,
}
KNOWN: dict[str, tuple[str, dict[str, int]]] = {
    "gpt2": ("gpt2", {"<|endoftext|>": 50256}),
    "r50k_base": ("gpt2", {"<|endoftext|>": 50256}),
    "p50k_base": ("gpt2", {"<|endoftext|>": 50256}),
    "p50k_edit": ("gpt2", {"<|endoftext|>": 50256, **{name: 50281 + n for n, name in enumerate(_FIM)}}),
    "cl100k_base": ("cl100k", _CL100K),
    "o200k_base": ("o200k", {"<|endoftext|>": 199999, "<|endofprompt|>": 200018}),
    "whisper_multilingual": ("gpt2", _whisper(50257)),
    "multilingual": ("gpt2", _whisper(50257)),  # the names that Whisper itself ships them under
}
"""File name without ending -> (family, special tokens)."""


def load(path: Path | str, family: str | None = None, specials: Mapping[str, int] | None = None) -> Tokenizer:
    """The tokenizer in a rank file; family and special tokens are those of the file's name unless given.

    An id between the ranks and the special tokens that belongs to neither becomes a reserved token that no text makes.
    Raises UsageError for an unknown name without `family`, ArtifactError naming the line for a damaged file.
    """
    path = Path(path)
    known = KNOWN.get(path.name.removesuffix(".tiktoken"))
    if family is None and known is None:
        raise UsageError(
            "A rank file does not say how text is split, and this file's name is not a known one.",
            f"{path.name}; known are {', '.join(KNOWN)}",
            "give family= (gpt2, cl100k, o200k, llama3 or qwen2) and specials=",
        )
    family = require_family(family or (known[0] if known else ""))
    if specials is None:
        specials = known[1] if known else {}
    return Tokenizer(vocabulary(read_ranks(path), family, specials, path.name))


def read_ranks(path: Path) -> dict[bytes, int]:
    """token -> rank. Raises ArtifactError naming the line."""
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise _wrong(path.name, f"{path.stat().st_size} bytes, more than {MAX_FILE_BYTES}")
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise ArtifactError("A tokenizer file cannot be read.", f"{path}: {error.strerror}", FIX) from error
    ranks: dict[bytes, int] = {}
    used: set[int] = set()
    for n, line in enumerate(lines):
        parts = line.split()
        if not parts or (
            len(parts) == 2 and parts[0] == b"="
        ):  # Whisper's file has a rank for the empty token
            continue
        try:
            token, rank = base64.b64decode(parts[0], validate=True), int(parts[1])
            usable = len(parts) == 2 and token and parts[1].isdigit() and rank < MAX_IDS
        except (IndexError, ValueError, binascii.Error):
            usable = False
        if not usable or token in ranks or rank in used:
            raise _wrong(path.name, f"line {n + 1}: {line[:60]!r} is not a new 'base64 rank'")
        ranks[token] = rank
        used.add(rank)
    return ranks


def _wrong(file: str, values: str) -> ArtifactError:
    return ArtifactError("This rank file is damaged.", f"{file}: {values}", FIX)


def vocabulary(
    ranks: Mapping[bytes, int], family: str, specials: Mapping[str, int], where: str
) -> Vocabulary:
    """Raises ArtifactError for a byte without token, a token that cannot be merged, or ids that clash."""
    by_id: dict[int, bytes] = {id: name.encode("utf-8") for name, id in specials.items()}
    taken = set(ranks.values())
    if len(by_id) != len(specials) or taken & by_id.keys():
        raise _wrong(where, "a special token has the id of another token")
    total = max([*taken, *by_id], default=-1) + 1
    if total > 4 * len(ranks) + (1 << 16):
        raise _wrong(where, f"ids up to {total - 1} for {len(ranks)} tokens")
    by_id.update({rank: token for token, rank in ranks.items()})
    names = dict(specials)
    for id in range(total):
        if id not in by_id:
            names[f"<|reserved_{id}|>"] = id
            by_id[id] = f"<|reserved_{id}|>".encode()
    merges = merges_of(ranks, where)
    in_order = dict(sorted(names.items(), key=lambda item: item[1]))
    return Vocabulary(family, tuple(by_id[id] for id in range(total)), tuple(merges), in_order)


def merges_of(ranks: Mapping[bytes, int], where: str) -> list[tuple[int, int]]:
    """(left id, right id) of every token of two or more bytes, lowest rank first."""
    merges = []
    for token, rank in sorted(ranks.items(), key=lambda item: item[1]):
        if len(token) == 1:
            continue
        pair = _pair(token, rank, ranks)
        if pair is None:
            raise _wrong(
                where, f"token {token[:40]!r} (rank {rank}) cannot be merged from tokens of lower rank"
            )
        merges.append((ranks[pair[0]], ranks[pair[1]]))
    return merges


def _pair(token: bytes, rank: int, ranks: Mapping[bytes, int]) -> tuple[bytes, bytes] | None:
    """The two parts that are left when the token is merged with lower ranks only; None when more are left."""
    cuts = [
        at for at in range(1, len(token))
        if ranks.get(token[:at], rank) < rank and ranks.get(token[at:], rank) < rank
    ]  # fmt: skip
    return _merged(token, rank, ranks) if cuts else None


def _merged(token: bytes, rank: int, ranks: Mapping[bytes, int]) -> tuple[bytes, bytes] | None:
    parts = [token[at : at + 1] for at in range(len(token))]
    while len(parts) > 2:
        best, at = rank, -1
        for n in range(len(parts) - 1):
            found = ranks.get(parts[n] + parts[n + 1], rank)
            if found < best:
                best, at = found, n
        if at < 0:
            return None
        parts[at : at + 2] = [parts[at] + parts[at + 1]]
    return (parts[0], parts[1]) if all(part in ranks for part in parts) else None
