"""Near-duplicate search beside datasketch, rensa and datatrove, in the same run.

    python bench/dedup.py --peers /path/to/peers/bin/python --out bench/results/dedup-$(date +%F).json

Every contestant runs in a process of its own, one after the other, on the same JSONL file: ours in this interpreter,
the others in the one of --peers (`pip install rensa datasketch datatrove spacy "xxhash<4"`); absent ones are reported
and left out. Texts come from OWNLM_TEST_DATA (English documentation), or from the sources of Python's standard library.

planted  5,000 documents of 60 to 400 words, a third of them copies with words or one passage replaced. Truth is the
         Jaccard similarity of the sets of lower-cased word 5-grams of all pairs, counted without hashing; recall is
         per band of it, precision the share of reported pairs at 0.6 or more. Pairs of datatrove are the transitive
         closure of what it links, since it links neighbors only.
volume   --megabytes of documents of about 2 KB: one in five a near copy of an earlier one, the rest mutated until they
         are nobody's copy (three words in a row from anywhere); without datasketch and datatrove, which take minutes. MB/s counts everything from Python strings to the decision, reading not; peak MB
         is the process, texts (about 1.1 x --megabytes) and libraries included. Medians of --runs.

One JSON line per result. Single thread throughout.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import random
import re
import resource
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections import Counter, defaultdict
from itertools import combinations
from pathlib import Path
from typing import Any

BANDS = ((0.6, 0.7), (0.7, 0.8), (0.8, 0.9), (0.9, 1.01))
ONE_THREAD = {"OMP_NUM_THREADS": "1", "RAYON_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
Pairs = list[tuple[int, int]]


def sources() -> list[list[str]]:
    """Passages of 60 to 400 words, in a fixed shuffled order."""
    folder = Path(os.environ.get("OWNLM_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))
    texts: list[str] = []
    for path in sorted(folder.glob("text_techdocs/*.en.jsonl.gz")):
        with gzip.open(path, "rt", encoding="utf-8") as file:
            texts += [json.loads(line)["text"] for line in file]
    if not texts:
        library = sorted(Path(sysconfig.get_path("stdlib")).rglob("*.py"))
        texts = [path.read_text("utf-8", "replace") for path in library if "site-packages" not in path.parts]
    rng = random.Random(0)
    passages = []
    for text in texts:
        words, at = text.split(" "), 0
        while at + 60 < len(words):
            size = rng.randint(60, 400)
            passages.append(words[at : at + size])
            at += size
    rng.shuffle(passages)
    return passages


def edited(words: list[str], rate: float, rng: random.Random, pool: list[str]) -> list[str]:
    """Words replaced at this rate, either all over the text or as one passage."""
    if rng.random() < 0.3:
        size = max(1, round(len(words) * rate * 3))
        at = rng.randrange(max(1, len(words) - size))
        return [*words[:at], *(rng.choice(pool) for _ in range(size)), *words[at + size :]]
    return [rng.choice(pool) if rng.random() < rate else word for word in words]


def planted(count: int) -> list[str]:
    passages, rng = sources(), random.Random(1)
    pool = [word for words in passages[:200] for word in words]
    texts: list[str] = []
    for words in passages:
        texts.append(" ".join(words))
        for _ in range(rng.choice((0, 0, 0, 1, 1, 3))):
            texts.append(" ".join(edited(words, rng.uniform(0.003, 0.075), rng, pool)))
        if len(texts) >= count:
            break
    texts = texts[:count]
    rng.shuffle(texts)
    return texts


def volume(megabytes: float) -> list[str]:
    passages, rng = sources(), random.Random(2)
    pool = [word for words in passages[:200] for word in words]
    triples = [" ".join(words[i : i + 3]) for words in passages for i in range(0, len(words) - 2, 3)]
    texts: list[str] = []
    size = 0
    while size < megabytes * 1e6:
        if texts and rng.random() < 0.2:
            words = edited(rng.choice(texts[-2000:]).split(" "), rng.uniform(0, 0.05), rng, pool)
        else:
            words = rng.choices(triples, k=rng.randint(50, 180))
        texts.append(" ".join(words))
        size += len(texts[-1].encode("utf-8"))
    return texts


def truth(texts: list[str], least: float = 0.5) -> dict[tuple[int, int], float]:
    """Jaccard similarity of every pair at or above `least`, by counting shared 5-grams."""
    sets = [grams(text) for text in texts]
    owners = defaultdict(list)
    for number, row in enumerate(sets):
        for gram in row:
            owners[gram].append(number)
    shared: Counter[tuple[int, int]] = Counter()
    for numbers in owners.values():
        shared.update(combinations(numbers, 2))
    found = {}
    for (a, b), count in shared.items():
        similarity = count / (len(sets[a]) + len(sets[b]) - count)
        if similarity >= least:
            found[a, b] = similarity
    return found


def grams(text: str) -> set[str]:
    words = re.findall(r"\w+", text.lower())
    return {" ".join(words[i : i + 5]) for i in range(max(1, len(words) - 4))}


def ownlm(texts: list[str], **options: Any) -> Pairs:
    from ownlm.data.dedup.minhash import MinHash, find_pairs

    return [(pair.left, pair.right) for pair in find_pairs(texts, MinHash(**options))]


def ownlm_step(texts: list[str]) -> Pairs:
    """The whole step as a pipeline runs it: sketch, decide, apply."""
    from ownlm.data.dedup.minhash import MinHash
    from ownlm.data.flow.step import run_alone
    from ownlm.records import Document, Drop

    output = run_alone(MinHash(), (Document(str(i), text, str(i)) for i, text in enumerate(texts)))
    gone = [item for item in output if isinstance(item, Drop)]
    return [(int(item.reason.rpartition(" ")[2]), int(item.source)) for item in gone]


def ownlm_fineweb(texts: list[str]) -> Pairs:
    from ownlm.data.dedup.minhash import MinHash
    from ownlm.data.flow.step import run_alone
    from ownlm.records import Document, Drop

    step = MinHash(verify=False, clusters="linked")
    output = run_alone(step, (Document(str(i), text, str(i)) for i, text in enumerate(texts)))
    groups = defaultdict(list)
    for number, item in enumerate(output):
        root = int(item.reason.rpartition(" ")[2]) if isinstance(item, Drop) else number
        groups[root].append(number)
    return [pair for group in groups.values() for pair in combinations(group, 2)]


def datasketch(texts: list[str]) -> Pairs:
    from datasketch import MinHash, MinHashLSH

    index = MinHashLSH(threshold=0.7, num_perm=128)
    found = []
    for number, text in enumerate(texts):
        sketch = MinHash(num_perm=128)
        sketch.update_batch([gram.encode() for gram in grams(text)])
        found += [(other, number) for other in index.query(sketch)]
        index.insert(number, sketch)
    return found


def rensa(texts: list[str]) -> Pairs:
    from rensa import RMinHash, RMinHashLSH

    index, sketches, found = RMinHashLSH(0.7, 128, 16), [], []
    for number, text in enumerate(texts):
        sketch = RMinHash(128, 42)
        sketch.update(list(grams(text)))
        found += [(other, number) for other in index.query(sketch) if sketch.jaccard(sketches[other]) >= 0.7]
        index.insert(number, sketch)
        sketches.append(sketch)
    return found


def rensa_batch(texts: list[str]) -> Pairs:
    """Its fastest way: all sketches in one call and flags only, so no pairs to score."""
    from rensa import RMinHash, RMinHashLSH

    matrix = RMinHash.digest_matrix_from_token_sets([list(grams(text)) for text in texts], 128, 42)
    RMinHashLSH(0.7, 128, 16).query_duplicate_flags_matrix_one_shot(matrix)
    return []


def datatrove(texts: list[str]) -> Pairs:
    import struct

    from datatrove.data import Document
    from datatrove.pipeline.dedup import MinhashDedupBuckets, MinhashDedupSignature
    from datatrove.pipeline.dedup.minhash import MinhashConfig

    with tempfile.TemporaryDirectory() as folder:
        config = MinhashConfig()
        sign = MinhashDedupSignature(output_folder=f"{folder}/signatures", config=config)
        sign.run((Document(text, str(number)) for number, text in enumerate(texts)), 0, 1)
        for bucket in range(14):
            MinhashDedupBuckets(f"{folder}/signatures", f"{folder}/buckets", config=config).run(
                rank=bucket, world_size=14
            )
        edges = [
            edge
            for path in Path(f"{folder}/buckets").glob("*.dups")
            for edge in struct.iter_unpack("<4I", path.read_bytes())
        ]
    parent = list(range(len(texts)))

    def root(number: int) -> int:
        while parent[number] != number:
            number = parent[number]
        return number

    for _, a, _, b in edges:
        parent[max(root(a), root(b))] = min(root(a), root(b))
    groups = defaultdict(list)
    for number in range(len(texts)):
        groups[root(number)].append(number)
    return [pair for group in groups.values() for pair in combinations(group, 2)]


CONTESTANTS = {
    "ownlm 14x8, searched as 28x4, exact check at 0.7 (default)": ("own", ownlm, {}),
    "ownlm default at 0.6": ("own", ownlm, {"threshold": 0.6}),
    "ownlm 25x5, exact check at 0.6": ("own", ownlm, {"buckets": 25, "rows": 5, "candidate_rows": 0, "threshold": 0.6}),
    "ownlm 14x8, no check, linked (as FineWeb)": ("own", ownlm_fineweb, {}),
    "ownlm step: sketch, decide, apply": ("step", ownlm_step, {}),
    "rensa R-MinHash 128, 16 bands, estimate >= 0.7": ("peer", rensa, {}),
    "rensa R-MinHash 128, batch, flags only": ("flags", rensa_batch, {}),
    "datasketch 128, LSH 0.7": ("slow", datasketch, {}),
    "datatrove 14x8": ("slow", datatrove, {}),
}  # fmt: skip


def worker(name: str, data: Path, out: Path) -> None:
    texts = json.loads(data.read_text("utf-8"))
    _, work, options = CONTESTANTS[name]
    work(texts[:5], **options)  # imports and tables are not what is timed
    before = peak_mb()
    start = time.perf_counter()
    pairs = work(texts, **options)
    seconds = time.perf_counter() - start
    facts = {"seconds": seconds, "peak_mb": peak_mb(), "before_mb": before, "pairs": pairs}
    out.write_text(json.dumps(facts), encoding="utf-8")


def peak_mb() -> float:
    """Of this process alone: the kernel's other counter starts with that of the process that started it."""
    status = Path("/proc/self/status")
    if status.exists():
        return int(re.search(r"VmHWM:\s+(\d+) kB", status.read_text())[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def run(name: str, peers: Path | None, data: Path, folder: Path) -> dict[str, Any] | None:
    kind = CONTESTANTS[name][0]
    python = Path(sys.executable) if kind in ("own", "step") else peers
    out = folder / "result.json"
    out.unlink(missing_ok=True)
    command = [str(python), __file__, "--worker", name, "--data", str(data), "--out", str(out)]
    done = python and subprocess.run(
        command, env={**os.environ, **ONE_THREAD}, capture_output=True, text=True
    )
    if not done or done.returncode:
        why = done.stderr.strip().splitlines()[-1:] if done else "no --peers"
        print(json.dumps({"bench": "dedup", "who": name, "absent": True, "why": why}), flush=True)
        return None
    found: dict[str, Any] = json.loads(out.read_text("utf-8"))
    return found


def score(found: Pairs, similar: dict[tuple[int, int], float]) -> dict[str, Any]:
    pairs = {(min(pair), max(pair)) for pair in map(tuple, found)}
    lines: dict[str, Any] = {}
    for low, high in BANDS:
        band = [pair for pair, value in similar.items() if low <= value < high]
        lines[f"recall_{low}"] = round(sum(pair in pairs for pair in band) / max(1, len(band)), 4)
    right = sum(similar.get(pair, 0) >= 0.6 for pair in pairs)
    return {**lines, "precision": round(right / max(1, len(pairs)), 4), "pairs": len(pairs)}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--documents", type=int, default=5000)
    parser.add_argument("--megabytes", type=float, default=100)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--peers", type=Path, help="the Python that has the peers")
    parser.add_argument("--only", default="", help="contestants whose name contains this")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--data", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help="also write the lines there, as a JSON list")
    options = parser.parse_args()
    if options.worker:
        worker(options.worker, options.data, options.out)
        return
    names = [name for name in CONTESTANTS if options.only in name]
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        for what in ("planted", "volume"):
            if (options.documents if what == "planted" else options.megabytes) > 0:
                lines += race(what, names, options, Path(folder))
    if options.out:
        options.out.write_text(json.dumps(lines, indent=1) + "\n", encoding="utf-8")


def race(what: str, names: list[str], options: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    texts = planted(options.documents) if what == "planted" else volume(options.megabytes)
    size = sum(len(text.encode("utf-8")) for text in texts)
    data = folder / f"{what}.json"
    data.write_text(json.dumps(texts), encoding="utf-8")
    similar = truth(texts) if what == "planted" else {}
    barred = ("step", "flags") if what == "planted" else ("slow",)
    names = [name for name in names if CONTESTANTS[name][0] not in barred]
    seen: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    for _ in range(options.runs if what == "volume" else 1):
        for name in list(names):
            if found := run(name, options.peers, data, folder):
                seen[name].append(found)
            else:
                names.remove(name)
    lines = []
    for name in names:
        seconds = statistics.median(found["seconds"] for found in seen[name])
        line = {
            "bench": "dedup", "what": what, "who": name, "documents": len(texts), "bytes": size,
            "seconds": round(seconds, 3), "mb_per_second": round(size / 1e6 / seconds, 2),
            "runs": [round(found["seconds"], 3) for found in seen[name]],
            "peak_mb": round(max(found["peak_mb"] for found in seen[name])),
            "before_mb": round(max(found["before_mb"] for found in seen[name])),
            **(score(seen[name][0]["pairs"], similar) if similar else {"pairs": len(seen[name][0]["pairs"])}),
            **({f"true_{low}": sum(low <= v < high for v in similar.values()) for low, high in BANDS} if similar else {}),
            "date": time.strftime("%Y-%m-%d"),
        }  # fmt: skip
        print(json.dumps(line), flush=True)
        lines.append(line)
    return lines


if __name__ == "__main__":
    main()
