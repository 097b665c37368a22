"""A few of the most frequent words of languages, for Gopher's stop word rule.

English is Gopher's own list (Rae et al. 2021, section A1.1). The others were chosen in its manner: words of grammar
that two sentences of any topic can hardly avoid, and that are rare in neighbouring languages. They are compared as
written, in lower case. Languages that this table cuts without spaces (Chinese, Japanese, Thai) have none.
"""

from __future__ import annotations

STOP_WORDS = {
    language: frozenset(words.split())
    for language, words in {
        "en": "the be to of and that have with",
        "de": "der die das und ist nicht mit zu den von ein auf",
        "fr": "le la les et est des une que dans pour pas du",
        "es": "el la los de que y en las por con una para",
        "it": "il di che la per non una con del sono è i",
        "pt": "o de que do da não uma os para com em as",
        "nl": "de het een van en is dat niet op te met voor",
        "pl": "w i na nie się z do jest że to jak od",
        "cs": "a se na je v že s z do to jako pro",
        "sv": "och att det är som en på för av inte med den",
        "da": "og at det er en til på for af ikke med den",
        "no": "og å det er en til på for av ikke med som",
        "fi": "ja on ei se että oli hän mutta ovat kun joka myös",
        "hu": "a az és hogy nem is egy meg van volt ez de",
        "ro": "și de la în nu este cu pe care din o să",
        "tr": "bir ve bu için de da ile çok olarak daha olan gibi",
        "id": "yang dan di untuk dengan ini itu dari pada tidak dalam adalah",
        "vi": "là và của có không được cho trong một các người với",
        "ru": "и в не на что с по как это к он для",
        "uk": "і в не на що з та як це до він для",
        "bg": "и на да се за от не че в с по са",
        "el": "και το να του η της με για που την από είναι",
        "ar": "في من على أن إلى التي هذا عن الذي هذه مع كان",
        "fa": "و در به از که این را با است برای آن می",
        "he": "של את על לא זה הוא עם כי היא גם או אל",
        "hi": "के का की में है और को से हैं पर यह एक",
        "ko": "이 그 수 및 등 있는 있다 한 것 하는 할 더",
    }.items()
}
"""ISO 639-1 code -> words."""


def stop_words(language: str) -> frozenset[str]:
    """The words of a language by its code ("de", "de-AT", "de_CH"); empty where there is no list."""
    return STOP_WORDS.get(language.replace("_", "-").partition("-")[0].lower(), frozenset())
