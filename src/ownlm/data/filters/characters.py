"""What the quality rules know of each character: one table of bit flags per Unicode code point.

Built once per process from this Python's `unicodedata` (about 0.2 s); the compiled kernel is handed the same table, so
the definitions stand here only.
"""

from __future__ import annotations

import unicodedata
from functools import cache

import numpy as np

SPACE = 1  # str.isspace
LETTER = 2  # letters and the marks that belong to them
DIGIT = 4  # decimal digits of any script
LOWER = 8
UPPER = 16
FRONT = 32  # is a word of its own at the front of a chunk
BACK = 64  # is a word of its own at the back of a chunk
QUOTE = 128
CUT = 256  # is a word of its own wherever it stands: pictures, CJK punctuation
TERMINAL = 512  # ends a sentence
PAIRED = 1024  # Han and Hiragana, written without spaces: a word has two of them
FOURFOLD = 2048  # Thai, Lao, Myanmar, Khmer, written without spaces: a word has four of them
BULLET = 4096  # opens an item of a list

_PUNCTUATION = "…,:;!?¿؟¡()[]{}<>_#*&。？！，、；：～·।،۔؛٪「」『』（）〔〕【】《》〈〉"
_QUOTES = "'\"”“`‘´’‚„»«"
_FRONT_ONLY = "§%=—–+"
_BACK_ONLY = "—–"
_BULLETS = "•‣◦▪●·*-–+"
_CUT = "…" + "".join(map(chr, (*range(0x3001, 0x3004), *range(0x3008, 0x3012), *range(0x3014, 0x3020))))
_CUT += "！（），．：；？～｡｢｣､।॥"
# Sentence_Terminal of the Unicode character database, the living scripts of it.
_TERMINAL = ".!?։؟۔।॥၊။።፧፨។៕᠃᠉᱾᱿。！．？｡‼‽⁇⁈⁉⸮܀܁܂߹᥄᥅᪨᪩᪪᪫᭚᭛᭞᭟᰻᰼꓿꘎꘏꛳꛷꡶꡷꣎꣏꤯꧈꧉꩝꩞꩟꫰꫱꯫؝؞﹒﹖﹗"
_PAIRED = ((0x3041, 0x3096), (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x323AF))
_FOURFOLD = ((0x0E01, 0x0E3A), (0x0E40, 0x0E4E), (0x0E81, 0x0ECD), (0x1000, 0x1049), (0x1780, 0x17D3))


@cache
def flags() -> np.ndarray:
    """uint16 [0x110000]: the flags of every code point. Read-only; the same array on every call."""
    table = np.zeros(0x110000, dtype=np.uint16)
    for code in (*range(0x32400), *range(0xE0000, 0xE0200)):  # there are no characters between
        table[code] = _of_category(chr(code))
    for characters, flag in ((_PUNCTUATION, FRONT | BACK), (_QUOTES, FRONT | BACK | QUOTE), (_FRONT_ONLY, FRONT),
                             (_BACK_ONLY, BACK), (_CUT, CUT | FRONT | BACK), (_TERMINAL, TERMINAL),
                             (_BULLETS, BULLET)):  # fmt: skip
        table[[ord(character) for character in characters]] |= flag
    for ranges, flag in ((_PAIRED, PAIRED), (_FOURFOLD, FOURFOLD)):
        for first, last in ranges:
            table[first : last + 1] |= flag
    table.flags.writeable = False
    return table


def _of_category(character: str) -> int:
    category = unicodedata.category(character)
    if category[0] in "LM":
        return LETTER | LOWER * character.islower() | UPPER * character.isupper()
    if category == "Nd":
        return DIGIT
    if category == "So":
        return CUT | FRONT | BACK
    if category == "Sc":
        return FRONT
    return SPACE * character.isspace()


def flags_of(text: str) -> np.ndarray:
    """uint16 [number of characters]; lone surrogates have no flags."""
    return np.asarray(flags()[np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")])
