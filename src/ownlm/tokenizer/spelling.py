"""How tokens, which are bytes, are spelled in JSON: GPT-2's printable letter for each byte."""

from __future__ import annotations

from functools import cache


@cache
def byte_letters() -> tuple[str, ...]:
    """GPT-2's printable stand-in for each byte (openai/gpt-2 encoder.py): tokens are spelled with these in JSON."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    letters = {byte: chr(byte) for byte in printable} | {byte: chr(256 + n) for n, byte in enumerate(others)}
    return tuple(letters[byte] for byte in range(256))


@cache
def _letter_bytes() -> dict[int, int]:
    return {ord(letter): byte for byte, letter in enumerate(byte_letters())}


def spell(token: bytes) -> str:
    """b" a" -> "Ġa"."""
    return token.decode("latin-1").translate(dict(enumerate(byte_letters())))


def unspell(text: str) -> bytes | None:
    """The inverse of `spell`; None when a character stands for no byte."""
    letters = _letter_bytes()
    try:
        return bytes([letters[ord(letter)] for letter in text])
    except KeyError:
        return None
