"""What the classifier sees of each block: a row of numbers, most of them between 0 and 1.

Text and link density and the blocks around are the features of Kohlschuetter et al. 2010 ("Boilerplate Detection
using Shallow Text Features", WSDM); the score that paragraphs give to their parent and grandparent is Readability's;
the smallest element that holds most of the good text, the hints of hints.py and the words that furniture is labelled
with are common to all such tools. Nothing here names a site. One row is made from whole arrays: no loop over nodes.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ownlm.data.extract import hints
from ownlm.data.extract.tree import Block, Numbers, Tree

Floats = NDArray[np.float32]

_KINDS = {"p": 0, "li": 1, "dd": 2, "dt": 2, "row": 3, "pre": 4, "h1": 5, "h2": 6, "h3": 7}  # h4 to h6: 8
_NUM_KINDS = 9
_CLASSES = ("letter", "upper", "digit", "space", "stop", "comma", "mark", "wide")
_NUM_BITS = len(hints.NAMES)
_SHARES = (0.55, 0.75, 0.9)  # of the good text, for the smallest element that holds as much
_MOST_ARTICLES = 200
_LEAST_STATED = 250  # characters; less is a teaser
_RUN = 3  # words
_SHORT = 160  # characters; longer blocks are not looked up in the words below
_LABELS: tuple[tuple[str, str], ...] = (
    ("rights", "© copyright rights reserved rechte vorbehalten droits derechos reservados impressum imprint privacy "
               "datenschutz terms agb policy"),
    ("share", "share tweet facebook twitter whatsapp pinterest linkedin e-mail email print teilen drucken compartir "
              "partager follow instagram youtube rss folgen"),
    ("subscribe", "subscribe newsletter sign log login logout register abonnieren anmelden registrieren abo account "
                  "subscription suscríbete s'abonner premium"),
    ("comment", "comment comments reply replies kommentar kommentare antworten comentarios commentaires respuesta respond pingback trackback "
                "kommentieren"),
    ("more", "more related read also recommended popular latest trending mehr weiterlesen lesen auch next previous "
             "weitere ähnliche zurück weiter vorheriger nächster leer más lire aussi plus siguiente anterior older newer"),
    ("advert", "advertisement anzeige sponsored werbung advert publicidad publicité ad ads promoted"),
    ("cookie", "cookie cookies javascript browser consent adblocker"),
    ("author", "by von author autor par por written posted published veröffentlicht publié updated aktualisiert editor"),
    ("photo", "photo image foto bild picture credit getty reuters afp dpa video photograph"),
    ("contact", "kontakt contact contacto ansprechpartner pressestelle pressekontakt telefon tel fax phone fragen anregungen "
                "feedback redaktion hotline adresse address öffnungszeiten"),
    ("shop", "€ $ £ eur usd chf zzgl inkl mwst versandkosten price preis warenkorb cart lieferzeit artikelnummer kaufen buy "
             "bestellen"),
    ("tags", "tags tag filed categories kategorie kategorien schlagwörter topics themen stichworte"),
)  # fmt: skip
_LABEL_OF = {word: 32 << index for index, (_, words) in enumerate(_LABELS) for word in words.split()}
_STOPS = frozenset(".!?…。")
_LABEL_WORDS = frozenset(_LABEL_OF)
_SIGNS = str.maketrans(dict.fromkeys(",.:!?()|", " "))
_DATE = re.compile(r"\b(?:19|20)\d\d\b|\b\d{1,2}:\d\d\b|\b\d{1,2}[./]\d{1,2}[./]\d{2,4}\b")

NAMES: tuple[str, ...] = (
    *(f"kind {kind}" for kind in ("p", "li", "definition", "row", "pre", "h1", "h2", "h3", "h4-6")),
    "length", "words", "word length", "link density", "links", "upper", "digit", "stops", "commas", "marks", "wide",
    "ends a sentence", "begins lower", "lines", "quote", "indent", "good", "repeated", "in title", "date",
    *(f"says {name}" for name, _ in _LABELS),
    "position", "position in text", "after h1", "before h1", "no h1", "page blocks", "page text", "page links",
    "page articles", "page good", "page messages", "page comments", "after good", "stated", "in stated",
    *(f"{what} of element {level}" for level in (1, 2, 3) for what in ("text", "link density", "good", "share")),
    *(f"{what} {share}" for share in _SHARES for what in ("in", "before", "after")),
    "in best", "best parent", "best grandparent", "article share", "article first",
    *(f"near {name}" for name in hints.NAMES),
    *(f"inside {name}" for name in hints.NAMES),
)  # fmt: skip


def _class_table() -> NDArray[np.uint8]:
    """Class of every code point: 1 + index into _CLASSES, 0 for none."""
    table = np.zeros(0x110000, dtype=np.uint8)
    for code in range(0x3000):
        char = chr(code)
        if char.isalpha():
            table[code] = 2 if char.isupper() else 1
        elif char.isdigit():
            table[code] = 3
        elif char.isspace():
            table[code] = 4
    table[0x3040:0xA000] = table[0xAC00:0xD7A4] = table[0xF900:0xFB00] = 8
    table[0x10000:] = 1
    for chars, index in ((".!?…。！？؟।", 5), (",;、，；،؛", 6), ("|/»›«‹•·©>→:+#*–—", 7)):
        table[[ord(char) for char in chars]] = index
    return table


_TABLE = _class_table()
_ASCII_TABLE = _TABLE[:256].tobytes()  # for bytes.translate
_UTF32 = "utf-32-le" if sys.byteorder == "little" else "utf-32-be"


def _counts(blocks: list[Block]) -> Numbers:
    """[block, class] characters of each class."""
    text = "\n".join([block.text for block in blocks]) + "\n"
    if text.isascii():
        classes = np.frombuffer(text.encode("ascii").translate(_ASCII_TABLE), dtype=np.uint8)
    else:
        classes = _TABLE[np.frombuffer(text.encode(_UTF32, "surrogatepass"), dtype=np.uint32)]
    ends = np.cumsum([len(block.text) + 1 for block in blocks])
    starts = np.concatenate([[0], ends[:-1]])
    counts = np.empty((len(blocks), len(_CLASSES)), dtype=np.int64)
    for index in range(len(_CLASSES)):
        counts[:, index] = np.add.reduceat(classes == index + 1, starts, dtype=np.int64)
    counts[:, 3] -= 1  # the line end that was added
    return counts


def _said(blocks: list[Block], title: str, digits: Numbers) -> Floats:
    """[block, 5 + labels]: ends a sentence, begins lower, repeated, in title, date; which labels a short block has."""
    seen: dict[str, int] = {}
    for block in blocks:
        seen[block.text] = seen.get(block.text, 0) + 1
    flags = []  # per block, bit n is column n
    for block, num_digits in zip(blocks, digits.tolist(), strict=True):
        text = block.text
        bits = 0
        if text[-1] in ".!?…。！？؟।:" or (text[-1] in "\"'”’»)" and text[-2:-1] in _STOPS):
            bits = 1
        if text[0].islower():
            bits |= 2
        if seen[text] > 1:
            bits |= 4
        if len(text) <= _SHORT:
            if len(text) > 9 and text in title:
                bits |= 8
            if num_digits > 2 and _DATE.search(text):
                bits |= 16
            for word in _LABEL_WORDS.intersection(text.lower().translate(_SIGNS).split()):
                bits |= _LABEL_OF[word]
        flags.append(bits)
    table = np.array(flags, dtype=np.int64)[:, None] >> np.arange(5 + len(_LABELS)) & 1
    return table.astype(np.float32)


def features(tree: Tree, title: str, stated: str = "") -> Floats:
    """float32 [block, feature], columns as in NAMES. `stated`: the body that the page's own data give, or ""."""
    blocks = tree.blocks
    num = len(blocks)
    counts = _counts(blocks)
    length = np.array([len(block.text) for block in blocks], dtype=np.float64)
    size = length + counts[:, 7]  # a wide character says as much as two
    links = np.array([block.link_characters for block in blocks], dtype=np.float64)
    nodes = np.array([block.node for block in blocks], dtype=np.int64)
    kinds = np.array([_KINDS.get(block.kind, 8) for block in blocks])
    one_hot = np.zeros((num, _NUM_KINDS))
    one_hot[np.arange(num), kinds] = 1
    said = _said(blocks, title, counts[:, 2])
    words = counts[:, 3] + 1 + counts[:, 7] / 2
    density = links / length
    stops = counts[:, 4]
    good = np.where(
        (size >= 60) & (density < 0.4) & (stops + counts[:, 5] > 0) & (kinds < 5), size - links, 0.0
    )
    letters = counts[:, 0] + counts[:, 1] + counts[:, 7]
    text = np.column_stack([
        np.log1p(size) / 6, np.log1p(words) / 5, np.minimum(letters / words, 12) / 12, density,
        np.log1p([block.num_links for block in blocks]) / 3, counts[:, 1] / length, counts[:, 2] / length,
        np.minimum(stops / words * 5, 2), np.minimum(counts[:, 5] / words * 5, 2), counts[:, 6] / length,
        counts[:, 7] / length, said[:, 0], said[:, 1],
        np.log1p([block.text.count("\n") for block in blocks]) / 2, [block.quote > 0 for block in blocks],
        np.minimum([block.indent for block in blocks], 3) / 3, good > 0, said[:, 2:],
    ])  # fmt: skip
    place = _place(tree, kinds, size, links, good)
    around = _around(tree, nodes, size, links, good)
    bits = _bits(tree, nodes)
    page = np.column_stack([*_told(tree, nodes, good), *_stated(blocks, stated)])
    return np.concatenate([one_hot, text, place, page, around, bits], axis=1, dtype=np.float32)


