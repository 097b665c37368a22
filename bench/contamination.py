"""Speed, memory, recall and false alarms of the step `decontaminate` on public evaluation sets and documents.

    python bench/contamination.py --data ../shared/data --out bench/results/contamination.jsonl

One JSON line per result. Strings of 13 words and more (26 characters in Chinese) are planted into documents, verbatim and with one light edit
(case, punctuation, a word changed, added or removed); false alarms are counted on the same documents without plants.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ownlm.data.decontaminate import Decontaminate
from ownlm.data.eval_items import files, items
from ownlm.data.flow.step import run_alone
from ownlm.data.word_folding import fold, is_unspaced
from ownlm.records import Document, Drop

SETS = (
    "eval_mmlu",
    "eval_gsm8k/test.part.jsonl.gz",
    "qa_xquad/xquad.en.json.gz",
    "qa_xquad/xquad.zh.json.gz",
)
NUM_PLANTS = 300


def documents(data: Path) -> Iterator[Document]:
    for path in sorted((data / "text_techdocs").glob("*.en.jsonl.gz")):
        with gzip.open(path, "rt", encoding="utf-8") as file:
            for number, line in enumerate(file):
                yield Document(f"{path.name}#{number}", json.loads(line)["text"], path.name)
    for path in sorted((data / "text_books").glob("*.txt.gz")):
        with gzip.open(path, "rt", encoding="utf-8", errors="replace") as file:
            text = file.read()
        for at in range(0, len(text), 5000):
            yield Document(f"{path.name}@{at}", text[at : at + 5000], path.name)


def edited(rng: random.Random, text: str) -> str:
    words = text.split()
    at = rng.randrange(len(words))
    kind = rng.choice(("case", "punctuation", "word", "insert", "delete"))
    if kind == "word":
        words[at] = "banana"
    elif kind == "insert":
        words.insert(at, "banana")
    elif kind == "delete":
        del words[at]
    joined = " ".join(words)
    return (
        joined.upper() if kind == "case" else joined.replace(".", " ;") if kind == "punctuation" else joined
    )


def _long(piece: str) -> bool:
    """At least 13 words; 26 characters where a word is one character."""
    words = fold(piece)
    unspaced = 2 * sum(map(is_unspaced, words)) > len(words)
    return len(words) >= 13 * (1 + unspaced) and len(set(words)) > 8


def num_found(step: Decontaminate, rng: random.Random, plants: list[str], texts: list[Document]) -> int:
    found = 0
    for plant in plants:
        text = rng.choice(texts).text
        cut = rng.randrange(len(text) + 1)
        (out,) = run_alone(step, [Document("d", f"{text[:cut]}\n{plant}\n{text[cut:]}", "d")])
        found += isinstance(out, Drop)
    return found


def measure(data: Path, name: str, texts: list[Document]) -> dict[str, Any]:
    step = Decontaminate(against=(data / name,))
    began = time.process_time()
    facts = step.facts()
    built = time.process_time() - began
    began = time.process_time()
    alarms = [out for out in run_alone(step, texts) if isinstance(out, Drop)]
    seconds = time.process_time() - began
    megabytes = sum(len(one.text.encode("utf-8", "replace")) for one in texts) / 1e6
    rng = random.Random(5)
    pieces = {piece for file in files([data / name])[0] for item in items(file) for piece in item.pieces}
    plants = [one for one in sorted(pieces) if _long(one)]
    plants = rng.sample(plants, min(NUM_PLANTS, len(plants)))
    return {
        "set": name, "items": facts.num_items, "too_short": len(facts.too_short), "words": facts.num_words,
        "bytes_per_item": round(facts.num_bytes / facts.num_items), "build_cpu_seconds": round(built, 2),
        "megabytes": round(megabytes, 1), "megabytes_per_cpu_second": round(megabytes / seconds, 1),
        "documents": len(texts), "false_alarms": len(alarms), "alarms": [one.reason[:120] for one in alarms[:5]],
        "plants": len(plants), "exact_recall": round(num_found(step, rng, plants, texts) / len(plants), 4),
        "light_edit_recall": round(
            num_found(step, rng, [edited(rng, plant) for plant in plants], texts) / len(plants), 4
        ),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    texts = list(documents(arguments.data))
    lines = [
        json.dumps({"date": time.strftime("%Y-%m-%d"), **measure(arguments.data, name, texts)})
        for name in SETS
    ]
    print("\n".join(lines))
    if arguments.out:
        arguments.out.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
