"""Languages that have a script to themselves (almost): no statistics needed, the letters say it.

The code named is the script's main language: Ethiopic is called Amharic although Tigrinya is written in it, Burmese
script although Shan is, Tibetan although Dzongkha is. A filter that must tell these apart needs another model.
"""

from __future__ import annotations

import numpy as np

ONLY_SCRIPT: dict[str, tuple[int, int]] = {
    "or": (0x0B00, 0x0B7F), "kn": (0x0C80, 0x0CFF), "ml": (0x0D00, 0x0D7F), "si": (0x0D80, 0x0DFF),
    "lo": (0x0E80, 0x0EFF), "bo": (0x0F00, 0x0FFF), "my": (0x1000, 0x109F), "am": (0x1200, 0x139F),
    "km": (0x1780, 0x17FF), "dv": (0x0780, 0x07BF),
}  # fmt: skip


def by_script(codes: np.ndarray) -> str | None:
    """The language whose script half of the letters (code points, uint32 [T]) are in; None for other scripts."""
    if not len(codes) or int(codes.max()) < 0x0780:
        return None
    for language, (first, last) in ONLY_SCRIPT.items():
        if 2 * np.count_nonzero((codes >= first) & (codes <= last)) > len(codes):
            return language
    return None
