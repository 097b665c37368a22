"""Unicode scripts of characters, as the UnicodeScripts pre-tokenizer of tokenizer.json cuts by them."""

from __future__ import annotations

from functools import lru_cache

import regex

# Script names as `regex` knows them, the most frequent first: the first that matches is the script.
_NAMES = [
    "Common",
    "Latin",
    "Han",
    "Hiragana",
    "Katakana",
    "Cyrillic",
    "Arabic",
    "Greek",
    "Hangul",
    "Inherited",
    "Hebrew",
    "Devanagari",
    "Thai",
    "Bengali",
    "Tamil",
    "Telugu",
    "Armenian",
    "Georgian",
    "Gujarati",
    "Gurmukhi",
    "Kannada",
    "Malayalam",
    "Sinhala",
    "Lao",
    "Tibetan",
    "Myanmar",
    "Ethiopic",
    "Khmer",
    "Mongolian",
    "Cherokee",
    "Canadian_Aboriginal",
    "Ogham",
    "Runic",
    "Tagalog",
    "Hanunoo",
    "Buhid",
    "Tagbanwa",
    "Limbu",
    "Tai_Le",
    "Linear_B",
    "Ugaritic",
    "Shavian",
    "Osmanya",
    "Cypriot",
    "Braille",
    "Buginese",
    "Coptic",
    "New_Tai_Lue",
    "Glagolitic",
    "Tifinagh",
    "Syloti_Nagri",
    "Old_Persian",
    "Kharoshthi",
    "Balinese",
    "Cuneiform",
    "Phoenician",
    "Phags_Pa",
    "Nko",
    "Sundanese",
    "Lepcha",
    "Ol_Chiki",
    "Vai",
    "Saurashtra",
    "Kayah_Li",
    "Rejang",
    "Lycian",
    "Carian",
    "Lydian",
    "Cham",
    "Tai_Tham",
    "Tai_Viet",
    "Avestan",
    "Egyptian_Hieroglyphs",
    "Samaritan",
    "Lisu",
    "Bamum",
    "Javanese",
    "Meetei_Mayek",
    "Imperial_Aramaic",
    "Old_South_Arabian",
    "Inscriptional_Parthian",
    "Inscriptional_Pahlavi",
    "Old_Turkic",
    "Kaithi",
    "Batak",
    "Brahmi",
    "Mandaic",
    "Chakma",
    "Meroitic_Cursive",
    "Meroitic_Hieroglyphs",
    "Miao",
    "Sharada",
    "Sora_Sompeng",
    "Takri",
    "Syriac",
    "Thaana",
    "Bopomofo",
    "Yi",
    "Old_Italic",
    "Gothic",
    "Deseret",
    "Oriya",
    "Caucasian_Albanian",
    "Bassa_Vah",
    "Duployan",
    "Elbasan",
    "Grantha",
    "Pahawh_Hmong",
    "Khojki",
    "Linear_A",
    "Mahajani",
    "Manichaean",
    "Mende_Kikakui",
    "Modi",
    "Mro",
    "Old_North_Arabian",
    "Nabataean",
    "Palmyrene",
    "Pau_Cin_Hau",
    "Old_Permic",
    "Psalter_Pahlavi",
    "Siddham",
    "Khudawadi",
    "Tirhuta",
    "Warang_Citi",
    "Ahom",
    "Anatolian_Hieroglyphs",
    "Hatran",
    "Multani",
    "Old_Hungarian",
    "SignWriting",
    "Adlam",
    "Bhaiksuki",
    "Marchen",
    "Newa",
    "Osage",
    "Tangut",
]
# Known gap: characters added since to these scripts are told by their script here and are "Any" there.
# The table of `tokenizers` is that of Unicode 9; scripts added since are "Any" there and take their neighbour's side.


@lru_cache(maxsize=1)
def _patterns() -> tuple[tuple[str, regex.Pattern[str]], ...]:
    return tuple((name, regex.compile(rf"\p{{Script={name}}}")) for name in _NAMES)


@lru_cache(maxsize=65536)
def script(character: str) -> str:
    """The script of one character; kana counts as Han, a space and what has no script as "Any"."""
    if character == "\u30fc":
        return "Han"
    if character == " ":
        return "Any"
    found = next((name for name, pattern in _patterns() if pattern.match(character)), "Any")
    return "Han" if found in ("Hiragana", "Katakana") else found


def script_starts(text: str) -> list[int]:
    """Where a new script begins. A stretch of "Any" at the very start belongs to no piece, as in `tokenizers`."""
    starts = []
    last = ""
    for at, character in enumerate(text):
        now = script(character)
        if now == "Any":
            continue
        if now != last:
            starts.append(at)
        last = now
    return starts
