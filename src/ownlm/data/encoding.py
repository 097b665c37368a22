"""Bytes to text: byte order mark, declared charset, UTF-8, then one fallback; what was guessed is reported."""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass

SAMPLE_BYTES = 1 << 16
BINARY_SHARE = 0.05  # more control bytes than this in a sample is no text; compressed data has about 0.1

_MAGIC = (b"\x7fELF", b"PK\x03\x04", b"%PDF-", b"\x89PNG", b"GIF8", b"\xff\xd8\xff", b"\x1f\x8b", b"\x28\xb5\x2f\xfd",
          b"SQLite format 3", b"\xca\xfe\xba\xbe", b"\xd0\xcf\x11\xe0", b"MZ\x90", b"7z\xbc\xaf", b"\0asm", b"BZh9",
          b"\xfd7zXZ", b"OggS", b"RIFF", b"ID3", b"wOFF", b"wOF2")  # fmt: skip
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
# ESC, BS, TAB, LF, VT, FF, CR occur in text (terminal output, man pages); other C0 bytes and DEL do not.
_CONTROL = bytes(code for code in range(32) if code not in (8, 9, 10, 11, 12, 13, 27)) + b"\x7f"
_DECLARED = re.compile(
    rb"""(?:<meta[^>]{0,200}charset\s*=\s*["']?|<\?xml[^>]{0,100}encoding\s*=\s*["']|coding[:=][ \t]*)([-\w.]+)""",
    re.IGNORECASE,
)
_SEVEN_BIT = frozenset({"iso2022_jp", "iso2022_kr", "hz"})  # charsets whose bytes are ASCII
# What Python calls an encoding and no page is written in; some never decode, some take quadratic time.
_NO_CHARSETS = frozenset({
    "utf-8", "utf-7", "idna", "punycode", "unicode_escape", "unicode-escape", "raw_unicode_escape",
    "raw-unicode-escape", "undefined", "mbcs", "oem", "utf-8-sig",
})  # fmt: skip
_HIGH_RUN = re.compile(rb"[\x80-\xff]+")


@dataclass(frozen=True, slots=True)
class Decoded:
    text: str
    encoding: str  # of the bytes; "utf-8" when nothing was guessed
    num_replaced: int = 0  # undecodable places, now U+FFFD


def is_binary(data: bytes) -> bool:
    """True for known binary formats and for more than BINARY_SHARE control bytes in head, middle or tail."""
    if data.startswith(_MAGIC):
        return True
    if data.startswith(tuple(mark for mark, _ in _MARKS[1:])) or _utf16_without_mark(data):
        return False
    middle = max(0, len(data) // 2 - SAMPLE_BYTES // 2)
    for sample in (data[:SAMPLE_BYTES], data[middle : middle + SAMPLE_BYTES], data[-SAMPLE_BYTES:]):
        if sample and len(sample) - len(sample.translate(None, _CONTROL)) > BINARY_SHARE * len(sample):
            return True
    return False


def _utf16_without_mark(data: bytes) -> str:
    """The byte order, when every second byte of the head is NUL in nearly all places (Latin text), else ""."""
    head = data[: 1 << 12]
    pairs = len(head) // 2
    if pairs < 8 or len(data) % 2:
        return ""
    low, high = head[0 : 2 * pairs : 2], head[1 : 2 * pairs : 2]
    if high.count(0) > 0.9 * pairs and not low.count(0):
        return "utf-16-le"
    return "utf-16-be" if low.count(0) > 0.9 * pairs and not high.count(0) else ""


def decode(data: bytes, declared: str = "") -> Decoded:
    """Text of `data`. Never fails: what no charset explains becomes U+FFFD and is counted.

    declared: a charset that was stated outside the bytes (HTTP). As in the WHATWG rules a mark comes first, then this,
    then the header in the bytes; unlike them, bytes that are valid UTF-8 and not ASCII are UTF-8 whatever is stated.
    """
    for mark, name in _MARKS:
        if data.startswith(mark):
            return _lenient(data[len(mark) :], name)
    order = _utf16_without_mark(data)
    if order:
        return _lenient(data, order)
    seven_bit = b"\x1b" in data or b"~{" in data  # how charsets whose bytes are ASCII leave it
    name = (_charset(declared) or _declared(data)) if seven_bit else ""
    try:
        if name not in _SEVEN_BIT:
            return Decoded(data.decode("utf-8"), "utf-8")
    except UnicodeDecodeError:
        pass
    name = name or _charset(declared) or _declared(data)
    if name:
        return _lenient(data, name)
    return _mostly_utf8(data) or _single_byte(data)


def _lenient(data: bytes, name: str) -> Decoded:
    try:
        return Decoded(data.decode(name), name)
    except UnicodeDecodeError:
        text = data.decode(name, "replace")
        return Decoded(text, name, text.count("\ufffd"))


def _declared(data: bytes) -> str:
    """The charset that an HTML, XML or source header names, if Python knows it as a text charset."""
    found = _DECLARED.search(data[:4096])
    if not found:
        return ""
    return _charset(found.group(1).decode("ascii"))


def _charset(label: str) -> str:
    """Python's name of a text charset other than UTF-8; "" for any other label."""
    name = label.strip().strip("\"'").lower()
    name = {
        "iso-8859-1": "cp1252",
        "latin-1": "cp1252",
        "latin1": "cp1252",
        "ascii": "cp1252",
        "us-ascii": "cp1252",
        "gb2312": "gb18030",
        "gbk": "gb18030",
        "shift_jis": "cp932",
        "ks_c_5601-1987": "cp949",
        "euc-kr": "cp949",
        "iso-8859-9": "cp1254",
        "tis-620": "cp874",
    }.get(name, name)  # fmt: skip  (WHATWG labels)
    try:
        info = codecs.lookup(name)
    except (LookupError, ValueError):  # ValueError: a NUL in the label
        return ""
    if not info._is_text_encoding or info.name in _NO_CHARSETS:
        return ""
    return info.name


def _mostly_utf8(data: bytes) -> Decoded | None:
    """UTF-8 with some damaged places: when at least half of the runs of high bytes are valid as they are."""
    valid = invalid = 0
    for run in _HIGH_RUN.finditer(data):
        try:
            run.group().decode("utf-8")
            valid += 1
        except UnicodeDecodeError:
            invalid += 1
        if valid + invalid >= 10_000:
            break
    return _lenient(data, "utf-8") if valid and valid >= invalid else None


def _single_byte(data: bytes) -> Decoded:
    """Windows-1252, the charset that browsers fall back to; its five undefined bytes are replaced."""
    return _lenient(data, "cp1252")
