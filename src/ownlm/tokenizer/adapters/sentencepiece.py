"""SentencePiece `.model` files (sentencepiece_model.proto), without the sentencepiece package."""

from __future__ import annotations

import math
from pathlib import Path

from ownlm.errors import ArtifactError
from ownlm.runtime.files import write_atomic
from ownlm.tokenizer.adapters import protobuf
from ownlm.tokenizer.charsmap import Charsmap
from ownlm.tokenizer.fields import FIX, MAX_FILE_BYTES
from ownlm.tokenizer.folder import read_settings
from ownlm.tokenizer.sentencepiece import KINDS, PieceType, SentencePieceTokenizer, Spec

_Fields = dict[int, protobuf.Value]
_TRAINER = {3: int, 24: int, 35: int, 44: bytes}  # the fields of TrainerSpec that decide ids, and their types
_NORMALIZER = {2: bytes, 3: int, 4: int, 5: int}


def load(path: Path | str) -> SentencePieceTokenizer:
    """The tokenizer in a .model file. Raises ArtifactError naming file and field."""
    path = Path(path)
    try:
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise _wrong(path.name, f"{size} bytes, more than {MAX_FILE_BYTES}")
        data = path.read_bytes()
    except OSError as error:
        raise ArtifactError("A tokenizer file cannot be read.", f"{path}: {error.strerror}", FIX) from error
    made = SentencePieceTokenizer(read_spec(data, path.name))
    made.file = data
    _read_beside(made, path.parent)
    return made


def _read_beside(made: SentencePieceTokenizer, folder: Path) -> None:
    """The chat template and the names of special tokens, where files beside the model give them."""
    settings, notices = read_settings(folder)
    made.chat_template = settings["chat_template"]
    made.model_max_length = settings.get("model_max_length")
    made.named |= {role: piece for role, piece in settings["named"].items() if piece in made.specials}
    made.notices = tuple(notices)


def save(tokenizer: SentencePieceTokenizer, folder: Path) -> None:
    """tokenizer.model: the file that was read, byte for byte, otherwise one written from the spec."""
    data = write_spec(tokenizer.spec) if tokenizer.file is None else tokenizer.file
    write_atomic(folder / "tokenizer.model", data)
    if tokenizer.chat_template is not None:
        write_atomic(folder / "chat_template.jinja", tokenizer.chat_template)


def write_spec(spec: Spec) -> bytes:
    """The content of a .model file that `read_spec` reads back as the same spec, and the sentencepiece package too."""
    message, number, real = protobuf.message, protobuf.number, protobuf.real
    out = []
    for piece, score, kind in zip(spec.pieces, spec.scores, spec.types, strict=True):
        out.append(message(1, message(1, piece.encode()) + real(2, score) + number(3, int(kind))))
    trainer = number(3, KINDS.index(spec.kind) + 1) + number(24, spec.whitespace_as_suffix)
    trainer += number(35, spec.byte_fallback) + message(44, spec.unk_surface.encode())
    trainer += number(40, spec.unk_id) + message(45, spec.pieces[spec.unk_id].encode())
    for id_field, name_field, name in ((41, 46, "<s>"), (42, 47, "</s>"), (43, 48, "<pad>")):
        held = name in spec.pieces and spec.types[spec.pieces.index(name)] == PieceType.CONTROL
        trainer += number(id_field, spec.pieces.index(name) if held else -1) + message(
            name_field, name.encode()
        )
    normalizer = message(2, spec.charsmap.blob) if spec.charsmap.blob else b""
    normalizer += number(3, spec.add_dummy_prefix) + number(4, spec.remove_extra_whitespaces)
    normalizer += number(5, spec.escape_whitespaces)
    out += [message(2, trainer), message(3, normalizer)]
    if spec.denormalizer.blob:
        out.append(message(5, message(2, spec.denormalizer.blob)))
    return b"".join(out)


def _wrong(where: str, values: str) -> ArtifactError:
    return ArtifactError("This is no SentencePiece model, or a damaged one.", f"{where}: {values}", FIX)