def _place(
    tree: Tree,
    kinds: Numbers,
    size: NDArray[np.float64],
    links: NDArray[np.float64],
    good: NDArray[np.float64],
) -> NDArray[np.float64]:
    num = len(kinds)
    index = np.arange(num)
    total = size.sum()
    heads = np.flatnonzero(kinds == _KINDS["h1"])
    first = heads[0] if len(heads) else num
    page = (
        np.log1p(num) / 6, np.log1p(total) / 10, links.sum() / total, np.log1p(tree.tags.count("article")) / 3,
        good.sum() / total,
    )  # fmt: skip
    columns = [index / num, np.cumsum(size) / total, index > first, (index < first) & bool(len(heads))]
    columns += [np.full(num, not len(heads)), *(np.full(num, value) for value in page)]
    return np.column_stack(columns)


def _told(tree: Tree, nodes: Numbers, good: NDArray[np.float64]) -> Iterator[NDArray[np.float64]]:
    """How much of the page's good text stands in messages and in comments; which blocks come after all of it."""
    inherited = tree.inherited[nodes]
    for bit in (hints.MESSAGE, hints.COMMENT):
        yield np.full(len(nodes), (good * (inherited & bit > 0)).sum() / max(good.sum(), 1.0))
    yield (np.cumsum(good) >= good.sum()) & (good == 0)


