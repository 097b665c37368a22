"""What class, id, role and tag names say about the place of a text on its page: one bit per kind of hint.

The words are those that templates of many sites have in common (Readability and boilerpipe use such lists with fixed
weights); here they are only features, and the classifier learns what each is worth.
"""

from __future__ import annotations

import re
from functools import lru_cache

_GROUPS: tuple[tuple[str, str], ...] = (
    ("comment", r"comment|disqus|^respond|^repl(?:y|ies)|kommentar|discussion"),
    ("sidebar", r"sidebar|sidecol|rail$|^rail|^side$|^right|^left|aside|complementary|secondary"),
    ("footer", r"foot|bottom|contentinfo|copyright|legal|impressum|colophon"),
    ("nav", r"nav|menu|crumb|toolbar|pager|paginat|topbar|^skip|^toc$|director|^tabs?$"),
    ("share", r"^shar(?:e|ing)|social|facebook|twitter|addthis|follow|whatsapp|^likes?$|^rss$"),
    ("related", r"^relat|recommend|recirc|similar|trending|popular|latest|outbrain|taboola|readmore|^more|^most|^next"
                r"|^prev|further|^mehr|^also$"),
    ("advert", r"^ads?$|^advert|sponsor|banner|^dfp|commercial|anzeige|werbung|promo|affiliat|^adv|^adbox"),
    ("consent", r"cookie|consent|gdpr|popup|modal|overlay|lightbox|toast|notice|alert|warning"),
    ("subscribe", r"subscri|newsletter|signup|login|register|paywall|regwall|donat|^cta$|membership|account"),
    ("byline", r"byline|author|^bio$|profile|avatar|^by$|contributor|autor"),
    ("meta", r"meta|^dates?$|^time|publish|posted|^info|credit|source|kicker|label|dateline|status|^stats?$|^views?$"),
    ("tags", r"^tags?$|^tagged|taglist|categor|keyword|topic|taxonom|^filed"),
    ("media", r"caption|galler|image|photo|video|media|slide|carousel|player|figure|^img|picture|thumb"),
    ("teaser", r"teaser|cards?$|^tiles?$|^list|grid|^items?$|river|^feed|stream|archive|loop|excerpt"),
    ("widget", r"widget|module|box|panel|plugin|component|sticky|fixed|dropdown|accordion"),
    ("heading", r"headline|title|heading|^head$|^hed$"),
    ("header", r"header|masthead|logo|brand|^top$"),
    ("lead", r"summary|abstract|^dek$|subtitle|standfirst|^lead|^intro|subhead|^deck$|description"),
    ("content", r"content|main|^page|wrap|container|^inner|primary|center"),
    ("article", r"article|story|^post$|^posts?|blog|hentry|^entry|^news|artikel|beitrag|detail"),
    ("text", r"body|text$|^text|copy$|markdown|prose|paragraph|articlecontent|postcontent|entrycontent|^mw$"),
    ("message", r"message|thread|question|answer|^qa$|forum|review"),
    ("product", r"product|price|^cart|shop|checkout|basket|^sku|rating|^stars?$|^buy"),
    ("form", r"form$|search|input|button|^btn|filter|^sort|^fields?$|select|^vote|poll|survey"),
    ("hidden", r"hidden|^hide|visually|^sr$|screenreader|noprint|printonly|offscreen|collaps"),
    ("reference", r"reference|footnote|citation|bibliograph|endnote|quelle|^editsection|infobox|navbox"),
    ("event", r"event|calendar|weather|ticker|^live$|schedule|sport|^score|market|quiz|breaking"),
)  # fmt: skip
_ARTICLE_TEXT = "article text"  # an article's and a text's hint on one element: article-body, post-content
_TAGS = (
    "nav", "aside", "footer", "header", "form", "article", "main", "section", "figure", "figcaption", "blockquote",
    "ul", "ol", "li", "dl", "table", "td", "p", "pre", "address", "details", "div", "center", "fieldset",
)  # fmt: skip

NAMES: tuple[str, ...] = (*(name for name, _ in _GROUPS), *(f"<{tag}>" for tag in _TAGS), _ARTICLE_TEXT)
_BIT = {name: 1 << index for index, name in enumerate(NAMES)}
HIDDEN = _BIT["hidden"]
COMMENT = _BIT["comment"]
MESSAGE = _BIT["message"]
ARTICLE_MASKS = (
    _BIT["article"],
    _BIT["text"] | _BIT["content"],
    _BIT[_ARTICLE_TEXT],
)  # the third for two of them
_TAG_BITS = {tag: _BIT[f"<{tag}>"] for tag in _TAGS} | {"th": _BIT["<td>"]}
_PATTERNS = tuple((re.compile(words), _BIT[name]) for name, words in _GROUPS)
_WORD = re.compile(r"[a-z]{2,40}")


def tag_bits(tag: str) -> int:
    return _TAG_BITS.get(tag, 0)


def name_bits(names: str) -> int:
    """Bits of one lower-case string of class, id, role and itemprop."""
    bits = 0
    for word in _WORD.findall(names):
        bits |= word_bits(word)
    article, text, both = ARTICLE_MASKS
    if bits & article and bits & text:
        bits |= both
    return bits


@lru_cache(maxsize=50_000)
def word_bits(word: str) -> int:
    bits = 0
    for pattern, bit in _PATTERNS:
        if pattern.search(word):
            bits |= bit
    return bits
