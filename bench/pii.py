r"""Personal data: quality on synthetic sentences with spans, on generated identifiers, and speed.

    python bench/pii.py --sentences DATA/safety_pii/synth_dataset_v2.part.json.gz --generated 200 \
        --text FILE.txt.gz --peers PYTHON --out bench/results/pii-$(date +%F).json

Sentences are those of presidio-research; they are split by template, tuning half and checking half, and both are
reported, since one half was looked at while the rules were written. Two measures, each for recall and precision:

    characters  share of the characters of the marked spans that were replaced; share of the replaced characters that
                are marked (white space and punctuation not counted)
    spans       a marked span is found when at least half of its characters are replaced; a replacement is right when
                at least half of its characters are marked; for identifiers the kind must agree too

One JSON line per result.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ownlm.data.privacy.finding import IDENTIFIERS, KINDS, RULED, Finding, settle
from ownlm.data.privacy.planted import Planter
from ownlm.data.privacy.redact import Redactor
from ownlm.runtime import seed

JUDGED = ("EMAIL_ADDRESS", "CREDIT_CARD", "IBAN_CODE", "US_SSN", "PHONE_NUMBER", "IP_ADDRESS", "SECRET")


def halves(rows: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Sentences that may be looked at and those that may not, by template: all of one template are in one part.

    Two random halves were looked at while the rules were written; the checking part is what was in neither. None of its
    sentences was read, but counts of its confusions (kind found, kind marked, number of parts) were, so its "same kind"
    figures are not wholly blind."""
    templates = sorted({row["template_id"] for row in rows})
    order = np.random.default_rng(17).permutation(len(templates))
    seen = {templates[index] for index in order[: len(templates) // 2]}
    random.Random(17).shuffle(templates)
    seen.update(templates[: len(templates) // 2])
    return {
        "tuning": [row for row in rows if row["template_id"] in seen],
        "checking": [row for row in rows if row["template_id"] not in seen],
    }


def gold_of(row: dict[str, Any]) -> list[Finding]:
    return [Finding(s["start_position"], s["end_position"], s["entity_type"]) for s in row["spans"]]


def covered(text: str, span: Finding, others: list[Finding]) -> tuple[int, int]:
    """Letters and digits of the span that lie in others, and all of them."""
    places = [i for i in range(span.start, span.end) if text[i].isalnum()]
    return sum(any(o.start <= i < o.end for o in others) for i in places), len(places)


def score(
    cases: list[tuple[str, list[Finding], list[Finding]]], kinds: set[str], typed: bool
) -> dict[str, Any]:
    """cases: text, marked, found. Only marked spans of `kinds` count; `typed`: the kinds must agree."""
    sums: Counter[str] = Counter()
    per_kind: Counter[tuple[str, str]] = Counter()
    for text, marked, found in cases:
        wanted = [span for span in marked if span.kind in kinds]
        for name, spans, others in (
            ("gold", wanted, found),
            ("found", [f for f in found if f.kind in kinds], marked),
        ):
            for span in spans:
                good, total = covered(text, span, [o for o in others if not typed or o.kind == span.kind])
                sums[f"{name} characters"] += total
                sums[f"{name} characters right"] += good
                sums[f"{name} spans"] += 1
                sums[f"{name} spans right"] += 2 * good >= total
                per_kind[name, span.kind] += 1
                per_kind[f"{name} right", span.kind] += 2 * good >= total
    result: dict[str, Any] = {
        f"{measure}_{unit}": round(sums[f"{side} {unit} right"] / max(1, sums[f"{side} {unit}"]), 4)
        for unit in ("characters", "spans")
        for measure, side in (("recall", "gold"), ("precision", "found"))
    }
    result["kinds"] = {
        kind: "{}/{} found, {}/{} right".format(
            *(per_kind[name, kind] for name in ("gold right", "gold", "found right", "found"))
        )
        for kind in KINDS
        if per_kind["gold", kind] or per_kind["found", kind]
    }
    return result


def measure(path: Path, show: str | None = None) -> dict[tuple[str, str], dict[str, Any]]:
    """Per half and set of kinds what score() gives."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        rows = json.load(file)
    redactor = Redactor(KINDS)
    results = {}
    for half, part in halves(rows).items():
        cases = [(row["full_text"], gold_of(row), redactor.find(row["full_text"])) for row in part]
        for name, kinds, typed in (
            ("identifiers", set(JUDGED), True),
            ("all, any kind", set(KINDS), False),
            ("all, same kind", set(KINDS), True),
        ):
            results[half, name] = {"rows": len(part), **score(cases, kinds, typed)}
        if show == half:
            for text, marked, found in cases:
                missed = [m for m in marked if 2 * covered(text, m, found)[0] < covered(text, m, found)[1]]
                wrong = [f for f in found if 2 * covered(text, f, marked)[0] < covered(text, f, marked)[1]]
                if missed or wrong:
                    print("---", repr(text))
                    print("   missed", [(m.kind, text[m.start : m.end]) for m in missed])
                    print("   wrong ", [(f.kind, text[f.start : f.end]) for f in wrong])
    return results


def generated(count: int, show: bool) -> dict[str, Any]:
    """`count` sentences per identifier and 3 * count decoys without any."""
    planter = Planter(seed.generator(5, "bench", "pii"))
    redactor = Redactor()
    cases = []
    for kind in JUDGED:
        for _ in range(count):
            text, marked = planter.planted(kind)
            cases.append((text, marked, redactor.find(text)))
    for _ in range(3 * count):
        text = planter.decoy()
        cases.append((text, [], redactor.find(text)))
    result = score(cases, set(IDENTIFIERS), typed=True)
    for text, marked, found in cases if show else ():
        if found != marked:
            print("---", repr(text), [(f.kind, text[f.start : f.end]) for f in found])
    return {"what": "generated", "sentences": len(cases), "decoys": 3 * count, **result}


def speed(path: Path) -> Iterator[dict[str, Any]]:
    """Megabytes of UTF-8 per second of processor time, the best of three, for three sets of kinds."""
    data = path.read_bytes()
    text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode("utf-8")[:2_000_000]
    for name, kinds, size in (
        ("identifiers", IDENTIFIERS, 2_000_000),
        ("rules", RULED, 1_000_000),
        ("all", KINDS, 200_000),
    ):
        part = text[:size]
        redactor = Redactor(kinds)
        redactor.redact(part[:5000])
        best = 1e9
        for _ in range(3):
            start = time.process_time()
            result = redactor.redact(part)
            best = min(best, time.process_time() - start)
        megabytes = len(part.encode()) / 1e6
        yield {
            "what": f"speed, {name}",
            "text": path.name,
            "mb_per_second": round(megabytes / best, 2),
            "counts": result.counts,
        }


PEER_KINDS = {
    "LOCATION": "GPE",
    "URL": "DOMAIN_NAME",
    "US_PASSPORT": "PASSPORT",
    "MEDICAL_LICENSE": "NATIONAL_ID",
}


def peer(python: str, model: str, path: Path) -> Iterator[dict[str, Any]]:
    """Presidio on the same sentences. It has no addresses, organisations, titles, ages or postal codes of its own by
    default: compare the identifiers, and "any kind" with that in mind."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        rows = json.load(file)
    texts = json.dumps([row["full_text"] for row in rows])
    command = [python, str(Path(__file__).with_name("pii_peers.py")), model]
    answer = json.loads(
        subprocess.run(command, input=texts, capture_output=True, text=True, check=True).stdout
    )
    megabytes = sum(len(row["full_text"].encode()) for row in rows) / 1e6
    found = {
        row["full_text"]: [
            Finding(start, end, PEER_KINDS.get(kind, kind))
            for start, end, kind, _ in spans
            if PEER_KINDS.get(kind, kind) in KINDS
        ]
        for row, spans in zip(rows, answer["found"], strict=True)
    }
    for half, part in halves(rows).items():
        cases = [
            (row["full_text"], gold_of(row), settle(row["full_text"], found[row["full_text"]]))
            for row in part
        ]
        for name, kinds, typed in (
            ("identifiers", set(JUDGED), True),
            ("all, any kind", set(KINDS), False),
        ):
            result = score(cases, kinds, typed)
            yield {"what": name, "half": half, "peer": answer["version"], "rows": len(part), **result}
    redactor = Redactor(KINDS)
    redactor.find(rows[0]["full_text"])
    start = time.process_time()
    for row in rows:
        redactor.find(row["full_text"])
    own = time.process_time() - start
    yield {
        "what": "speed, all",
        "peer": answer["version"],
        "text": path.name,
        "mb_per_second": round(megabytes / answer["seconds"], 3),
        "own_mb_per_second": round(megabytes / own, 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sentences", type=Path)
    parser.add_argument("--generated", type=int, default=0, help="sentences per kind of identifier")
    parser.add_argument("--text", type=Path, action="append", default=[])
    parser.add_argument("--show", choices=["tuning"], help="print the mistakes of the tuning half")
    parser.add_argument("--peers", help="interpreter that has presidio-analyzer")
    parser.add_argument("--peer-model", default="en_core_web_sm", help="the spaCy model that it has")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    results: list[dict[str, Any]] = []
    if options.sentences:
        for (half, what), result in measure(options.sentences, options.show).items():
            results.append({"what": what, "half": half, **result})
    if options.sentences and options.peers:
        results.extend(peer(options.peers, options.peer_model, options.sentences))
    if options.generated:
        results.append(generated(options.generated, bool(options.show)))
    for path in options.text:
        results.extend(speed(path))
    for result in results:
        print(json.dumps({"bench": "pii", **result}))
    if options.out:
        options.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
