"""Text to search terms, the same way for passages and questions.

An identifier gives itself and its parts: `json.JSONDecoder.raw_decode` -> the whole, then json, jsondecoder, json,
decod, raw_decode, raw, decod; `v-if` gives v-if, v, if. Words are lower-cased and stemmed (Porter2, English; other languages pass nearly
unchanged). Chinese, Japanese, Korean and Thai give overlapping pairs of characters.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import regex
import Stemmer  # type: ignore[import-not-found, unused-ignore]

_TOKEN = regex.compile(
    r"(?P<wide>[\p{Han}\p{Hiragana}\p{Katakana}\p{Hangul}\p{Thai}]+)"
    r"|(?P<word>[\p{L}\p{N}_$](?:[\p{L}\p{N}\p{M}_$]|(?<=[\p{L}\p{M}])['’](?=\p{L}))*"
    r"(?:(?:\.|::|->|-)[\p{L}_$][\p{L}\p{N}\p{M}_$]*)*)"
)
_CAMEL = regex.compile(
    r"\p{Lu}+(?=\p{Lu}\p{Ll})|\p{Lu}?\p{Ll}[\p{Ll}\p{M}]*|\p{Lu}+|[\p{Lo}\p{Lm}][\p{L}\p{M}]*|\p{N}+"
)
_JOINT = regex.compile(r"\.|::|->|-")
_POSSESSIVE = regex.compile(r"['’]s?$")
_DOTS = regex.compile(r"::|->")
_WIDE = regex.compile(r"^[\p{Han}\p{Hiragana}\p{Katakana}\p{Hangul}\p{Thai}]")
_LONGEST = 64  # characters of a term: longer ones (base64, hashes) are cut, in questions and passages alike

# Words of the question form, and words too frequent to tell passages apart. Dropped from questions where others remain.
STOP_WORDS = frozenset(
    """a an the this that these those some any every each all both
    i you he she it we they me him her us them my your his its our their one ones who whom whose which what
    am is are was were be been being do does did done doing have has had having can could may might must shall should
    will would ought and or but nor if then else so than as of at by for with about into onto through to from up down in
    out on off over under again here there when where why how not no only own same too very just also let lets get got
    please tell explain describe mean means meaning say says said show me give know want need would like
    's what's who's how's where's it's that's i'm don't doesn't isn't s t don""".split()  # noqa: SIM905
)
# Words that ask for a kind of answer, and may be the matter itself: they count for little.
WEAK_WORDS = frozenset(
    """find read section page chapter part cover covers covered module file files contain contains define defined
    implemented documented described mentioned learn purpose use used uses using return returns returned value call
    calling take takes argument arguments parameter parameters signature raise raises error exception function class
    method text document documents documentation something anything work works come comes happens happen way much many
    information details definition summary overview example examples back gives able possible
    explains explain explaining talk talks talking name called""".split()  # noqa: SIM905
)
WEAK = 0.25  # of a word's weight
QUESTION_WORDS = frozenset(
    """what who whom whose which where when why how is are was were do does did can could i you the a an of to in me
    please tell explain describe mean means about it this that""".split()  # noqa: SIM905
)


def terms(text: str) -> list[str]:
    """All terms in order, repeats included."""
    found: list[str] = []
    for word in words(text):
        found.extend(forms(word))
    return found


def words(text: str) -> Iterator[str]:
    """Words and whole identifiers as written; a run of Chinese (...) characters is one."""
    for match in _TOKEN.finditer(text):
        yield match.group()


@lru_cache(maxsize=1 << 17)
def forms(word: str) -> tuple[str, ...]:
    """The terms of one word: the stem of a plain word; of an identifier the whole form first, then its parts."""
    if _WIDE.match(word):
        return tuple(word[i : i + 2] for i in range(max(1, len(word) - 1)))
    word = _POSSESSIVE.sub("", word).replace("'", "").replace("’", "")
    segments = [segment for segment in _JOINT.split(word.strip("_$")) if segment]
    found: list[str] = []
    if len(segments) > 1:
        found.append(_whole(word))
    for segment in segments:
        parts = _CAMEL.findall(segment.replace("_", " "))
        if len(parts) > 1:
            found.append(_whole(segment))
            found.extend(_stem(part.lower()) for part in parts)
        elif segment:
            found.append(_stem(segment.strip("_").lower()))
    return tuple(found)


def is_identifier(word: str) -> bool:
    """Whether a word is written as a name in code: dotted, snake_case, camelCase, called() aside."""
    return len(forms(word)) > 1 and not _WIDE.match(word)


def _whole(word: str) -> str:
    joined = _DOTS.sub(".", word.strip("_$").lower())
    return ".".join(part.strip("_") for part in joined.split("."))[:_LONGEST]


@lru_cache(maxsize=1 << 16)
def _stem(word: str) -> str:
    return str(_stemmer().stemWord(word))[:_LONGEST] or word[:_LONGEST]


_STEMMERS: dict[int, Stemmer.Stemmer] = {}


def _stemmer() -> Stemmer.Stemmer:
    """A stemmer of this thread: the C object is not thread-safe."""
    import threading

    return _STEMMERS.setdefault(threading.get_ident(), Stemmer.Stemmer("english"))


def content_words(question: str) -> list[str]:
    """The words of a question that say what it is about, in order, without repeats; all words if none does.

    Words in `backticks` or quotation marks are always kept.
    """
    quoted = {word for span in _QUOTED.findall(question) for word in words("".join(span))}
    quoted |= set(_ORDINAL.findall(question))
    every = list(dict.fromkeys(words(question)))
    kept = [word for word in every if word in quoted or word.lower().replace("’", "'") not in STOP_WORDS]
    if not kept:
        kept = [word for word in every if word.lower() not in QUESTION_WORDS]
    return kept or every


_QUOTED = regex.compile(r"`([^`]+)`|\"([^\"]{1,60})\"|“([^”]{1,60})”")
_ORDINAL = regex.compile(
    r"(?i:chapter|book|part|act|scene|volume|section|appendix|phase|type|level|class|adventure)\s+([IA])\b"
)