def read_spec(data: bytes, where: str) -> Spec:
    """The content of a .model file. Raises ArtifactError naming the field."""
    rows: list[tuple[str, float, PieceType]] = []
    trainer: _Fields = {}
    normalizer: _Fields = {}
    denormalizer: _Fields = {}
    parts = {2: (trainer, _TRAINER, "trainer_spec"), 3: (normalizer, _NORMALIZER, "normalizer_spec"),
             5: (denormalizer, _NORMALIZER, "denormalizer_spec")}  # fmt: skip
    for number, value in protobuf.fields(data, where):
        if number not in (1, *parts):
            continue  # self tests and extensions decide nothing
        if not isinstance(value, bytes):
            raise _wrong(where, f"field {number} is no message")
        if number == 1:
            rows.append(_piece(value, f"{where}: pieces[{len(rows)}]"))
        else:
            known, kinds, name = parts[number]
            known.update(_known(value, kinds, f"{where}: {name}"))
    kind = _number(trainer, 3, 1)
    if not 1 <= kind <= len(KINDS):
        raise _wrong(where, f"trainer_spec.model_type = {kind}")
    surface = trainer.get(44, " ⁇ ".encode())
    spec = Spec(
        kind=KINDS[kind - 1],
        pieces=tuple(row[0] for row in rows),
        scores=tuple(row[1] for row in rows),
        types=tuple(row[2] for row in rows),
        unk_id=_unknown(rows, where),
        byte_fallback=bool(_number(trainer, 35, 0)),
        add_dummy_prefix=bool(_number(normalizer, 3, 1)),
        remove_extra_whitespaces=bool(_number(normalizer, 4, 1)),
        escape_whitespaces=bool(_number(normalizer, 5, 1)),
        whitespace_as_suffix=bool(_number(trainer, 24, 0)),
        unk_surface=_text(surface, f"{where}: trainer_spec.unk_surface"),
        charsmap=_charsmap(normalizer, f"{where}: normalizer_spec.precompiled_charsmap"),
        denormalizer=_charsmap(denormalizer, f"{where}: denormalizer_spec.precompiled_charsmap"),
    )
    check_bytes(spec, where)
    return spec


def _known(data: bytes, kinds: dict[int, type], where: str) -> _Fields:
    found: _Fields = {}
    for number, value in protobuf.fields(data, where):
        if number in kinds:
            if type(value) is not kinds[number]:
                raise _wrong(where, f"field {number} has the wrong type")
            found[number] = value
    return found


def _number(found: _Fields, number: int, default: int) -> int:
    value = found.get(number, default)
    return value if isinstance(value, int) else default


def _text(value: protobuf.Value, where: str) -> str:
    try:
        return value.decode("utf-8") if isinstance(value, bytes) else ""
    except UnicodeDecodeError as error:
        raise _wrong(where, f"not UTF-8 ({error})") from error


def _piece(data: bytes, where: str) -> tuple[str, float, PieceType]:
    piece, score, kind = "", 0.0, 1
    for number, value in protobuf.fields(data, where):
        if number == 1 and isinstance(value, bytes):
            piece = _text(value, where)
        elif number == 2 and isinstance(value, float):
            score = value
        elif number == 3 and isinstance(value, int):
            kind = value
        elif number <= 3:
            raise _wrong(where, f"field {number} has the wrong type")
    if not piece or not math.isfinite(score) or not 1 <= kind <= 6:
        raise _wrong(where, f"piece {piece[:40]!r}, score {score}, type {kind}")
    return piece, score, PieceType(kind)


def _unknown(rows: list[tuple[str, float, PieceType]], where: str) -> int:
    ids = [id for id, row in enumerate(rows) if row[2] == PieceType.UNKNOWN]
    if len(ids) != 1:
        raise _wrong(where, f"{len(ids)} pieces of type UNKNOWN among {len(rows)}; one is needed")
    names = [row[0] for row in rows]
    if len(set(names)) != len(names):
        seen: set[str] = set()
        twice = next(name for name in names if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise _wrong(where, f"piece {twice[:40]!r} occurs twice")
    return ids[0]


def check_bytes(spec: Spec, where: str) -> None:
    """Byte pieces are spelled <0x00>..<0xFF>, and byte fallback needs all of them. Raises ArtifactError."""
    names = {f"<0x{byte:02X}>" for byte in range(256)}
    given = [p for p, kind in zip(spec.pieces, spec.types, strict=True) if kind == PieceType.BYTE]
    if not names.issuperset(given):
        raise _wrong(where, f"a byte piece is spelled {next(p for p in given if p not in names)[:40]!r}")
    if spec.byte_fallback and len(given) != 256:
        raise _wrong(where, f"byte fallback with {len(given)} byte pieces instead of 256")


def _charsmap(found: _Fields, where: str) -> Charsmap:
    blob = found.get(2, b"")
    return Charsmap(blob if isinstance(blob, bytes) else b"", where)