def _stated(blocks: list[Block], stated: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Whether the page states its body, and the share of each block's runs of words that stand in it."""
    share = np.zeros(len(blocks))
    runs = set(_runs(stated)) if len(stated) >= _LEAST_STATED else set()
    if runs:
        for index, block in enumerate(blocks):
            own = _runs(block.text)
            share[index] = sum(run in runs for run in own) / len(own) if own else 0.0
    return np.full(len(blocks), float(bool(runs))), share


def _runs(text: str) -> list[tuple[str, ...]]:
    words = text.split()
    return list(zip(*(words[at:] for at in range(_RUN)), strict=False))


def _around(
    tree: Tree,
    nodes: Numbers,
    size: NDArray[np.float64],
    links: NDArray[np.float64],
    good: NDArray[np.float64],
) -> NDArray[np.float64]:
    """The elements around each block, and where it stands to those that hold most of the good text."""
    starts, ends, parents = tree.starts, tree.ends, tree.parents
    sums = np.zeros((3, len(nodes) + 1))
    np.cumsum(np.stack([size, links, good]), axis=1, out=sums[:, 1:])
    below = sums[:, ends] - sums[:, starts]  # [3, node]
    all_good = max(sums[2, -1], 1.0)
    columns: list[NDArray[np.float64]] = []
    level = nodes
    for _ in range(3):
        level = parents[level]
        here = below[:, level]
        total = np.maximum(here[0], 1.0)
        columns += [np.log1p(here[0]) / 10, here[1] / total, here[2] / total, here[2] / all_good]
    index = np.arange(len(nodes))
    for share in _SHARES:
        node = int(
            np.flatnonzero(below[2] >= share * all_good)[-1:].sum()
        )  # they are nested: the last is the smallest
        first, last = starts[node], ends[node]
        columns += [(index >= first) & (index < last), index < first, index >= last]
    points = np.zeros(len(parents))
    parent = parents[nodes]
    np.add.at(points, parent, good)
    np.add.at(points, parents[parent], good / 2)
    best = int(points.argmax())
    most = max(points[best], 1.0)
    columns += [
        (index >= starts[best]) & (index < ends[best]),
        points[parent] / most,
        points[parents[parent]] / most,
    ]
    article = np.zeros((2, len(nodes)))
    found = [node for node, tag in enumerate(tree.tags) if tag == "article"][:_MOST_ARTICLES]
    for number, node in enumerate(found):
        article[0, starts[node] : ends[node]] = below[2, node] / all_good
        article[1, starts[node] : ends[node]] = number == 0
    return np.column_stack([*columns, *article])


def _bits(tree: Tree, nodes: Numbers) -> Floats:
    near = tree.own[nodes] | tree.own[tree.parents[nodes]]
    shifts = np.arange(_NUM_BITS)
    table = np.empty((len(nodes), 2 * _NUM_BITS), dtype=np.float32)
    for at, bits in ((0, near), (_NUM_BITS, tree.inherited[nodes])):
        table[:, at : at + _NUM_BITS] = (bits[:, None] >> shifts) & 1
    return table
